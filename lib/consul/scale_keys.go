package consul

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"svckit/lib/fault"
)

// The keys of the autoscaler, below <prefix>/scale/ (scaling.md §5). Documents
// of nodes are emptied and never deleted, and what is watched always has a key:
// a query on a missing prefix wakes on every write of the cluster.
const scaleRoot = "scale/"

// buckets is over how many keys policies are spread, with one counter each, for
// followers that read only what changed. The planner still reads all each cycle.
const buckets = 64

// nodeName is what a node may be called: Consul warns about more than this, and
// the key of a node must be one segment.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (k keys) scale(rest string) string { return k.root + scaleRoot + rest }
func (k keys) leader() string           { return scaleRoot + "ctl/leader" } // below the root, as Lock takes it
func (k keys) freeze() string           { return k.scale("ctl/freeze") }
func (k keys) wants() string            { return k.scale("want/") }
func (k keys) haves() string            { return k.scale("have/") }
func (k keys) statuses() string         { return k.scale("service/") }
func (k keys) demands() string          { return k.scale("demand/") }
func (k keys) announcements() string    { return k.scale("announce/") }
func (k keys) announceRev() string      { return k.scale("announce-rev") }
func (k keys) policies() string         { return k.scale("policy/") }
func (k keys) policyRevs() string       { return k.scale("policy-rev/") }
func (k keys) pools() string            { return k.scale("pool/") }

func (k keys) leases() string { return k.scale("lease/") }

func (k keys) lease(node string) (string, error) { return k.ofNode(k.leases(), node) }

func (k keys) want(node string) (string, error) { return k.ofNode(k.wants(), node) }
func (k keys) have(node string) (string, error) { return k.ofNode(k.haves(), node) }

func (k keys) ofNode(prefix, node string) (string, error) {
	if !nodeName.MatchString(node) {
		return "", badName("node", node, "letters, digits, `.`, `_` and `-`")
	}
	return prefix + node, nil
}

func (k keys) pool(name string) (string, error) {
	if !appName.MatchString(name) {
		return "", badName("pool", name, "[a-z][a-z0-9-]{0,39}")
	}
	return k.pools() + name, nil
}

// frozen is the key of a freeze: of all with "", of a pool, or of app/service.
func (k keys) frozen(name string) (string, error) {
	switch app, service, ok := strings.Cut(name, "/"); {
	case name == "":
		return k.freeze(), nil
	case !ok:
		_, err := k.pool(name)
		return k.freeze() + "/" + name, err
	default:
		err := checkPair(app, service)
		return k.freeze() + "/" + name, err
	}
}

func (k keys) status(name string) (string, error) {
	app, service, _ := strings.Cut(name, "/")
	return k.statuses() + name, checkPair(app, service)
}

func (k keys) demand(name string) (string, error) {
	app, service, _ := strings.Cut(name, "/")
	return k.demands() + name, checkPair(app, service)
}

func (k keys) announcement(name, id string) (string, error) {
	app, service, _ := strings.Cut(name, "/")
	if err := checkPair(app, service); err != nil {
		return "", err
	}
	if !segment.MatchString(id) {
		return "", badName("announcement", id, "letters, digits, `_`, `.` and `-`")
	}
	return k.announcements() + name + "/" + id, nil
}

// policy returns the key of what was set by hand for a service, and the one that is counted up with it.
func (k keys) policy(name string) (key, rev string, err error) {
	app, service, _ := strings.Cut(name, "/")
	if err := checkPair(app, service); err != nil {
		return "", "", err
	}
	b := bucket(name)
	return k.policies() + b + "/" + name, k.policyRevs() + b, nil
}

func bucket(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("%02x", h.Sum32()%buckets)
}

func checkPair(app, service string) error {
	if !appName.MatchString(app) {
		return badName("app", app, "[a-z][a-z0-9-]{0,39}")
	}
	return checkService(service)
}

// serviceOf is the app/service that a key below prefix is about; false for a foreign one.
func serviceOf(prefix, key string) (string, bool) {
	name := strings.TrimPrefix(key, prefix)
	app, service, _ := strings.Cut(name, "/")
	return name, checkPair(app, service) == nil
}

func tooMany(what string, n, limit int) error {
	return fault.New(fault.Invalid, "%d %s are more than %d", n, what, limit)
}

package consul

import (
	"fmt"
	"regexp"
	"strings"

	"svckit/lib/fault"
)

// keys builds and validates every key that svckit uses (design §4). A key is
// made of checked parts only, so that none can hold "//", "..", or edge blanks,
// which Consul redirects or other tools take for something else.
type keys struct{ root string }

var (
	appName     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	releaseName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`) // as a tag of an image
	segment     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	configName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

// reserved are the names that svc/apps/<app>/ holds beside its services.
func reserved(service string) bool {
	switch service {
	case "config", "secrets", "releases", "current":
		return true
	}
	return false
}

func newKeys(prefix string) (keys, error) {
	root := strings.Trim(prefix, "/")
	for part := range strings.SplitSeq(root, "/") {
		if !segment.MatchString(part) {
			return keys{}, fault.WithHint(fault.New(fault.Usage, "use key prefix %q: not a path of letters, digits, `_`, `.` and `-`", prefix), "set SVC_PREFIX, e.g. to svc")
		}
	}
	return keys{root + "/"}, nil
}

func (k keys) shared() string { return k.root + "shared/config/" }
func (k keys) apps() string   { return k.root + "apps/" }
func (k keys) audits() string { return k.root + "audit/" }

func (k keys) app(app string) (string, error) {
	if !appName.MatchString(app) {
		return "", badName("app", app, "[a-z][a-z0-9-]{0,39}")
	}
	return k.apps() + app + "/", nil
}

func (k keys) config(app string) (string, error)   { return k.below(app, "config/") }
func (k keys) secrets(app string) (string, error)  { return k.below(app, "secrets/") }
func (k keys) releases(app string) (string, error) { return k.below(app, "releases/") }
func (k keys) current(app string) (string, error)  { return k.below(app, "current") }

func (k keys) serviceConfig(app, service string) (string, error) {
	if err := checkService(service); err != nil {
		return "", err
	}
	return k.below(app, service+"/config/")
}

func (k keys) release(app, name string) (string, error) {
	if !releaseName.MatchString(name) {
		return "", badName("release", name, "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
	}
	return k.below(app, "releases/"+name)
}

func (k keys) audit(app string) (string, error) {
	if !appName.MatchString(app) {
		return "", badName("app", app, "[a-z][a-z0-9-]{0,39}")
	}
	return k.audits() + app + "/", nil
}

// cron is the key of what is known of the ticks of app/service.
func (k keys) cron(name string) (string, error) {
	app, service, _ := strings.Cut(name, "/")
	return k.root + "cron/" + name, checkPair(app, service)
}

// runs is the folder of the runs of app/service that ended.
func (k keys) runs(name string) (string, error) {
	app, service, _ := strings.Cut(name, "/")
	return k.root + "runs/" + name + "/", checkPair(app, service)
}

// lock is a key below the prefix, e.g. "locks/shortener/web/node1".
func (k keys) lock(path string) (string, error) {
	for part := range strings.SplitSeq(path, "/") {
		if !segment.MatchString(part) || len(path) > 400 {
			return "", badName("lock", path, "segments of letters, digits, `_`, `.` and `-`")
		}
	}
	return k.root + path, nil
}

func (k keys) below(app, rest string) (string, error) {
	base, err := k.app(app)
	return base + rest, err
}

func checkService(service string) error {
	if !appName.MatchString(service) {
		return badName("service", service, "[a-z][a-z0-9-]{0,39}")
	}
	if reserved(service) {
		return fault.New(fault.Invalid, "use service %q: the name is taken by svckit's own keys", service)
	}
	return nil
}

func badName(what, name, want string) error {
	return fault.New(fault.Invalid, "use %s name %q: expected %s", what, clean(name, 80), want)
}

// shown is a key from outside as a message may show it.
func shown(key string) string {
	if s := clean(key, 200); s != key {
		return fmt.Sprintf("%q", s)
	}
	return key
}

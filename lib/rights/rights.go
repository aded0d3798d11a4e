// Package rights says which rights in Consul a person or a daemon needs, as ACL
// rules: no more than what the commands of that role call. docs/acl.md says why.
package rights

import (
	"fmt"
	"strings"

	"svckit/lib/spec"
)

// Role is what somebody does with svckit.
type Role string

// The roles. Owner and Member are of one app, Node and DNS of one node.
const (
	Owner  Role = "owner"  // everything of the app: its config and secrets, its releases, what runs
	Member Role = "member" // releases of the app, and its reload; reads its config and secrets, changes neither
	Scaler Role = "scaler" // scaled run, and orders to it
	Node   Role = "node"   // the daemons of a node: scaled node, svc-reload watch, svc-run restore
	DNS    Role = "dns"    // svc-dns: reads the catalog alone
)

// Roles are all roles.
func Roles() []Role { return []Role{Owner, Member, Scaler, Node, DNS} }

// rule is one line of a policy. kind is e.g. key_prefix; why begins a paragraph.
type rule struct{ kind, name, policy, why string }

// OfApp are the rules of a person who works on an app. The spec says under which names its services are registered: those
// of their own are named beside the prefix of the app. prefix is the root of our keys, "svc".
func OfApp(role Role, prefix string, app spec.App) string {
	own := prefix + "/apps/" + app.Name + "/"
	rules := []rule{{"key_prefix", prefix + "/shared/", "read", "what runs, and with which config"}}
	if role == Owner {
		rules = append(rules, rule{"key_prefix", own, "write", ""})
	} else {
		rules = append(rules,
			rule{"key_prefix", own, "read", ""},
			rule{"key_prefix", own + "releases/", "write", "releases, and which of them is current"},
			rule{"key", own + "current", "write", ""},
		)
	}
	rules = append(rules,
		rule{"key", prefix + "/deploy/" + app.Name, "write", "deploys: one at a time, on a node and over the fleet; the journal"},
		rule{"key_prefix", prefix + "/locks/" + app.Name + "/", "write", ""},
		rule{"key_prefix", prefix + "/audit/" + app.Name + "/", "write", ""},
		rule{"key_prefix", prefix + "/cron/" + app.Name + "/", "write", "runs of cron services by hand, and what became of runs"},
		rule{"key_prefix", prefix + "/runs/" + app.Name + "/", "write", ""},
		rule{"session_prefix", "", "write", "who holds a lock"},
		rule{"key_prefix", prefix + "/scale/want/", "read", "how many the autoscaler wants"},
		rule{"service_prefix", app.Name + "-", "write", "registration, and who else is there"},
	)
	for _, s := range app.Services {
		if !strings.HasPrefix(s.Name, app.Name+"-") {
			rules = append(rules, rule{"service", s.Name, "write", ""})
		}
	}
	return hcl(append(rules, rule{"node_prefix", "", "read", ""}, rule{"agent_prefix", "", "read", ""}))
}

// OfDaemon are the rules of a daemon; node is the node that Node and DNS are for. A Node acts for these apps, or for all where none is named.
func OfDaemon(role Role, prefix, node string, apps []string) string {
	switch role {
	case Scaler:
		return hcl([]rule{
			{"key_prefix", prefix + "/scale/", "write", "sizes, wishes, orders, and who leads"},
			{"key_prefix", prefix + "/apps/", "read", "releases, and which of them is current"},
			{"key_prefix", prefix + "/audit/", "write", ""},
			{"session_prefix", "", "write", ""},
			{"service", "svckit-scaled-node", "read", "where the nodes' samples are"},
			{"node_prefix", "", "read", ""},
		})
	case DNS:
		return hcl([]rule{
			{"service_prefix", "", "read", "who is there, and how they are"},
			{"node_prefix", "", "read", ""},
			{"agent", node, "read", "domain, datacenter and zone, once at the start"},
		})
	}
	rules := []rule{
		{"key_prefix", prefix + "/shared/", "read", "what runs, and with which config"},
		{"key_prefix", prefix + "/apps/", "read", ""},
		{"key_prefix", prefix + "/locks/", "write", "one deployment at a time, and the journal"},
		{"key_prefix", prefix + "/audit/", "write", ""},
		{"session", node, "write", ""},
		{"key_prefix", prefix + "/scale/", "read", "what the autoscaler wants, and what came of it"},
		{"key", prefix + "/scale/have/" + node, "write", ""},
		{"key", prefix + "/scale/lease/" + node, "write", "what runs exactly so often"},
		{"key_prefix", prefix + "/cron/", "write", "cron services: their ticks and runs"},
		{"key_prefix", prefix + "/runs/", "write", ""},
		{"service", "svckit-scaled-node", "write", "registration, and who else is there"},
	}
	for _, app := range apps {
		rules = append(rules, rule{"service_prefix", app + "-", "write", ""})
	}
	if len(apps) == 0 {
		rules = append(rules, rule{"service_prefix", "", "write", ""})
	} else {
		rules = append(rules, rule{"service_prefix", "", "read", ""})
	}
	return hcl(append(rules, rule{"node_prefix", "", "read", ""}, rule{"agent", node, "read", ""}))
}

func hcl(rules []rule) string {
	var b strings.Builder
	for _, r := range rules {
		if r.why != "" {
			b.WriteString("# " + r.why + "\n")
		}
		fmt.Fprintf(&b, "%s %q { policy = %q }\n", r.kind, r.name, r.policy)
	}
	return b.String()
}

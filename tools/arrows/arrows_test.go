package arrows

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rules is the layout of ARCHITECTURE.md as a table: the arrows go down only.
func rules() Rules {
	facts := []string{"fault", "fleet", "spec"}
	reach := append(slices.Clone(facts), "strictyaml")
	return Rules{
		Module: "svckit",
		Rows: []Row{
			// What is wanted and what is there.
			{Package: "fault", Pure: true},
			{Package: "strictyaml", Imports: []string{"fault"}, Pure: true},
			{Package: "fleet", Imports: []string{"fault"}, Pure: true},
			{Package: "spec", Imports: []string{"fault", "fleet", "strictyaml"}, Pure: true},
			// Decide.
			{Package: "answer", Imports: facts, Pure: true}, // what svc-dns says
			{Package: "cpuset", Imports: facts, Pure: true},
			{Package: "deploy", Imports: facts, Pure: true}, // how a release goes over the fleet, and comes back
			{Package: "events", Imports: facts, Pure: true}, // what changed between two looks at the fleet
			{Package: "cron", Imports: facts, Pure: true},   // when services of kind cron run
			{Package: "dockerfile", Imports: facts, Pure: true},
			{Package: "rights", Imports: facts, Pure: true}, // what a role may do in Consul
			{Package: "rollout", Imports: append(slices.Clone(facts), "cpuset"), Pure: true},
			{Package: "settle", Imports: facts, Pure: true},
			{Package: "place", Pure: true},
			{Package: "planner", Imports: append(slices.Clone(facts), "place", "scale"), Pure: true},
			{Package: "sample", Imports: facts, Pure: true}, // from readings to what a node tells of itself
			{Package: "scale", Imports: facts, Pure: true},
			{Package: "page"}, // the planner's page
			{Package: "survey", Imports: append(slices.Clone(facts), "place", "planner", "scale"), Pure: true},
			{Package: "simulate", Imports: append(slices.Clone(facts), "scale"), Pure: true},
			{Package: "wish", Imports: append(slices.Clone(facts), "planner", "rollout", "scale"), Pure: true}, // how a node gets to what the planner wants of it
			// Do.
			{Package: "apply", Imports: append(slices.Clone(facts), "cpuset", "rollout")},
			{Package: "lead", Imports: append(slices.Clone(facts), "place", "planner", "scale", "survey")},    // plans for the fleet
			{Package: "nodeagent", Imports: append(slices.Clone(facts), "monitor", "sample")},                 // scaled node: what runs beside what, and what is served
			{Package: "timetable", Imports: append(slices.Clone(facts), "cron")},                              // starts cron services when their ticks come
			{Package: "follow", Imports: append(slices.Clone(facts), "answer", "atomicfile")},                 // keeps what svc-dns says up to date
			{Package: "hand", Imports: append(slices.Clone(facts), "atomicfile", "planner", "scale", "wish")}, // keeps a node at its wish
			// Reach: one outside system each, and never one another.
			{Package: "code", Imports: reach}, // the code of services on the node's disk
			{Package: "consul", Imports: append(slices.Clone(reach), "answer", "cron", "deploy", "events", "place", "planner", "scale")},
			{Package: "devagent", Imports: reach},
			{Package: "delivery", Imports: reach}, // files and secrets on the node's tmpfs
			{Package: "dnsd", Imports: append(slices.Clone(reach), "answer")},
			{Package: "docker", Imports: reach},
			{Package: "atomicfile"},                                                      // files that are replaced whole or not at all
			{Package: "proc"},                                                            // processes of this node and the files they see: what master and monitor stand on
			{Package: "master", Imports: append(slices.Clone(reach), "proc", "rollout")}, // gunicorn and uWSGI in containers
			{Package: "monitor", Imports: append(slices.Clone(reach), "proc", "sample")}, // what services on this node do now
			{Package: "link", Imports: reach},                                            // the interface that carries svc-dns's address
			{Package: "node", Imports: reach},
			{Package: "notify", Imports: reach}, // the webhooks of an app
			{Package: "probe", Imports: reach},
			{Package: "queue", Imports: append(slices.Clone(reach), "sample")}, // how long queues are that services consume
			{Package: "registry", Imports: reach},
			{Package: "source", Imports: reach},
			{Package: "systemd", Imports: reach}, // the service manager that a daemon was started by
			{Package: "watch", Imports: reach},
			// Meet the user.
			{Package: "tool", Imports: []string{"fault", "fleet"}},
			// The node that a program runs on, with all its parts: what svc-run and svc-reload change it through.
			{Package: "here", Imports: append(slices.Clone(facts), "apply", "rollout", "code", "consul", "delivery", "dnsd", "docker", "master", "node", "notify", "probe", "tool", "hand", "wish", "cron", "planner", "scale", "timetable")},
		},
		Settled: map[string][]string{
			"github.com/hashicorp/consul":            {}, // BUSL: never linked into our programs
			"github.com/hashicorp/consul/api":        {"lib/consul"},
			"github.com/docker/docker":               {"lib/docker"},
			"github.com/docker/cli":                  {"lib/docker"},
			"github.com/moby/buildkit":               {"lib/docker"},
			"github.com/google/go-containerregistry": {"lib/registry"},
			// Logins are looked up the same way for pull, push and build.
			"github.com/google/go-containerregistry/pkg/authn": {"lib/registry", "lib/docker"},
			"github.com/google/go-containerregistry/pkg/name":  {"lib/registry", "lib/docker"},
			"github.com/goccy/go-yaml":                         {"lib/strictyaml"},
			"github.com/coreos/go-systemd":                     {"lib/systemd", "cmd/svc-dns"}, // svc-dns takes sockets from it
			"github.com/hashicorp/go-retryablehttp":            {"lib/notify"},
			"github.com/miekg/dns":                             {"lib/dnsd"},
			"gopkg.in/ini.v1":                                  {"lib/master"},
			"github.com/vishvananda/netlink":                   {"lib/link", "lib/monitor"},
			"github.com/prometheus/client_golang":              {"cmd"},
			"github.com/prometheus/procfs":                     {"lib/monitor"},
			"github.com/redis/go-redis":                        {"lib/queue", "cmd/scaled"},                 // the latter in a test
			"github.com/rabbitmq/amqp091-go":                   {"lib/queue", "cmd/scaled", "lab/consumer"}, // tests, and what they run
			"github.com/chromedp":                              {"cmd/scaled"},                              // a test of its page
			"github.com/urfave/cli":                            {"lib/tool", "cmd"},
			"gonum.org/v1/plot":                                {"cmd/scaled"},
			"svckit/lab":                                       {"lab"},
			"svckit/tools":                                     {"tools"},
			"svckit/cmd":                                       {"cmd"},
		},
		MayExit: []string{"lib/tool", "lab/cmd", "lab/testapp", "lab/consumer", "examples", "bench"},
	}
}

func TestEachRuleNamesWhatBreaksIt(t *testing.T) {
	rules := Rules{
		Module: "m",
		Rows:   []Row{{Package: "fact"}, {Package: "plan", Imports: []string{"fact"}, Pure: true}, {Package: "dock"}},
		Settled: map[string][]string{
			"example.com/engine": {"lib/dock"}, "example.com/consul": {}, "example.com/consul/api": {"lib/dock"}, "m/cmd": {"cmd"},
		},
		MayExit: []string{"lib/dock"},
	}
	for _, row := range []struct{ name, file, text, want string }{
		{"an arrow the wrong way", "lib/fact/a.go", `import "m/lib/plan"`, `lib/fact/a.go:2:8: import of m/lib/plan: lib/fact may import of the project: nothing`},
		{"a library outside its package", "cmd/x/a.go", `import "example.com/engine/client"`, `cmd/x/a.go:2:8: import of example.com/engine/client: only lib/dock may use it`},
		{"a library that nobody may use", "lib/dock/a.go", `import "example.com/consul/agent"`, `lib/dock/a.go:2:8: import of example.com/consul/agent: nobody may use it`},
		{"a program imported", "lib/dock/a.go", `import "m/cmd/x"`, `lib/dock/a.go:2:8: import of m/cmd/x: only cmd may use it`},
		{"a log in a decision", "lib/plan/a.go", `import "log/slog"`, `lib/plan/a.go:2:8: import of log/slog: lib/plan decides only: pass it in as a value`},
		{"chance in a decision", "lib/plan/a.go", `import "math/rand/v2"`, `lib/plan/a.go:2:8: import of math/rand/v2: lib/plan decides only: pass it in as a value`},
		{"a clock in a decision", "lib/plan/a.go", "import \"time\"\nvar f = time.Now", `lib/plan/a.go:3:9: time.Now: time is an argument of lib/plan`},
		{"a package without a row", "lib/new/a.go", ``, `lib/new: has no row in tools/arrows/arrows_test.go: say there what it may import`},
		{"a drawer", "cmd/x/utils/a.go", ``, `cmd/x/utils: a package is named after what it knows, not "utils"`},
		{"an init", "cmd/x/a.go", `func init() {}`, `cmd/x/a.go:2:1: func init: let main build what is needed and pass it on`},
		{"an exit", "cmd/x/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", `cmd/x/a.go:3:12: os.Exit: return an error; only lib/dock end the process`},
		{"a long file", "cmd/x/a_test.go", strings.Repeat("\n", 400), `cmd/x/a_test.go: has 401 lines: split it at 400, one idea per file`},
		{"a long main", "cmd/x/main.go", strings.Repeat("\n", 40), `cmd/x/main.go: has 41 lines: main.go names the world and calls tool.Main, in 40 lines`},

		{"an arrow the right way", "lib/plan/a.go", `import "m/lib/fact"`, ``},
		{"a library in its package", "lib/dock/a.go", `import "example.com/consul/api/watch"`, ``},
		{"a test of anything", "lib/plan/a_test.go", `import "os"`, ``},
		{"a type of time", "lib/plan/a.go", "import \"time\"\nvar d time.Duration", ``},
		{"an address", "lib/plan/a.go", `import "net/netip"`, ``},
		{"a fixture", "cmd/x/testdata/a.go", `func init() {}`, ``},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, row.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("package p\n"+row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			problems, err := Check(root, rules)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(problems, "\n"); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestProjectKeepsItsLayout(t *testing.T) {
	problems, err := Check("../..", rules())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

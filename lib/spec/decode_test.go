package spec

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
)

func TestTheExampleOfTheManualDecodesExactly(t *testing.T) {
	text, err := os.ReadFile("testdata/good/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, bad := Decode("app.yaml", text)
	want := App{
		Name:   "shortener",
		Notify: []Notify{{"https://hooks.example/x"}},
		Build: Build{
			Dockerfile: "Dockerfile", Image: "registry.service.consul:5000/shortener",
			Args: map[string]string{"BASE": "python:3.12-slim"}, Test: []string{"python", "-m", "pytest", "-q"},
		},
		Deploy: Deploy{Batch: Share{Part: 0.25}, Canary: 1, Floor: Share{Part: 0.5}},
		Services: []Service{{
			App: "shortener", Key: "web", Name: "shortener-web", Kind: Web,
			Command: []string{"gunicorn", "-c", "gunicorn.conf.py", "app:application"}, Master: Gunicorn, Port: 8000,
			Network: Network{Mode: Bridge}, Overlap: true, Code: Code{"/srv/shortener"},
			Check: Check{CheckHTTP, "/healthz", 2 * time.Second, time.Second, 5 * time.Second, 2 * time.Minute},
			Stop:  Stop{"TERM", 30 * time.Second, 5 * time.Second},
			Config: Config{
				Env: []string{"DATABASE_URL", "REDIS"}, Secrets: []string{"SESSION_KEY"},
				Files: []File{{"settings.tmpl", "/etc/shortener/settings.json"}},
			},
			Resources: Resources{CPU: 1.5, Memory: 512 << 20}, Volumes: []Volume{{"/var/lib/shortener", "/data", false}}, Tags: []string{"v2"},
			Scale: Scale{
				Unit: "workers", Strategy: "busy_ratio", Target: 0.6, Min: 4, Max: 200, MinNodes: 2, Spread: "balanced", Survive: "node",
				Down: ScaleDown{10 * time.Minute, 0.1}, Pool: "production", Priority: "vip",
				StartUp: 15 * time.Second, OnBlind: "forecast", Seasonal: true, Drain: 90 * time.Second, Worker: Worker{CPU: 0.1, Memory: 64 << 20}, Set: true,
			},
		}},
	}
	if len(bad) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nexpected %+v", got, bad, want)
	}
}

func TestDefaultsOfAServiceFollowItsKindAndNetwork(t *testing.T) {
	app, bad := Decode("app.yaml", []byte(`
app: a
services:
  web: {port: 1}
  rpc: {kind: service, port: 1}
  daemon: {kind: daemon}
  cron: {kind: cron, schedule: "0 3 * * *"}
  fixed: {port: 1, publish: 80}
  host: {port: 2, network: host}
  shared: {port: 3, network: host, overlap: true}
  lone: {kind: daemon, network: host}
`))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for key, want := range map[string]struct {
		check   CheckType
		path    string
		overlap bool
	}{
		"web": {CheckHTTP, "/", true}, "rpc": {CheckTCP, "", true}, "daemon": {NoCheck, "", true}, "cron": {NoCheck, "", true},
		"fixed": {CheckHTTP, "/", false}, "host": {CheckHTTP, "/", false}, "shared": {CheckHTTP, "/", true}, "lone": {NoCheck, "", true},
	} {
		s, ok := app.Service(key)
		if !ok || s.Check.Type != want.check || s.Check.Path != want.path || s.Overlap != want.overlap {
			t.Errorf("%s: check %q %q, overlap %v, expected %+v", key, s.Check.Type, s.Check.Path, s.Overlap, want)
		}
		if s.Scale.Set || s.Scale.Min != 1 || s.Scale.Pool != "default" || s.Scale.Unit != "instances" {
			t.Errorf("%s: scale %+v, expected the defaults and not set", key, s.Scale)
		}
	}
	if app.Build.Dockerfile != "Dockerfile" || app.Build.Runtime != "" {
		t.Errorf("build %+v, expected a Dockerfile", app.Build)
	}
}

func TestALongListOfProblemsIsCutOff(t *testing.T) {
	_, bad := Decode("app.yaml", []byte("app: a\nservices:\n  web:\n    port: 1\n"+strings.Repeat("    x: 1\n", 150)))
	if len(bad) != 101 || bad[100].String() != "app.yaml: 50 more problems" {
		t.Errorf("got %d problems, the last %v", len(bad), bad[len(bad)-1])
	}
}

func TestADocumentBeyondTheBoundsIsRefused(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"bytes":    {"app: a\n#" + strings.Repeat("x", 64<<10), "app.yaml:1: the document has 65544 bytes, at most 65536 are read"},
		"services": {"app: a\nservices: {" + strings.Repeat("x,", 65) + "}", "app.yaml:2: services: expected at most 64 entries, found 65"},
		"list":     {"app: a\nservices: {w: {port: 1, command: [" + strings.Repeat("x,", 257) + "]}}", "app.yaml:2: services.w.command: expected at most 256 items, found 257"},
	} {
		if _, bad := Decode("app.yaml", []byte(row.text)); len(bad) != 1 || bad[0].String() != row.want {
			t.Errorf("%s: got %v, expected %s", name, bad, row.want)
		}
	}
}

func TestParseRef(t *testing.T) {
	for arg, want := range map[string][2]string{"shortener/web": {"shortener", "web"}, "web": {"", "web"}} {
		app, service, err := ParseRef(arg)
		if err != nil || app != want[0] || service != want[1] {
			t.Errorf("%s: got %q %q %v, expected %q", arg, app, service, err, want)
		}
	}
	for _, arg := range []string{"", "/", "a/", "/a", "a/b/c", "A/b", "--dry-run", "a b", "../x", strings.Repeat("a", 41)} {
		if _, _, err := ParseRef(arg); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: got %v, expected a usage error", arg, err)
		}
	}
}

func TestInvalidListsEveryProblemOrIsNil(t *testing.T) {
	if err := Invalid("read app.yaml", nil); err != nil {
		t.Errorf("no problems: %v", err)
	}
	err := Invalid("read app.yaml", []Problem{{File: "app.yaml", Line: 3, Path: "app", Msg: "bad"}, {Msg: "worse"}})
	if fault.KindOf(err) != fault.Invalid || err.Error() != "read app.yaml: 2 problems" {
		t.Errorf("got %v", err)
	}
}

//go:build real

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// TestReloads plays on real gunicorn and uwsgi. The rows share a node, as services do;
// those that measure under load have it for themselves.
func TestReloads(t *testing.T) {
	env := newEnvironment(t)
	sideBySide(t, 6, slices.Concat(
		newCodeIsLoadedByEachKindOfMaster(env), brokenCodeNeverReachesTheMaster(env), aSlowRequestEndsDuringAReload(env), aReloadThatIsKilledIsFinishedByTheNext(env),
		uwsgiKeepsItsNumberOfWorkers(env), workersThatFindNoRoomAreRefused(env), someAreReloadedAndSomeAreNot(env), theRightCodeIsTried(env),
		[]row{
			{"code that loads and fails its check is taken back", func(t *testing.T) { codeThatLoadsAndFailsItsCheckIsTakenBack(t, env) }},
			{"workers of the scaler are there after the reload", func(t *testing.T) { workersOfTheScalerAreThereAfterTheReload(t, env) }},
			{"a shell as first process is refused", func(t *testing.T) { aShellAsFirstProcessIsRefused(t, env) }},
			{"the only instance of a pausing master needs consent", func(t *testing.T) { theOnlyInstanceOfAPausingMasterNeedsConsent(t, env) }},
		},
	))
	sideBySide(t, 4, slices.Concat(noRequestIsLostInManyReloads(env), connectionsThatAreKeptAreCutOnceAReload(env)))
}

const (
	chained = `--lazy-apps, --master-fifo, /tmp/fifo, `
	plain   = ``
)

// stage is a service that runs generation one.
func stage(t *testing.T, env environment, text, more string, instances int) *rig {
	t.Helper()
	r := newRig(t, env)
	r.release("r1", fmt.Sprintf(text, more))
	r.code(appCode("one"))
	r.must(r.service(), "--source", r.source)
	r.run("up", r.service(), "--instances", fmt.Sprint(instances))
	if got := r.get("/"); slices.Compact(got)[0] != "one" || len(got) != instances {
		t.Fatalf("instances say %q", got)
	}
	return r
}

func newCodeIsLoadedByEachKindOfMaster(env environment) (rows []row) {
	for _, k := range []struct {
		name, text, more string
		instances        int
		way              rollout.Way
	}{
		{"gunicorn", gunicornSpec, "", 1, rollout.WaySignal},
		{"gunicorn with threads", gunicornSpec, `--worker-class, gthread, --threads, "4", `, 2, rollout.WayAside},
		{"gunicorn that preloads", gunicornSpec, `--preload, `, 1, rollout.WayReplace},
		{"uwsgi, chain by fifo", uwsgiSpec, chained, 1, rollout.WayChain},
		{"uwsgi, chain by touch", uwsgiSpec, `--lazy-apps, --touch-chain-reload, /etc/issue, `, 1, rollout.WayChain},
		{"uwsgi, plain", uwsgiSpec, plain, 2, rollout.WayAside},
	} {
		rows = append(rows, row{"new code is loaded by " + k.name, func(t *testing.T) {
			r := stage(t, env, k.text, k.more, k.instances)
			before := r.instances()

			r.code(appCode("two"))
			dry := decode[here.Outcome](t, r.must(r.service(), "--source", r.source, "--dry-run", "--json").stdout)
			if own := r.own(dry.Steps); !dry.Changed || len(own) == 0 || own[0].Action != rollout.ActSwitch {
				t.Errorf("dry run: %+v", dry)
			}
			if got := r.get("/"); slices.Contains(got, "two") {
				t.Fatalf("a dry run brought %q", got)
			}
			o := decode[here.Outcome](t, r.must(r.service(), "--source", r.source, "--json").stdout)
			if got := r.get("/"); !slices.Equal(slices.Compact(got), []string{"two"}) {
				t.Errorf("instances say %q", got)
			}
			after := r.instances()
			if same := slices.EqualFunc(before, after, func(a, b fleet.Instance) bool { return a.ID == b.ID && a.StartedAt.Equal(b.StartedAt) }); same != (k.way != rollout.WayReplace) {
				t.Errorf("same containers: %t, way %s", same, k.way)
			}
			for _, i := range o.Instances {
				if k.way != rollout.WayReplace && i.After != rollout.AfterReloaded {
					t.Errorf("%s was left %q", i.Name, i.After)
				}
			}
			for _, s := range o.Steps {
				if s.Action == rollout.ActReload && s.Way != k.way {
					t.Errorf("way %s, want %s", s.Way, k.way)
				}
			}
			again := decode[here.Outcome](t, r.must(r.service(), "--source", r.source, "--json").stdout)
			if own := r.own(again.Steps); len(own) > 0 || again.Changed && len(again.Steps) == 0 {
				t.Errorf("a second call planned %v", own)
			}
			if o := decode[here.Outcome](t, r.must("rollback", r.service(), "--json").stdout); !o.Changed {
				t.Errorf("rollback changed nothing: %+v", o)
			}
			if got := r.get("/"); !slices.Equal(slices.Compact(got), []string{"one"}) {
				t.Errorf("after the rollback instances say %q", got)
			}
			for _, reg := range r.registrations() {
				if reg.Health != fleet.Passing || reg.Reason != "" {
					t.Errorf("%s is %s %q", reg.ID, reg.Health, reg.Reason)
				}
			}
		}})
	}
	return rows
}

// own are the steps for this app: any run on the node may find something that a row beside it has left.
func (r *rig) own(steps []rollout.Step) []rollout.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s rollout.Step) bool {
		return s.Action == rollout.ActUnregister && !strings.HasPrefix(s.Target, r.app)
	})
}

// registrations are those of the app.
func (r *rig) registrations() []fleet.Registration {
	r.t.Helper()
	all, err := r.consul.Registrations(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(g fleet.Registration) bool { return g.Meta[fleet.MetaApp] != r.app })
}

func brokenCodeNeverReachesTheMaster(env environment) (rows []row) {
	for _, k := range []struct{ name, text, more string }{
		{"gunicorn", gunicornSpec, ""}, {"uwsgi", uwsgiSpec, chained},
	} {
		rows = append(rows, row{"broken code never reaches " + k.name, func(t *testing.T) {
			r := stage(t, env, k.text, k.more, 1)
			before := r.instances()[0]
			for _, broken := range []struct{ text, want string }{
				{"import nothere\n", "No module named 'nothere'"},
				{"def application(:\n", "SyntaxError"},
				{"raise RuntimeError('no database')\n", "RuntimeError: no database"},
				{"import sys; sys.exit(7)\n", ""},
			} {
				r.code(map[string]string{"app.py": broken.text})
				got := r.reload(r.service(), "--source", r.source)
				if got.code != 17 || !strings.Contains(got.stderr, broken.want) {
					t.Errorf("%q: exit %d, want 17 and %q\n%s", broken.text, got.code, broken.want, got.stderr)
				}
			}
			after := r.instances()[0]
			if after.ID != before.ID || after.Restarts != 0 || !after.StartedAt.Equal(before.StartedAt) {
				t.Errorf("the container is another one: %+v", after)
			}
			if got := r.get("/"); got[0] != "one" {
				t.Errorf("it says %q", got)
			}
			r.code(appCode("two"))
			r.must(r.service(), "--source", r.source)
			if got := r.get("/"); got[0] != "two" {
				t.Errorf("after mending it says %q", got)
			}
		}})
	}
	return rows
}

func codeThatLoadsAndFailsItsCheckIsTakenBack(t *testing.T, env environment) {
	r := stage(t, env, strings.Replace(gunicornSpec, "deadline: 90s", "deadline: 30s", 1), "", 1)
	code := appCode("sick")
	code["app.py"] = strings.Replace(code["app.py"], `"200 OK"`, `"500 Sick" if path == "/healthz" else "200 OK"`, 1)
	r.code(code)
	got := r.reload(r.service(), "--source", r.source, "--json")
	if got.code != 16 || !strings.Contains(got.stderr, "HTTP 500") {
		t.Fatalf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	o := decode[here.Outcome](t, got.stdout)
	if len(o.Instances) != 1 || o.Instances[0].After != rollout.AfterReverted {
		t.Errorf("instances %+v", o.Instances)
	}
	if got := r.get("/"); got[0] != "one" {
		t.Errorf("it says %q", got)
	}
	var failure struct {
		Error struct{ Detail []string }
	}
	if err := json.Unmarshal([]byte(got.stderr[strings.Index(got.stderr, "{"):]), &failure); err != nil {
		t.Errorf("stderr is no JSON error: %v\n%s", err, got.stderr)
	}
}

func aSlowRequestEndsDuringAReload(env environment) (rows []row) {
	for _, k := range []struct{ name, text, more string }{
		{"gunicorn", gunicornSpec, ""}, {"uwsgi", uwsgiSpec, chained + `--worker-reload-mercy, "20", `},
	} {
		rows = append(rows, row{"a slow request ends during a reload of " + k.name, func(t *testing.T) {
			r := stage(t, env, k.text, k.more, 1)
			answer := make(chan error, 1)
			go func() {
				began := time.Now()
				res, err := http.Get(r.url() + "/slow")
				if err == nil {
					_ = res.Body.Close()
					if res.StatusCode != 200 || time.Since(began) < 5*time.Second {
						err = fmt.Errorf("answered %s after %s", res.Status, time.Since(began))
					}
				}
				answer <- err
			}()
			time.Sleep(300 * time.Millisecond) // the request is at work; nothing tells when
			r.code(appCode("two"))
			r.must(r.service(), "--source", r.source)
			if err := <-answer; err != nil {
				t.Errorf("the slow request: %v", err)
			}
			if got := r.get("/"); got[0] != "two" {
				t.Errorf("it says %q", got)
			}
		}})
	}
	return rows
}

func workersOfTheScalerAreThereAfterTheReload(t *testing.T, env environment) {
	r := stage(t, env, gunicornSpec, "", 1)
	i := r.instances()[0]
	m := r.master(i, spec.Gunicorn)
	for _, want := range []int{3, 4} {
		if err := here.MastersOf(r.engine).Resize(t.Context(), i, m, 1); err != nil {
			t.Fatal(err)
		}
		r.soon(fmt.Sprintf("%d workers", want), func() bool { m = r.master(i, spec.Gunicorn); return len(m.Workers) == want })
	}
	r.code(appCode("two"))
	r.must(r.service(), "--source", r.source)
	if m = r.master(i, spec.Gunicorn); len(m.Workers) != 4 {
		t.Errorf("%d workers after the reload, 4 before", len(m.Workers))
	}
}

func aShellAsFirstProcessIsRefused(t *testing.T, env environment) {
	text := strings.Replace(gunicornSpec, `command: [gunicorn,`, `command: [sh, -c, 'gunicorn "$@"; true', sh,`, 1)
	r := stage(t, env, text, "", 1)
	r.code(appCode("two"))
	got := r.reload(r.service(), "--source", r.source)
	if got.code != 17 || !strings.Contains(got.stderr, "is a shell") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if said := r.get("/"); said[0] != "one" {
		t.Errorf("it says %q", said)
	}
}

func aReloadThatIsKilledIsFinishedByTheNext(env environment) (rows []row) {
	for _, k := range []struct {
		name string
		when func(r *rig) bool // the program is killed then
	}{
		{"an instance is out of DNS", func(r *rig) bool {
			return slices.ContainsFunc(r.registrations(), func(g fleet.Registration) bool { return g.Health == fleet.Maintenance })
		}},
		{"one says what is new", func(r *rig) bool {
			for _, i := range r.instances() {
				// A plain uWSGI may drop a connection while it reloads: not yet, then.
				if said, err := answered(fmt.Sprintf("http://%s:%d/", i.Address, i.Port)); err == nil && said == "two" {
					return true
				}
			}
			return false
		}},
	} {
		rows = append(rows, row{"a reload that is killed is finished by the next: " + k.name, func(t *testing.T) {
			r := stage(t, env, uwsgiSpec, plain, 2)
			r.code(appCode("two"))
			cmd := exec.Command(os.Args[0], r.service(), "--source", r.source)
			cmd.Env = append(os.Environ(), asProgram+"=svc-reload")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r.soon("it gets there", func() bool { return k.when(r) })
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			r.must(r.service(), "--source", r.source)
			if got := r.get("/"); !slices.Equal(got, []string{"two", "two"}) {
				t.Errorf("instances say %q", got)
			}
			for _, g := range r.registrations() {
				if g.Health != fleet.Passing || g.Reason != "" {
					t.Errorf("%s is %s %q", g.ID, g.Health, g.Reason)
				}
			}
		}})
	}
	return rows
}

func theOnlyInstanceOfAPausingMasterNeedsConsent(t *testing.T, env environment) {
	r := stage(t, env, uwsgiSpec, plain, 1)
	r.code(appCode("two"))
	got := r.reload(r.service(), "--source", r.source)
	if got.code != 17 || !strings.Contains(got.stderr, "--floor 0") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if said := r.get("/"); said[0] != "one" {
		t.Errorf("it says %q", said)
	}
	if r.must(r.service(), "--source", r.source, "--floor", "0"); r.get("/")[0] != "two" {
		t.Errorf("it says %q", r.get("/"))
	}
}

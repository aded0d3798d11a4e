//go:build real

package examples

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/code"
	engine "svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/source"
	"svckit/lib/spec"
)

// generation is what the page of that name says.
type generation struct {
	Generation, Config, Cwd, File string
	PID                           int
}

// volume is one service of code-on-volume with its code on the node.
type volume struct {
	t       *testing.T
	store   *code.Store
	engine  *engine.Engine
	service spec.Service
	id, url string
	folder  string // a copy of the example, to be changed
}

// newVolume runs one service as svc-run would, with change applied to its source.
func newVolume(t *testing.T, image, service string, change map[string][2]string) *volume {
	t.Helper()
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	v := &volume{t: t, folder: t.TempDir()}
	must(t, os.CopyFS(v.folder, os.DirFS("code-on-volume")))
	for file, words := range change {
		v.edit(file, words[0], words[1])
	}
	text, err := os.ReadFile("code-on-volume/app.yaml")
	must(t, err)
	app, _ := spec.Decode("app.yaml", text)
	v.service, _ = app.Service(service)
	dir := filepath.Join(t.TempDir(), "code")
	v.store, err = code.Open(dir)
	must(t, err)
	v.engine, err = engine.Open(t.Context(), hclog.NewNullLogger())
	must(t, err)
	v.switchTo("one")

	node := rollout.Node{Name: "node1", Address: "127.0.0.1", CodeDir: dir}
	port := lab.FreePorts(t, 1)[0]
	v.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	name := fmt.Sprintf("svckit-code-%s-%d", service, port)
	w := rollout.Wanted{
		App: "code-on-volume", Service: v.service, Image: image,
		Env: rollout.Identity("code-on-volume", v.service, "r1", node),
	}
	v.id, err = v.engine.Create(t.Context(), rollout.Container(w, node, name, rollout.Seat{Port: port}, nil))
	must(t, err)
	t.Cleanup(func() { docker(t, "rm", "--force", v.id) })
	must(t, v.engine.Start(t.Context(), v.id))
	await(t, v.id, func() error { return get(v.url + "/healthz") })
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (v *volume) edit(file, old, new string) {
	v.t.Helper()
	path := filepath.Join(v.folder, file)
	text, err := os.ReadFile(path)
	must(v.t, err)
	if !strings.Contains(string(text), old) {
		v.t.Fatalf("%s has no %q", file, old)
	}
	must(v.t, os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600))
}

// put puts the folder on the node as a generation that calls itself by a word.
func (v *volume) put(word string) string {
	v.t.Helper()
	must(v.t, os.WriteFile(filepath.Join(v.folder, "GENERATION"), []byte(word+"\n"), 0o600))
	skip, err := source.Ignored(v.folder, ".svcignore", ".dockerignore")
	must(v.t, err)
	name, err := v.store.Put(v.t.Context(), "code-on-volume", v.service.Key, v.folder, skip)
	must(v.t, err)
	return name
}

func (v *volume) switchTo(word string) {
	v.t.Helper()
	must(v.t, v.store.Switch(v.t.Context(), "code-on-volume", v.service.Key, v.put(word)))
}

func (v *volume) ask() (generation, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(v.url + "/generation")
	if err != nil {
		return generation{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return generation{}, err
	}
	var g generation
	return g, json.Unmarshal(text, &g)
}

// renewed waits until eight answers in a row come from processes that were not there before.
func (v *volume) renewed(before map[int]bool) (g generation) {
	v.t.Helper()
	await(v.t, v.id, func() error {
		for range 8 {
			var err error
			if g, err = v.ask(); err != nil {
				return err
			}
			if before[g.PID] {
				return fmt.Errorf("worker %d is still there", g.PID)
			}
		}
		return nil
	})
	return g
}

// inContainer is every pid there: pids are not used again so soon.
func (v *volume) inContainer() map[int]bool {
	v.t.Helper()
	before := map[int]bool{}
	for pid := range 4000 {
		before[pid] = false
	}
	for _, field := range strings.Fields(docker(v.t, "exec", v.id, "sh", "-c", "cd /proc; echo [0-9]*")) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err == nil {
			before[pid] = true
		}
	}
	return before
}

const (
	hup   = "HUP"
	chain = "chain"
)

func (v *volume) reload(how string) generation {
	v.t.Helper()
	before := v.inContainer()
	if how == hup {
		must(v.t, v.engine.Signal(v.t.Context(), v.id, "HUP"))
	} else {
		docker(v.t, "exec", v.id, "sh", "-c", "echo c >/tmp/uwsgi.fifo")
	}
	return v.renewed(before)
}

func TestNewCodeOnTheVolumeIsLoadedByAReload(t *testing.T) {
	image := build(t, "code-on-volume", "BASE="+lab.BaseImage)
	old := map[string][2]string{}
	for _, row := range []struct {
		name, service, how string
		change             map[string][2]string
		code, config, cwd  string // which version each is of afterwards
	}{
		{"gunicorn as in the example", "web", hup, old, "two", "two", "two"},
		{"gunicorn without chdir stays in the old version", "web", hup, map[string][2]string{"gunicorn.conf.py": {`chdir = "/srv/app"`, ""}}, "one", "two", "one"},
		{"gunicorn with preload keeps the old code", "web", hup, map[string][2]string{"gunicorn.conf.py": {"preload_app = False", "preload_app = True"}}, "one", "two", "two"},
		{"uWSGI as in the example, chain", "api", chain, old, "two", "one", "two"},
		{"uWSGI without pythonpath stays in the old version, chain", "api", chain, map[string][2]string{"uwsgi.ini": {"pythonpath = /srv/app", ""}}, "one", "one", "two"},
		{"uWSGI with chdir alone stays in the old version, chain", "api", chain, map[string][2]string{"uwsgi.ini": {"pythonpath = /srv/app", "chdir = /srv/app"}}, "one", "one", "two"},
		{"uWSGI without the hook has the old working folder, chain", "api", chain, map[string][2]string{"uwsgi.ini": {"hook-post-fork = chdir:/srv/app", ""}}, "two", "one", "one"},
		{"uWSGI as in the example, HUP", "api", hup, old, "two", "two", "two"},
		{"uWSGI with chdir alone, HUP", "api", hup, map[string][2]string{"uwsgi.ini": {"pythonpath = /srv/app", "chdir = /srv/app"}}, "two", "two", "two"},
		{"uWSGI without pythonpath stays in the old version, HUP", "api", hup, map[string][2]string{"uwsgi.ini": {"pythonpath = /srv/app", ""}}, "one", "two", "two"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := newVolume(t, image, row.service, row.change)
			first, err := v.ask()
			must(t, err)
			if first.Generation != "one" || first.Config != "one" {
				t.Fatalf("started as %+v", first)
			}
			v.switchTo("two")
			state, err := v.store.State("code-on-volume", row.service)
			must(t, err)
			word := func(path string) string {
				switch {
				case strings.HasPrefix(path, "/run/svckit/code/versions/"+state.Generation):
					return "two"
				case strings.HasPrefix(path, "/run/svckit/code/versions/"+state.Previous):
					return "one"
				}
				return path
			}
			got := v.reload(row.how)
			if got.Generation != row.code || got.Config != row.config || word(got.Cwd) != row.cwd {
				t.Errorf("code %s, config %s, folder %s; want %s, %s, %s", got.Generation, got.Config, word(got.Cwd), row.code, row.config, row.cwd)
			}
		})
	}
}

// How new code is tried in the container before it is current and before any signal.
func TestNewCodeIsTriedWithoutTouchingWhatRuns(t *testing.T) {
	const at = "/run/svckit/code/versions/"
	image := build(t, "code-on-volume", "BASE="+lab.BaseImage)
	for service, try := range map[string]func(generation string) []string{
		"web": func(g string) []string {
			return []string{"gunicorn", "--check-config", "-c", at + g + "/gunicorn.conf.py", "--chdir", at + g, "app:application"}
		},
		"api": func(g string) []string {
			return []string{
				"uwsgi", "--no-server", "--plugin", "python3", "--pythonpath", at + g, "--module", "app:application",
				"--eval", "import sys, uwsgi; sys.exit(0 if uwsgi.applications else 22)",
			}
		},
	} {
		t.Run(service, func(t *testing.T) {
			v := newVolume(t, image, service, nil)
			before, err := v.ask()
			must(t, err)
			good := v.put("two")
			if ran, err := v.engine.Exec(t.Context(), v.id, fleet.Program{Command: try(good)}); err != nil || ran.Code != 0 {
				t.Errorf("good code: exit %d, %v, %q", ran.Code, err, ran.Last)
			}
			v.edit("app.py", "import json", "import json\nimport nothing_there")
			broken := v.put("three")
			ran, err := v.engine.Exec(t.Context(), v.id, fleet.Program{Command: try(broken)})
			if err != nil || ran.Code == 0 || !strings.Contains(strings.Join(ran.Last, "\n"), "No module named 'nothing_there'") {
				t.Errorf("broken code: exit %d, %v, %q", ran.Code, err, ran.Last)
			}
			if after, err := v.ask(); err != nil || after.Generation != before.Generation {
				t.Errorf("before %+v, after %+v, %v", before, after, err)
			}
			list, err := v.engine.Processes(t.Context(), v.id)
			must(t, err)
			var pids []int
			for _, p := range list {
				pids = append(pids, p.PID)
			}
			state, err := v.store.State("code-on-volume", service)
			must(t, err)
			if standing := code.Standing(pids); len(standing) != 1 || standing[0] != state.Generation {
				t.Errorf("processes stand in %q, current is %s", standing, state.Generation)
			}
		})
	}
}

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

func TestWhatAChangeLeadsTo(t *testing.T) {
	inputs := []string{"app.yaml", "dev.env", "Dockerfile", "settings.tmpl"}
	gunicorn := standing{mounted: true, running: true, master: spec.Gunicorn, inputs: inputs}
	uwsgi, plain, image, ended := gunicorn, gunicorn, gunicorn, gunicorn
	uwsgi.master, plain.master, image.mounted, ended.running = spec.UWSGI, spec.NoMaster, false, false
	for _, row := range []struct {
		name    string
		in      standing
		changed string
		want    reaction
		reason  string
	}{
		{"mounted code under gunicorn", gunicorn, "app.py", doReload, "app.py changed"},
		{"mounted code under uwsgi", uwsgi, "app.py lib/a.py lib/b.py", doReload, "app.py and 2 others changed"},
		{"mounted code without a master", plain, "worker.py", doRestart, "worker.py changed"},
		{"code in the image", image, "main.go", doBring, "main.go changed"},
		{"mounted code of one that ended", ended, "app.py", doBring, "app.py changed, and it does not run"},
		{"the spec", gunicorn, "app.py app.yaml", doBring, "app.yaml changed"},
		{"config", gunicorn, "dev.env", doBring, "dev.env changed"},
		{"a template", gunicorn, "settings.tmpl", doBring, "settings.tmpl changed"},
		{"packages of python", gunicorn, "requirements-dev.txt", doBring, "requirements-dev.txt changed"},
		{"packages of ruby", plain, "Gemfile.lock", doBring, "Gemfile.lock changed"},
		{"what is copied", gunicorn, ".dockerignore", doBring, ".dockerignore changed"},
		{"a text that is no list of packages", gunicorn, "notes.txt", doReload, "notes.txt changed"},
		{"nobody knows what", gunicorn, ".", doBring, "more changed than could be followed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, reason := react(strings.Fields(row.changed), row.in)
			if got != row.want || reason != row.reason {
				t.Errorf("got %s (%s), want %s (%s)", got, reason, row.want, row.reason)
			}
		})
	}
}

func TestWhereTheSourceIsMounted(t *testing.T) {
	for _, row := range []struct {
		name    string
		runtime spec.Runtime
		mount   string
		workdir string
		want    string
	}{
		{"python: packages lie elsewhere", spec.Python, "", "/app", "/app"},
		{"ruby: the image has a Gemfile.lock beside the code", spec.Ruby, "", "/srv/app/", ""},
		{"the spec's own place", "", "/srv/code", "/app", "/srv/code"},
		{"an own Dockerfile that says nothing", "", "", "/app", ""},
		{"node: node_modules would be hidden", spec.Node, "", "/app", ""},
		{"go: there is no source in the image", spec.Go, "", "", ""},
		{"never over the whole image", spec.Python, "", "/", ""},
		{"an image without WORKDIR", spec.Python, "", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, why := mountAt(spec.App{Build: spec.Build{Runtime: row.runtime}}, spec.Service{Code: spec.Code{Mount: row.mount}}, fleet.Image{WorkDir: row.workdir})
			if got != row.want || (got == "") != (why != "") {
				t.Errorf("got %q (%s), want %q", got, why, row.want)
			}
		})
	}
}

func TestADeveloperWaitsForNothing(t *testing.T) {
	s := developers(spec.Service{
		Check: spec.Check{Type: spec.CheckHTTP, MinHealthy: time.Minute}, Stop: spec.Stop{Drain: time.Minute, Timeout: time.Hour},
		Resources: spec.Resources{CPU: 64, CPUBinding: true, Memory: 5},
	})
	if s.Check.MinHealthy != 0 || s.Stop.Drain != 0 || s.Stop.Timeout != 10*time.Second || s.Resources != (spec.Resources{Memory: 5}) {
		t.Errorf("got %+v", s)
	}
	if got := developers(spec.Service{}).Check.MinHealthy; got != time.Second {
		t.Errorf("a daemon counts as started after %s, want 1s", got)
	}
}

func TestWhoseContainersMayBeRemoved(t *testing.T) {
	me := fleet.Holder{Boot: "b", PID: 5, Started: "9"}
	dead, other := fleet.Holder{Boot: "b", PID: 6, Started: "9"}, fleet.Holder{Boot: "b", PID: 7, Started: "9"}
	alive := func(h fleet.Holder) bool { return h.PID != 6 }
	list := []fleet.Instance{{Name: "mine", Owner: &me}, {Name: "left", Owner: &dead}, {Name: "other", Owner: &other}, {Name: "node"}}
	var got []string
	for _, i := range list {
		if leftover(i, alive) {
			got = append(got, i.Name)
		}
	}
	if !slices.Equal(got, []string{"left"}) {
		t.Errorf("got %v, want only the one whose owner is dead", got)
	}
}

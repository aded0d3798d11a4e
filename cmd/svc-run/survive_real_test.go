//go:build real

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// savedSpec has a secret and a rendered file.
const savedSpec = plainSpec + `    config:
      env: [GREETING]
      secrets: [SESSION_KEY]
      files: [{template: settings.tmpl, to: /etc/app/settings.json}]
`

// savedRelease records a release of savedSpec with its config.
func (r *rig) savedRelease(name string) {
	r.t.Helper()
	r.kv("apps/"+r.app+"/config/GREETING", "hello")
	r.kv("apps/"+r.app+"/secrets/SESSION_KEY", "s3cret-of-the-test")
	r.releaseWith(name, "good", savedSpec, map[string]string{"settings.tmpl": `{"greeting": "{{ config "GREETING" }}"}`})
}

// ask sends a request to an instance in the rig's own network.
func (r *rig) ask(i fleet.Instance, path string) string {
	r.t.Helper()
	client := http.DefaultClient
	if r.beside != nil {
		client = r.beside.Client()
	}
	res, err := client.Get(fmt.Sprintf("http://%s:%d%s", i.Address, i.Port, path))
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// delivered asks an instance for what it was given.
func (r *rig) delivered(i fleet.Instance) string {
	r.t.Helper()
	return r.ask(i, "/env?GREETING") + " " + r.ask(i, "/file?/run/secrets/SESSION_KEY") + " " + r.ask(i, "/file?/etc/app/settings.json")
}

const allDelivered = `hello s3cret-of-the-test {"greeting": "hello"}`

func (r *rig) passing() bool {
	all, err := r.consul.Registrations(r.t.Context())
	return err == nil && len(all) > 0 && !slices.ContainsFunc(all, func(i fleet.Registration) bool { return i.Health != fleet.Passing })
}

func TestRegistrationsSurviveARestartOfTheAgent(t *testing.T) {
	r := newRigBeside(t, "-dev=false", "-server", "-bootstrap-expect=1", "-data-dir="+t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }")
	r.savedRelease("r1")
	r.must("up", r.service(), "--instances", "2")
	before, err := r.consul.Registrations(t.Context())
	if err != nil || len(before) != 2 {
		t.Fatalf("%+v, %v", before, err)
	}
	r.agent.Kill()
	r.agent.Start(t)
	r.eventually("both are passing again", func() bool { return r.passing() })
	after, err := r.consul.Registrations(t.Context())
	if err != nil || len(after) != 2 {
		t.Fatalf("%+v, %v", after, err)
	}
	for k := range after {
		if b, a := before[k], after[k]; a.ID != b.ID || a.Port != b.Port || a.Address != b.Address || a.Check != b.Check || a.Weight != b.Weight {
			t.Errorf("was %+v\nis  %+v", b, a)
		}
	}
	if again := decode[here.Outcome](t, r.must("up", r.service(), "--instances", "2", "--json").stdout); again.Changed {
		t.Errorf("up after the restart: %+v", again.Steps)
	}
}

func TestAServiceSurvivesARestartOfTheEngine(t *testing.T) {
	r := newRigBeside(t)
	r.savedRelease("r1")
	r.must("up", r.service())
	before := r.of("web")[0]
	if got := r.delivered(before); got != allDelivered {
		t.Fatalf("delivered %q", got)
	}
	r.beside.Restart(t)
	r.eventually("it runs again", func() bool { return r.of("web")[0].State == fleet.Running })
	after := r.of("web")[0]
	if after.ID != before.ID || after.Port != before.Port || after.StartedAt.Equal(before.StartedAt) {
		t.Errorf("was %+v\nis  %+v", before, after)
	}
	r.eventually("everything is delivered", func() bool { return r.delivered(after) == allDelivered })
	r.eventually("it is passing", r.passing)
	if again := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout); again.Changed {
		t.Errorf("up after the restart: %+v", again.Steps)
	}
}

// reboot does to containers what a reboot of the machine does: they are killed
// while the engine is away, and what was on a tmpfs is gone when it is back.
func (r *rig) reboot() {
	r.t.Helper()
	var pids []string
	for _, i := range r.of("") {
		pids = append(pids, r.pid(i.ID))
	}
	r.beside.Kill(r.t)
	for _, pid := range pids {
		kill(r.t, pid)
	}
	run := r.env["SVC_RUN_DIR"]
	entries, err := os.ReadDir(run)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(run, e.Name())); err != nil {
			r.t.Fatal(err)
		}
	}
	r.beside.Restart(r.t)
}

// asleep waits until the engine has given up on the containers.
func (r *rig) asleep() {
	r.t.Helper()
	r.eventually("the engine cannot start them without their files", func() bool {
		return !slices.ContainsFunc(r.of(""), func(i fleet.Instance) bool { return i.State != fleet.Exited })
	})
}

func TestRestoreBringsServicesBackAfterAReboot(t *testing.T) {
	r := newRigBeside(t)
	r.savedRelease("r1")
	r.must("up", r.service(), "--instances", "2")
	before := r.of("web")
	if got := decode[restored](t, r.must("restore", "--json").stdout); got.Changed || len(got.Services) != 0 {
		t.Errorf("nothing was lost, and restore says %+v", got)
	}
	r.savedRelease("r2") // what runs is kept, whatever is newer
	r.reboot()
	r.asleep()

	plan := decode[restored](t, r.must("restore", "--dry-run", "--json").stdout)
	want := []string{"deliver", "start", "gate", "register", "await", "deliver", "start", "gate", "register", "await"}
	if len(plan.Services) != 1 || !slices.Equal(actions(plan.Services[0].Steps), want) {
		t.Errorf("dry run: %+v", plan)
	}
	r.asleep()
	got := decode[restored](t, r.must("restore", "--json").stdout)
	if !got.Changed || len(got.Services) != 1 || got.Services[0].Release != "r1" || got.Services[0].Error != "" {
		t.Errorf("result %+v", got)
	}
	after := r.of("web")
	if len(after) != 2 {
		t.Fatalf("%d containers", len(after))
	}
	for k := range after {
		if after[k].ID != before[k].ID || after[k].Port != before[k].Port || after[k].State != fleet.Running || after[k].Release != "r1" {
			t.Errorf("was %+v\nis  %+v", before[k], after[k])
		}
		if got := r.delivered(after[k]); got != allDelivered {
			t.Errorf("delivered %q", got)
		}
	}
	if !r.passing() {
		t.Error("not passing")
	}
	if again := decode[restored](t, r.must("restore", "--json").stdout); again.Changed || len(again.Services) != 0 {
		t.Errorf("a second restore: %+v", again)
	}
	if up := decode[here.Outcome](t, r.must("up", r.service(), "--release", "r1", "--instances", "2", "--json").stdout); up.Changed {
		t.Errorf("up after restore: %+v", up.Steps)
	}
}

func TestRestoreUsesTheLastGoodConfigWhileConsulIsAway(t *testing.T) {
	r := newRigBeside(t)
	r.savedRelease("r1")
	r.must("up", r.service())
	r.reboot()
	r.asleep()
	r.agent.Kill()
	got := r.run("restore", "--wait", "1s", "--json")
	if got.code != int(fault.Partial) || !strings.Contains(got.stderr, "the last good config of this node is used") {
		t.Fatalf("exit %d, want 3\n%s%s", got.code, got.stdout, got.stderr)
	}
	if i := r.of("web")[0]; i.State != fleet.Running || r.delivered(i) != allDelivered {
		t.Errorf("%s, delivered %q", i.State, r.delivered(i))
	}
	// The agent lost its data: what runs is registered again.
	r.agent.Start(t)
	r.savedRelease("r1")
	if got := decode[restored](t, r.must("restore", "--json").stdout); !got.Changed {
		t.Errorf("with Consul back: %+v", got)
	}
	if !r.passing() {
		t.Error("not passing")
	}
}

func TestAServiceThatCannotBeRestoredDoesNotKeepOthersFromIt(t *testing.T) {
	r := newRigBeside(t)
	two := savedSpec + `  other:
    kind: daemon
    check: {min_healthy: 500ms, deadline: 5s}
    stop: {timeout: 1s, drain: 0s}
    config: {secrets: [SESSION_KEY, LATER]}
`
	r.savedRelease("r1")
	r.kv("apps/"+r.app+"/secrets/LATER", "now-it-is-there")
	r.releaseWith("r2", "good", two, map[string]string{"settings.tmpl": `{"greeting": "{{ config "GREETING" }}"}`})
	r.must("up", r.service(), "--release", "r2")
	r.must("up", r.app+"/other", "--release", "r2")
	r.reboot()
	r.asleep()
	r.unset("apps/" + r.app + "/secrets/LATER")
	began := time.Now()
	got := r.run("restore", "--json")
	if got.code != int(fault.Partial) || !strings.Contains(got.stderr, "LATER") {
		t.Errorf("exit %d after %s, want 3\n%s", got.code, time.Since(began), got.stderr)
	}
	if i := r.of("web")[0]; i.State != fleet.Running || r.delivered(i) != allDelivered {
		t.Errorf("web is %s, delivered %q", i.State, r.delivered(i))
	}
	if i := r.of("other")[0]; i.State != fleet.Exited {
		t.Errorf("other is %s", i.State)
	}
}

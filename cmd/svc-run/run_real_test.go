//go:build real

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// jobSpec is a service that ends by itself, whose schedule never comes in a test.
const jobSpec = `
app: %s
build: {image: %s}
services:
  web:
    kind: cron
    schedule: "0 0 29 2 *"
    cron: {timeout: 10m}
    stop: {timeout: 30s}
    config: {env: [JOB_SLEEP], secrets: [KEY]}
`

func newJobRig(t *testing.T) *rig {
	r := newRig(t)
	r.kv("apps/"+r.app+"/config/JOB_SLEEP", "100ms")
	r.kv("apps/"+r.app+"/secrets/KEY", "do-not-show-me")
	r.release("r1", "job", jobSpec)
	return r
}

func (r *rig) runs() cronShown {
	r.t.Helper()
	list := decode[runList](r.t, r.must("runs", r.service(), "--json").stdout)
	if len(list.Services) != 1 {
		r.t.Fatalf("runs of %+v", list)
	}
	return list.Services[0]
}

// left counts the containers of the app.
func (r *rig) left() (n int) {
	r.t.Helper()
	all, err := r.engine.Instances(r.t.Context(), r.app, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return len(all)
}

func TestAServiceOfKindCronIsRunByHandAndItsRunsAreKept(t *testing.T) {
	r := newJobRig(t)
	if got := r.runs(); len(got.Runs) != 0 || got.Going != nil || got.Next.IsZero() {
		t.Errorf("before the first run: %+v", got)
	}
	dry := decode[ranOnce](t, r.must("run", r.service(), "--dry-run", "--json").stdout)
	if !dry.DryRun || len(dry.Steps) == 0 || r.left() != 0 || len(r.runs().Runs) != 0 {
		t.Errorf("a dry run: %+v", dry)
	}
	got := r.must("run", r.service(), "--json")
	ran := decode[ranOnce](t, got.stdout)
	if ran.Run == nil || ran.Run.Result != cron.Done || ran.Run.Code != 0 || ran.Run.Release != "r1" || ran.Run.By == "" || !ran.Changed {
		t.Errorf("result %+v", ran)
	}
	if !strings.Contains(got.stderr, "the job is done") {
		t.Errorf("the program's output is missing in %q", got.stderr)
	}
	one := r.runs()
	if len(one.Runs) != 1 || one.Runs[0].ID != ran.Run.ID || !strings.Contains(strings.Join(one.Runs[0].Lines, "\n"), "the job is done") || one.Going != nil {
		t.Errorf("runs %+v", one)
	}
	if n := r.left(); n != 0 {
		t.Errorf("%d containers are left", n)
	}
	r.kv("apps/"+r.app+"/config/JOB_EXIT", "3")
	bad := r.run("run", r.service())
	if bad.code != int(fault.Failed) || !strings.Contains(bad.stderr, "exit code 3") || !strings.Contains(bad.stderr, "the job is done") {
		t.Errorf("a program that fails: exit %d\n%s", bad.code, bad.stderr)
	}
	if one = r.runs(); len(one.Runs) != 2 || one.Runs[0].Result != cron.Failed || one.Runs[0].Code != 3 || one.Runs[1].Result != cron.Done {
		t.Errorf("runs %+v", one.Runs)
	}
	r.unset("apps/" + r.app + "/config/JOB_SLEEP")
	if lost := r.run("run", r.service()); lost.code == 0 || !strings.Contains(lost.stderr, "JOB_SLEEP") {
		t.Errorf("without its config: exit %d\n%s", lost.code, lost.stderr)
	}
	if one = r.runs(); len(one.Runs) != 3 || one.Runs[0].Result != cron.Broken || one.Going != nil || r.left() != 0 {
		t.Errorf("runs %+v, going %+v", one.Runs, one.Going)
	}
	text := r.must("runs", r.service(), "--output").stdout + r.must("runs", r.app).stdout
	if !strings.Contains(text, "failed (3)") || !strings.Contains(text, "by hand") || strings.Contains(text, "do-not-show-me") {
		t.Errorf("runs print %s", text)
	}
	if up := r.run("up", r.service()); up.code != int(fault.Usage) || !strings.Contains(up.stderr, "svc-run run") {
		t.Errorf("up of a cron service: exit %d\n%s", up.code, up.stderr)
	}
}

func TestARunThatTakesTooLongIsStopped(t *testing.T) {
	r := newJobRig(t)
	r.kv("apps/"+r.app+"/config/JOB_SLEEP", "10m")
	rel, err := r.consul.Release(t.Context(), r.app, "r1")
	if err == nil {
		rel.Name, rel.Spec = "r2", strings.Replace(rel.Spec, "timeout: 10m", "timeout: 10s", 1)
		rel.BuiltAt = rel.BuiltAt.Add(time.Second)
		err = r.consul.PutRelease(t.Context(), rel)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := r.run("run", r.service())
	if got.code != int(fault.Timeout) || !strings.Contains(got.stderr, "told to end") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if one := r.runs(); len(one.Runs) != 1 || one.Runs[0].Result != cron.Timeout || one.Runs[0].Code != 143 || r.left() != 0 {
		t.Errorf("runs %+v", one.Runs)
	}
}

func TestTwoRunsNeverGoOnAtOnceAndAnInterruptedOneIsStopped(t *testing.T) {
	r := newJobRig(t)
	file := filepath.Join(t.TempDir(), "ran")
	r.kv("apps/"+r.app+"/config/JOB_SLEEP", "10m")
	first := r.process(nil, "run", r.service())
	said, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	first.Stdout, first.Stderr = said, said
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = first.Wait(); close(ended) }()
	t.Cleanup(func() { _ = first.Process.Kill() })
	r.until("the program runs", func() bool {
		all, err := r.engine.Instances(t.Context(), r.app, "web")
		return err == nil && len(all) == 1 && all[0].State == fleet.Running
	})
	if got := r.run("run", r.service()); got.code != int(fault.Conflict) || !strings.Contains(got.stderr, "running") {
		t.Errorf("a second run: exit %d\n%s", got.code, got.stderr)
	}
	var list psList
	if err := json.Unmarshal([]byte(r.must("ps", r.service(), "--json").stdout), &list); err != nil || len(list.Instances) != 1 || !strings.Contains(list.Instances[0].Note, "run ") {
		t.Errorf("ps shows %+v, %v", list.Instances, err)
	}
	if got := r.must("restore", r.service(), "--json"); !strings.Contains(got.stdout, `"services":[]`) && !strings.Contains(got.stdout, `"services": []`) {
		t.Errorf("restore meddles with a run: %s", got.stdout)
	}
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended: // by the signal
	case <-time.After(time.Minute):
		t.Fatal("the run does not end")
	}
	if code := first.ProcessState.ExitCode(); code != int(fault.Interrupted) {
		text, err := os.ReadFile(file)
		t.Errorf("exit %d\n%s%v", code, text, err)
	}
	if one := r.runs(); len(one.Runs) != 1 || one.Runs[0].Result != cron.Killed || one.Going != nil || r.left() != 0 {
		t.Errorf("runs %+v, going %+v", one.Runs, one.Going)
	}
}

// until polls for what the next lines rely on.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal(errors.New("not so within a minute: " + what))
		}
	}
}

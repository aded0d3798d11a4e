//go:build real

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"svckit/lab/load"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

func TestUpBringsAReleaseToANameInDNSAndThenDoesNothing(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", plainSpec)
	got := r.must("up", r.service(), "--json")
	first := decode[here.Outcome](t, got.stdout)
	if !first.Changed || len(first.Instances) != 1 || first.DNS != r.dns() {
		t.Errorf("result %+v", first)
	}
	if e := r.endpoints(); len(e) != 1 || e[0].Port != first.Instances[0].Port || e[0].Address != "127.0.0.1" {
		t.Errorf("DNS answers %+v, want port %d", e, first.Instances[0].Port)
	}
	if got := r.get("/"); got != "r1\n" {
		t.Errorf("the service answers %q", got)
	}
	again := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout)
	if again.Changed || len(again.Steps) != 0 || again.Instances[0].ID != first.Instances[0].ID {
		t.Errorf("a second up: %+v", again)
	}
}

func TestDryRunNamesEachStepAndTouchesNothing(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", plainSpec)
	for _, args := range [][]string{{"up", r.service(), "--dry-run"}, {"up", "--dry-run", r.service()}} {
		got := r.must(args...)
		for _, want := range []string{"1. pull ", "2. create ", "3. start ", "4. gate ", "5. register ", "6. await "} {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%q: no %q in\n%s", args, want, got.stdout)
			}
		}
	}
	if containers, entries := r.state(); len(containers) != 0 || entries != 0 {
		t.Errorf("a dry run left %q and %d registrations", containers, entries)
	}
	r.must("up", r.service())
	r.release("r2", "good", strings.Replace(plainSpec, "8000", "8001", 1))
	plan := decode[here.Outcome](t, r.must("up", r.service(), "--release", "r2", "--dry-run", "--json").stdout)
	i := slices.IndexFunc(plan.Steps, func(s rollout.Step) bool { return s.Action == "create" })
	if i < 0 || !slices.Contains(plan.Steps[i].Fields, "port") || !strings.HasPrefix(plan.Steps[i].Fields[0], "image (") {
		t.Errorf("the plan does not name the fields: %+v", plan.Steps)
	}
}

// loads puts load on the service: clients that re-resolve for every request, and
// clients that keep their connection.
func (r *rig) loads(most rate.Limit) *load.Load {
	return load.StartAt(most, "http://"+r.dns()+"/", r.client(false), r.client(true), r.client(true))
}

func TestReplacingUnderLoadLosesNoRequest(t *testing.T) {
	r := newRigAlone(t)
	r.release("r1", "good", plainSpec)
	r.must("up", r.service())
	l := r.loads(rate.Inf)
	defer l.Stop()
	for n := 2; n < 40 && (n < 4 || l.Done.Load() < 20_000); n++ {
		name := fmt.Sprintf("r%d", n)
		r.release(name, "good", plainSpec)
		r.must("up", r.service(), "--release", name)
	}
	l.Stop()
	t.Logf("%d requests answered, %d failed", l.Done.Load(), l.Failed.Load())
	if l.Failed.Load() != 0 || l.Done.Load() < 20_000 {
		t.Errorf("%d of %d failed: %v", l.Failed.Load(), l.Done.Load()+l.Failed.Load(), l.Errors())
	}
}

func TestABadReleaseIsRefusedByTheGateUnderLoad(t *testing.T) {
	for _, row := range []struct{ manners, reason string }{
		{"bad", "its check did not pass once before the deadline"},
		{"flap", "did not stay well for 3s before the deadline"},
		{"crash", "before its first passing check"},
	} {
		t.Run(row.manners, func(t *testing.T) {
			r := newRigAlone(t)
			r.release("r1", "good", plainSpec)
			r.must("up", r.service())
			r.release("r2", row.manners, strings.Replace(strings.Replace(plainSpec, "deadline: 20s", "deadline: 10s", 1), "min_healthy: 1s", "min_healthy: 3s", 1))
			l := r.loads(load.Steady)
			defer l.Stop()
			got := r.run("up", r.service(), "--release", "r2")
			l.Stop()
			if got.code != int(fault.Unhealthy) {
				t.Fatalf("exit %d, want 16\n%s", got.code, got.stderr)
			}
			for _, want := range []string{row.reason, "last probe:", "container: ", "testapp r2 starts", "still serving: " + r.app + "-web-"} {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("stderr does not say %q:\n%s", want, got.stderr)
				}
			}
			if containers, entries := r.state(); !slices.Equal(containers, []string{"r1 running"}) || entries != 1 {
				t.Errorf("left %q and %d registrations", containers, entries)
			}
			if l.Failed.Load() != 0 || l.Done.Load() == 0 {
				t.Errorf("%d failed, %d answered: %v", l.Failed.Load(), l.Done.Load(), l.Errors())
			}
		})
	}
}

// That two seconds suffice is shown in virtual time, in package apply; here the
// machine may be busy, so it is only shown that the gate does not wait for its deadline.
func TestAContainerThatEndsAtOnceIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	r.release("r1", "crash", strings.Replace(plainSpec, "deadline: 20s", "deadline: 1h", 1)) // longer than tests may take
	if got := r.run("up", r.service()); got.code != int(fault.Unhealthy) {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestOverlapFalseStopsFirstAndSaysSo(t *testing.T) {
	r := newRig(t)
	text := plainSpec + "    overlap: false\n"
	r.release("r1", "good", text)
	r.must("up", r.service())
	r.release("r2", "good", text)
	got := r.must("up", r.service(), "--release", "r2")
	if want := "note: the old instance stops before the new one starts (overlap: false)"; !strings.Contains(got.stderr, want) {
		t.Errorf("stderr does not say %q:\n%s", want, got.stderr)
	}
	r.release("r3", "bad", strings.Replace(text, "deadline: 20s", "deadline: 5s", 1))
	if got := r.run("up", r.service(), "--release", "r3"); got.code != 16 || !strings.Contains(got.stderr, "still serving") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if got := r.get("/"); got != "r2\n" {
		t.Errorf("after the bad release the service answers %q", got)
	}
}

// TestAKilledUpIsFinishedByTheNext kills svc-run after every single step of a replacement.
func TestAKilledUpIsFinishedByTheNext(t *testing.T) {
	r := newRigAlone(t)
	r.release("a", "good", plainSpec)
	r.release("b", "good", plainSpec)
	r.must("up", r.service(), "--release", "a")
	l := r.loads(load.Steady)
	defer l.Stop()
	to, from := "b", "a"
	for n := 1; ; n++ {
		plan := decode[here.Outcome](t, r.must("up", r.service(), "--release", to, "--dry-run", "--json").stdout)
		cmd := r.process([]string{fmt.Sprintf("%s=%d", killAfter, n)}, "up", r.service(), "--release", to)
		var said bytes.Buffer
		cmd.Stderr = &said
		err := cmd.Run()
		if n > len(plan.Steps) {
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			t.Logf("killed after each of %d steps", n-1)
			break
		}
		if err == nil {
			t.Fatalf("step %d of %d: svc-run was not killed\n%s", n, len(plan.Steps), said.String())
		}
		got := r.must("up", r.service(), "--release", to)
		if containers, entries := r.state(); !slices.Equal(containers, []string{to + " running"}) || entries != 1 {
			t.Fatalf("killed after step %d: left %q and %d registrations\n%s", n, containers, entries, got.stderr)
		}
		to, from = from, to
	}
	l.Stop()
	if l.Failed.Load() != 0 {
		t.Errorf("%d of %d requests failed: %v", l.Failed.Load(), l.Done.Load(), l.Errors())
	}
}

func TestDownLeavesDNSBeforeItStops(t *testing.T) {
	r := newRigAlone(t)
	r.release("r1", "good", plainSpec)
	r.must("up", r.service(), "--instances", "2")
	if n := len(r.endpoints()); n != 2 {
		t.Fatalf("%d endpoints, want 2", n)
	}
	var running int
	ctx := here.WithAfter(t.Context(), func(_ int, s rollout.Step) {
		if s.Action == "drain" {
			list, _ := r.engine.Instances(t.Context(), r.app, "web")
			for _, i := range list {
				if i.Name == s.Target && i.State == fleet.Running {
					running++
				}
			}
		}
	})
	if got := r.runIn(ctx, "down", r.service()); got.code != 0 {
		t.Fatalf("exit %d\n%s", got.code, got.stderr)
	}
	if running != 2 {
		t.Errorf("%d of 2 containers still ran when DNS had forgotten them", running)
	}
	if containers, entries := r.state(); len(containers) != 0 || entries != 0 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
	if got := decode[here.Outcome](t, r.must("down", r.service(), "--json").stdout); got.Changed {
		t.Errorf("a second down changed something: %+v", got)
	}
}

func TestRegistrationsWithoutAContainerGoAndNothingElse(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", plainSpec)
	r.must("up", r.service())
	r.agentCall(http.MethodPut, "/v1/agent/service/register", `{"ID":"not-ours","Name":"other","Port":1}`)
	list, err := r.engine.Instances(t.Context(), r.app, "")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := r.engine.Remove(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	r.must("up", r.service())
	if containers, entries := r.state(); len(containers) != 1 || entries != 1 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
	r.agentCall(http.MethodGet, "/v1/agent/service/not-ours", "") // still there
}

func TestTwoRunsAtTheSameTimeExcludeEachOther(t *testing.T) {
	r := newRig(t)
	r.release("r1", "slow", strings.Replace(plainSpec, "min_healthy: 1s, deadline: 20s", "min_healthy: 15s, deadline: 2m", 1))
	one := r.process(nil, "up", r.service())
	var said bytes.Buffer
	pipe, err := one.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := io.ReadFull(pipe, buf); err != nil { // its first word: it holds the lock
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(&said, pipe) }()
	got := r.run("up", r.service())
	if got.code != int(fault.Conflict) || !strings.Contains(got.stderr, fmt.Sprintf("pid %d", one.Process.Pid)) {
		t.Errorf("exit %d, want 14 and the holder's pid %d\n%s", got.code, one.Process.Pid, got.stderr)
	}
	waited := r.must("up", r.service(), "--wait-lock", "5m", "--json")
	if o := decode[here.Outcome](t, waited.stdout); o.Changed {
		t.Errorf("the run that waited changed something: %+v", o)
	}
	if err := one.Wait(); err != nil {
		t.Errorf("the first run: %v\n%s", err, said.String())
	}
}

//go:build real

package main

import (
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

func TestANewReleaseOnADrainedNodeIsNotFoundBeforeItReturns(t *testing.T) {
	r := newRigAlone(t)
	r.release("r1", "good", plainSpec)
	r.release("r2", "good", plainSpec)
	r.must("up", r.service(), "--release", "r1", "--instances", "2")
	r.must("drain", r.service(), "--floor", "0", "--why", "new disk")
	if found := r.endpoints(); len(found) > 0 {
		t.Fatalf("drained, and DNS answers %+v", found)
	}
	looks := 0
	ctx := here.WithAfter(t.Context(), func(_ int, s rollout.Step) {
		looks++
		if found := r.endpoints(); len(found) > 0 {
			t.Errorf("after %s DNS answers %+v", s, found)
		}
	})
	if got := r.runIn(ctx, "up", r.service(), "--release", "r2", "--instances", "2"); got.code != 0 || looks == 0 {
		t.Fatalf("exit %d after %d steps\n%s", got.code, looks, got.stderr)
	}
	all, err := r.consul.Registrations(t.Context()) // the agent is this test's own
	if err != nil || len(all) != 2 {
		t.Fatalf("%d registrations, error %v", len(all), err)
	}
	for _, reg := range all {
		if _, drained := rollout.DrainUntil(reg); reg.Health != fleet.Maintenance || !drained || reg.Meta[fleet.MetaRelease] != "r2" {
			t.Errorf("%s of release %s is %s %q", reg.ID, reg.Meta[fleet.MetaRelease], reg.Health, reg.Reason)
		}
	}
	if again := decode[here.Outcome](t, r.must("up", r.service(), "--release", "r2", "--instances", "2", "--json").stdout); again.Changed {
		t.Errorf("a second up did %v", again.Steps)
	}
	r.must("return", r.service())
	if found := r.endpoints(); len(found) != 2 {
		t.Errorf("returned, and DNS answers %+v", found)
	}
}

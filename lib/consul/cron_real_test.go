//go:build real

package consul

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func cronRun(k int) cron.Run {
	now := time.Now().UTC()
	return cron.Run{ID: fmt.Sprintf("%s-%06x", now.Format("20060102T150405.000Z"), k), Tick: now.Truncate(time.Minute), Node: "n1", Claimed: now, Tries: 1}
}

func TestOfManyThatClaimATickOneHasIt(t *testing.T) {
	c := connect(t, lab.Consul(t), "svc", "")
	state, held, err := c.CronState(t.Context(), "shop/nightly")
	if err != nil || held || state.Index != 0 || state.Name != "shop/nightly" {
		t.Fatalf("state %+v, held %v, %v", state, held, err)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	var lock *Lock
	for k := range 8 {
		all.Go(func() {
			l, after, err := c.ClaimCron(t.Context(), state.Claim(cronRun(k)), holder(fmt.Sprint("p", k)))
			switch {
			case err == nil && after.Run != nil && after.Index > 0:
				won.Add(1)
				lock = l
			case fault.KindOf(err) != fault.Conflict:
				t.Errorf("claim %d: %v", k, err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d have it", won.Load())
	}
	state, held, err = c.CronState(t.Context(), "shop/nightly")
	if err != nil || !held || state.Run == nil || state.Run.Stage != cron.Claimed {
		t.Fatalf("state %+v, held %v, %v", state, held, err)
	}
	begun, err := c.SetCron(t.Context(), state.Begin("r1", time.Now()), lock)
	if err != nil || begun.Index <= state.Index {
		t.Fatalf("begin: %+v, %v", begun, err)
	}
	if _, err := c.SetCron(t.Context(), state.Begin("r1", time.Now()), lock); !errors.Is(err, fleet.ErrConflict) {
		t.Errorf("an old state was written: %v", err)
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetCron(t.Context(), begun.Ask("now"), lock); !errors.Is(err, fleet.ErrConflict) {
		t.Errorf("written without the lock: %v", err)
	}
	r := *begun.Run
	r.Ended, r.Result, r.Lines = time.Now(), cron.Done, []string{"said\x1b[31m"}
	if _, err := c.SetCron(t.Context(), begun.Close(r), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.RecordRun(t.Context(), "shop/nightly", r); err != nil {
		t.Fatal(err)
	}
	list, err := c.Runs(t.Context(), "shop/nightly")
	if err != nil || len(list) != 1 || list[0].ID != r.ID || list[0].Lines[0] != "said [31m" {
		t.Errorf("runs %+v, %v", list, err)
	}
}

func TestOldRunsAreDropped(t *testing.T) {
	c := connect(t, lab.Consul(t), "svc", "")
	last := ""
	for k := range keepRuns + 5 {
		r := cronRun(k)
		r.ID = fmt.Sprintf("20260101T0000%02d.000Z-%06x", k, k)
		r.Result, last = cron.Done, r.ID
		if err := c.RecordRun(t.Context(), "shop/often", r); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.Runs(t.Context(), "shop/often")
	if err != nil || len(list) != keepRuns || list[0].ID != last {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

func TestCurrentsOfManyAppsAreReadAtOnce(t *testing.T) {
	c := connect(t, lab.Consul(t), "svc", "")
	at := time.Now().UTC().Truncate(time.Second)
	for k := range 70 {
		app := fmt.Sprintf("app%02d", k)
		if err := c.SetCurrent(t.Context(), app, fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "r1", At: at, By: "test"}}}); err != nil {
			t.Fatal(err)
		}
	}
	list, bad, err := c.Currents(t.Context())
	if err != nil || len(bad) > 0 || len(list) < 70 || list["app69"].Services["web"].Release != "r1" {
		t.Errorf("%d currents, %v, %v", len(list), bad, err)
	}
}

func TestALeaseTellsTheWishThatIsTrueUnderIt(t *testing.T) {
	c := connect(t, lab.Consul(t), "svc", "")
	type heard struct {
		held bool
		w    fleet.Want
		err  error
	}
	told := make(chan heard, 10)
	next := func() heard {
		t.Helper()
		select {
		case h := <-told:
			return h
		case <-time.After(time.Minute):
			t.Fatal("nothing is told")
			return heard{}
		}
	}
	go func() {
		_ = c.HoldLease(t.Context(), "n1", holder("lease"), func(held bool, w fleet.Want, err error) { told <- heard{held, w, err} })
	}()
	if h := next(); !h.held || !errors.Is(h.err, fleet.ErrNotFound) {
		t.Fatalf("heard %+v", h)
	}
	leases, err := c.Leases(t.Context())
	if err != nil || !leases["n1"].Held {
		t.Fatalf("leases %+v, %v", leases, err)
	}
	before := leases["n1"].Count
	pair, err := c.get(t.Context(), "svc/scale/lease/n1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.api.Session().Destroy(pair.Session, nil); err != nil {
		t.Fatal(err)
	}
	if h := next(); h.held {
		t.Fatalf("its session is gone, and it heard %+v", h)
	}
	if h := next(); !h.held {
		t.Fatalf("heard %+v", h)
	}
	leases, err = c.Leases(t.Context())
	if err != nil || !leases["n1"].Held || leases["n1"].Count <= before {
		t.Errorf("leases %+v after count %d, %v", leases, before, err)
	}
}

package hand

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/wish"
)

func exactly(count int) fleet.Allotment {
	return fleet.Allotment{Name: "shop/single", Unit: wish.Instances, Count: count, Exact: true}
}

// have is the newest report of a service.
func (w *world) have(service string) fleet.Reached {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.haves) > 0 {
		for _, r := range w.haves[len(w.haves)-1].Services {
			if r.Name == service {
				return r
			}
		}
	}
	return fleet.Reached{}
}

func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps)
}

// stopped is what had to stop since its node had no lease.
func (w *world) stopped() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.yields)
}

// states are those of a service's containers.
func (w *world) states(service string) (out []fleet.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.services[service].Containers {
		out = append(out, c.State)
	}
	return out
}

func TestWhatRunsExactlySoOftenNeedsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		w.freeze <- frozen{}
		other := fleet.Allotment{Name: "shop/web", Unit: wish.Instances, Count: 1}
		w.wishes(1, 1, exactly(2), other)
		if got := w.done(); !slices.Equal(got, []string{"shop/web deploy 1"}) {
			t.Fatalf("without the lease: %q", got)
		}
		w.lease <- leased{true, wanted{want: fleet.Want{Epoch: 1, Gen: 1, At: time.Now(), Services: []fleet.Allotment{exactly(2), other}}}}
		w.pass(5 * time.Second)
		if got := w.done(); !slices.Contains(got, "shop/single deploy 2") {
			t.Fatalf("with the lease: %q", got)
		}
		if r := w.have("shop/single"); r.Most != 2 {
			t.Errorf("reported %+v", r)
		}
		// The lease is lost: what needs it is stopped at once, all else goes on.
		w.fail(fault.New(fault.Unreachable, "no route"))
		w.lease <- leased{}
		w.pass(2 * time.Second)
		if got, web := w.stopped(), w.states("shop/web"); !slices.Equal(got, []string{"shop/single"}) || web[0] != fleet.Running {
			t.Errorf("stopped %q, and shop/web is %v", got, web)
		}
		w.pass(time.Minute)
		if got := w.done(); slices.Contains(got[2:], "shop/single wake 2") || len(got) != 2 {
			t.Errorf("it was started again: %q", got)
		}
		// It is back, and another node has the share now.
		w.lease <- leased{true, wanted{want: fleet.Want{Epoch: 1, Gen: 2, At: time.Now(), Services: []fleet.Allotment{exactly(0), other}}}}
		w.pass(10 * time.Second)
		if got := w.done(); !slices.Equal(got[2:], []string{"shop/single leave 0"}) {
			t.Errorf("back again: %q", got)
		}
		if r := w.have("shop/single"); r.Most != 0 || r.Want != 0 {
			t.Errorf("reported %+v", r)
		}
	})
}

func TestADaemonThatComesBackWithoutALeaseStopsWhatNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.freeze <- frozen{}
		w.wishes(1, 1, exactly(1))
		w.lease <- leased{true, wanted{want: fleet.Want{Epoch: 1, Gen: 1, At: time.Now(), Services: []fleet.Allotment{exactly(1)}}}}
		w.pass(5 * time.Second)
		w.stop()
		w.start()
		defer func() { w.stop() }()
		w.fail(fault.New(fault.Unreachable, "no route"))
		w.pass(fleet.LeaseFence - 3*time.Second)
		if got := w.stopped(); len(got) > 0 {
			t.Errorf("stopped at once: %q", got)
		}
		w.pass(4 * time.Second)
		if got := w.stopped(); !slices.Equal(got, []string{"shop/single"}) {
			t.Errorf("stopped %q", got)
		}
	})
}

func TestALeaseWithoutAnyWishStartsNothingThatNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		w.freeze <- frozen{}
		w.wishes(1, 1, exactly(1))
		w.lease <- leased{true, wanted{err: fault.New(fault.NotFound, "%w", fleet.ErrNotFound)}}
		w.pass(20 * time.Second)
		if got := w.done(); len(got) > 0 {
			t.Errorf("Consul was emptied, and still: %q", got)
		}
	})
}

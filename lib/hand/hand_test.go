package hand

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/wish"
)

// play runs f in a bubble of its own time.
func play(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.freeze <- frozen{}
		f(t, w)
		w.stop()
	})
}

func TestNothingChangesBeforeFreezesAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.runs("a/web", 2)
		w.wishes(1, 1, workers("a/web", 4, 0))
		w.expectWorkers("a/web", 2)
		w.freeze <- frozen{err: fault.New(fault.Failed, "not allowed")}
		w.pass(2 * time.Second)
		w.expectWorkers("a/web", 4)
		w.wishes(1, 2, workers("a/web", 2, 0))
		w.expectWorkers("a/web", 4)
		w.freeze <- frozen{}
		w.pass(2 * time.Second)
		w.expectWorkers("a/web", 2)
		w.stop()
	})
}

func TestAServiceGetsToItsWishAndStaysThere(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.wishes(1, 1, workers("a/web", 6, 0))
		w.pass(5 * time.Second)
		w.expectWorkers("a/web", 6)
		w.wishes(1, 2, workers("a/web", 3, 0))
		w.expectWorkers("a/web", 3)
		w.runs("a/web", 1) // as svc-reload or svc-run up may leave it
		w.pass(7 * time.Second)
		w.expectWorkers("a/web", 3)
		if r := w.report("a/web"); r.Want != 3 || r.Ready != 3 || r.Error != "" {
			t.Errorf("report %+v", r)
		}
		w.wishes(1, 3, workers("a/web", 0, 0))
		w.expectWorkers("a/web", -1)
	})
}

func TestOthersServicesAreLeftAlone(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("b/web", 4)
		w.wishes(1, 1, workers("a/web", 2, 0))
		w.wishes(1, 2)
		w.pass(10 * time.Second)
		w.expectWorkers("b/web", 4)
		w.expectWorkers("a/web", 2) // no wish names it any more
	})
}

func TestAnOlderWishIsNeverApplied(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 2)
		w.wishes(5, 7, workers("a/web", 4, 0))
		w.wishes(4, 99, workers("a/web", 1, 0))
		w.expectWorkers("a/web", 4)
		w.stop()
		w.start() // what the file remembers counts, also before Consul answers
		w.freeze <- frozen{}
		w.runs("a/web", 2)
		w.pass(7 * time.Second)
		w.expectWorkers("a/web", 4)
		w.wishes(5, 6, workers("a/web", 1, 0))
		w.expectWorkers("a/web", 4)
		if r := w.report("a/web"); !strings.Contains(r.Error, "epoch 5 generation 6 is not newer than 5/7") {
			t.Errorf("report %+v", r)
		}
		w.wishes(6, 1, workers("a/web", 3, 0))
		w.expectWorkers("a/web", 3)
		if epoch, gen := w.hand.Applied(); epoch != 6 || gen != 1 {
			t.Errorf("in force: %d/%d", epoch, gen)
		}
	})
}

func TestADamagedStateIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := remember(w.dir, fleet.Want{Node: "n1", Epoch: 9, Gen: 1}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(statePath(w.dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(statePath(w.dir), []byte(strings.Replace(string(text), `"epoch":9`, `"epoch":1`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		w.runs("a/web", 2)
		w.start()
		w.freeze <- frozen{}
		w.wishes(2, 1, workers("a/web", 4, 0))
		w.expectWorkers("a/web", 4)
		if _, err := os.Stat(statePath(w.dir) + ".damaged"); err != nil {
			t.Error(err)
		}
		w.stop()
		if got, err := Remembered(w.dir); err != nil || got.Epoch != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestAValueThatIsNoWishChangesNothing(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.wishes(1, 1, workers("a/web", 4, 0))
		w.pass(2 * time.Second)
		w.fail(fault.New(fault.Invalid, "read want/n1: not JSON"))
		w.pass(5 * time.Second)
		w.expectWorkers("a/web", 4)
		if r := w.report("a/web"); !strings.Contains(r.Error, "not JSON") {
			t.Errorf("report %+v", r)
		}
		w.wishes(1, 2, workers("a/web", 2, 0))
		w.expectWorkers("a/web", 2)
		if r := w.report("a/web"); r.Error != "" {
			t.Errorf("report %+v", r)
		}
	})
}

func TestWithoutConsulNothingIsLowered(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.wishes(1, 1, workers("a/web", 4, 0))
		w.pass(2 * time.Second)
		w.fail(fault.New(fault.Unreachable, "refused"))
		w.runs("a/web", 6)
		w.pass(20 * time.Second)
		w.expectWorkers("a/web", 6)
		w.runs("a/web", 1)
		w.pass(10 * time.Second)
		w.expectWorkers("a/web", 4)
		w.mu.Lock()
		w.services["a/web"].Containers[0].State = fleet.Exited
		w.mu.Unlock()
		w.pass(10 * time.Second)
		w.mu.Lock()
		if w.services["a/web"].Containers[0].State != fleet.Running {
			t.Error("what crashed was not brought back")
		}
		w.mu.Unlock()
		w.runs("a/web", 6)
		w.wishes(1, 1, workers("a/web", 4, 0)) // the same wish again: Consul is back
		w.pass(3 * time.Second)
		w.expectWorkers("a/web", 4)
	})
}

func TestOneServiceInTroubleKeepsNobodyWaiting(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		var list []fleet.Allotment
		for n := range 6 { // more than a lane has places
			name := fmt.Sprintf("a/slow%d", n)
			w.runs(name, 2)
			w.set(func() { w.slow[name] = n < 3 })
			list = append(list, workers(name, 4, 0))
		}
		w.set(func() { w.fails["b/web"] = fault.New(fault.Failed, "no image") })
		w.runs("c/web", 2)
		w.set(func() {
			w.services["v/web"] = wish.Service{VIP: true, Containers: []wish.Container{container("v/web", 0, 2)}}
		})
		w.wishes(1, 1, append(list, workers("b/web", 2, 0), workers("c/web", 5, 0), workers("v/web", 5, 0))...)
		w.pass(10 * time.Second)
		w.expectWorkers("c/web", 5)
		w.expectWorkers("a/slow5", 4)
		if r := w.report("b/web"); !strings.Contains(r.Error, "no image") {
			t.Errorf("report %+v", r)
		}
		for n := 3; n < 6; n++ { // now every place is taken
			name := fmt.Sprintf("a/slow%d", n)
			w.set(func() { w.slow[name] = true })
			w.runs(name, 2)
		}
		w.pass(10 * time.Second)
		w.mu.Lock()
		w.services["v/web"].Containers[0].Workers = 2
		w.mu.Unlock()
		w.pass(7 * time.Second)
		w.expectWorkers("v/web", 5)
	})
}

func TestALockThatSomebodyHoldsIsWaitedFor(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 2)
		w.set(func() { w.fails["a/web"] = fault.New(fault.Conflict, "svc-run up holds it") })
		w.wishes(1, 1, workers("a/web", 4, 0))
		if w.hand.Settling("a/web") != "svc-run up holds it" || w.report("a/web").Error != "settling: svc-run up holds it" {
			t.Errorf("settling %q, report %+v", w.hand.Settling("a/web"), w.report("a/web"))
		}
		w.mu.Lock()
		delete(w.fails, "a/web")
		w.mu.Unlock()
		w.pass(5 * time.Second)
		w.expectWorkers("a/web", 4)
		if w.hand.Settling("a/web") != "" || w.report("a/web").Error != "" {
			t.Errorf("settling %q, report %+v", w.hand.Settling("a/web"), w.report("a/web"))
		}
	})
}

func TestALowerThatIsUnderWayEndsForARaise(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 6)
		w.set(func() { w.slow["a/web"] = true })
		w.wishes(1, 1, workers("a/web", 2, 0))
		w.set(func() {
			if w.hangs["a/web"] != "lower" {
				t.Errorf("hangs: %v", w.hangs)
			}
		})
		w.mu.Lock()
		w.slow["a/web"] = false
		w.mu.Unlock()
		w.wishes(1, 2, workers("a/web", 8, 0))
		w.expectWorkers("a/web", 8)
	})
}

func TestFreezesBind(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		freeze := func(m scale.FreezeMode) {
			w.freeze <- frozen{list: []planner.Freeze{{Scope: "all", Freeze: scale.Freeze{Mode: m}}}}
			w.pass(time.Second)
		}
		w.runs("a/web", 4)
		freeze(scale.NoDown)
		w.wishes(1, 1, workers("a/web", 2, 0))
		w.expectWorkers("a/web", 4)
		freeze(scale.Observe)
		w.wishes(1, 2, workers("a/web", 6, 0))
		w.expectWorkers("a/web", 4)
		if r := w.report("a/web"); r.Error != "frozen (observe); without it: raise a/web-0 4 → 6: 6 workers wanted" {
			t.Errorf("report %+v", r)
		}
		w.freeze <- frozen{}
		w.pass(2 * time.Second)
		w.expectWorkers("a/web", 6)
	})
}

func TestTheFastLaneRaisesAlsoWithoutConsul(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 2)
		w.wishes(1, 1, workers("a/web", 2, 3))
		w.fail(fault.New(fault.Unreachable, "refused"))
		w.mu.Lock()
		w.sample = &fleet.Sample{Node: "n1", Services: []fleet.ServiceSample{{
			Name: "a/web", Ready: 2, Requests: &fleet.Requests{Busy: 2, Waiting: 9, Rate1: 40, Service: 0.2},
		}}}
		w.mu.Unlock()
		w.pass(4 * time.Second)
		if n := w.workers("a/web"); n <= 2 || n > 5 {
			t.Errorf("%d workers under a load that needs more", n)
		}
		w.pass(20 * time.Second)
		w.expectWorkers("a/web", 5)
	})
}

func TestWhenMemoryIsShortAContainerIsGivenUpForAWhile(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 2)
		w.runs("b/web", 2)
		w.wishes(1, 1, workers("a/web", 2, 0))
		w.mu.Lock()
		w.sample = &fleet.Sample{Node: "n1", Memory: 4 << 30, MemoryIn: 4<<30 - 10<<20, Services: []fleet.ServiceSample{
			{Name: "a/web", MemoryIn: 1 << 30}, {Name: "b/web", MemoryIn: 2 << 30}, // the planner has not placed b/web here
		}}
		w.mu.Unlock()
		w.pass(5 * time.Second)
		state := func(service string) fleet.State {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.services[service].Containers[0].State
		}
		if state("a/web") != fleet.Exited || state("b/web") != fleet.Running {
			t.Fatalf("a/web is %s, b/web %s", state("a/web"), state("b/web"))
		}
		if r := w.report("a/web"); !strings.Contains(r.Error, "10 MiB of 4096 MiB are left") {
			t.Errorf("report %+v", r)
		}
		w.mu.Lock()
		w.sample = nil
		w.mu.Unlock()
		w.pass(5 * time.Minute)
		if state("a/web") != fleet.Exited {
			t.Errorf("a/web is %s again after 5 minutes", state("a/web"))
		}
		w.pass(6 * time.Minute)
		w.expectWorkers("a/web", 2)
		if state("a/web") != fleet.Running {
			t.Errorf("a/web is %s after 11 minutes", state("a/web"))
		}
	})
}

func TestReportsComeOnChangeAndEachMinute(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.runs("a/web", 2)
		w.wishes(1, 1, workers("a/web", 2, 0))
		reports := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.haves) }
		n := reports()
		if n == 0 {
			t.Fatal("no report")
		}
		w.pass(55 * time.Second)
		if got := reports(); got != n {
			t.Errorf("%d reports of nothing new", got-n)
		}
		w.pass(10 * time.Second)
		if got := reports(); got != n+1 {
			t.Errorf("%d reports in a minute", got-n)
		}
		w.mu.Lock()
		w.refuse = fault.New(fault.Unreachable, "x")
		w.mu.Unlock()
		w.wishes(1, 2, workers("a/web", 3, 0))
		w.mu.Lock()
		w.refuse = nil
		w.mu.Unlock()
		w.pass(5 * time.Second)
		if r := w.report("a/web"); r.Ready != 3 {
			t.Errorf("report %+v", r)
		}
	})
}

func TestChoresAreDoneWhateverIsWished(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.mu.Lock()
		w.books = wish.Books{
			Registrations: []fleet.Registration{{ID: "x", Health: fleet.Passing, Check: fleet.Check{Type: "ttl", Interval: 15 * time.Second}, Meta: map[string]string{fleet.MetaContainer: "c"}}},
			Containers:    []fleet.Instance{{ID: "c", State: fleet.Running}},
		}
		w.mu.Unlock()
		w.pass(time.Minute)
		w.set(func() {
			if n := len(w.kept); n < 8 || n > 13 {
				t.Errorf("a TTL of 15 s was renewed %d times in a minute", n)
			}
		})
	})
}

func FuzzRememberedWish(f *testing.F) {
	f.Add([]byte(`{"schema":1,"sum":"","want":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if w, err := decodeState(text); err == nil {
			for _, a := range w.Services {
				if a.Count < 0 {
					t.Error("a count below 0")
				}
			}
		}
	})
}

package nodeagent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// played runs an agent in fake time; play is called once it has started.
func played(t *testing.T, change func(w *world, a *Agent), play func(w *world, a *Agent, m *manager)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, m := w.agent(t, silent{make(chan struct{})})
		if change != nil {
			change(w, a)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		play(w, a, m)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		if m.count("stopping") != 1 {
			t.Errorf("the manager was told %v", m.told)
		}
		if id := fleet.MonitorService + "-n1"; w.consul == nil && (w.known[id].ID != id || w.ttl[id] != fleet.Critical) {
			t.Errorf("its registration is %q: %s", w.known[id].ID, w.ttl[id])
		}
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAnAgentReadsServesAndTells(t *testing.T) {
	played(t, nil, func(w *world, a *Agent, m *manager) {
		pass(15 * time.Second)
		s := a.Sample()
		if s.Node != "n1" || len(s.Services) != 1 || s.Services[0].Requests == nil || s.Services[0].Requests.Rate10 < 9.99 || s.Services[0].Requests.Rate10 > 10.01 {
			t.Errorf("%+v", s)
		}
		if m.count("ready") != 1 || m.count("alive") < 14 {
			t.Errorf("the manager was told %v", m.told)
		}
		if w.ttl[fleet.MonitorService+"-n1"] != fleet.Passing {
			t.Errorf("consul was told %v", w.ttl)
		}
		if w.looks != 1 || w.specs != 1 || len(w.targets) != 1 || w.targets[0].Master.PID != 8 || !w.targets[0].Known {
			t.Errorf("%d looks for masters, %d for specs: %+v", w.looks, w.specs, w.targets)
		}
	})
}

func TestWhatWasKnownStaysWhileOthersAreAway(t *testing.T) {
	played(t, nil, func(w *world, a *Agent, m *manager) {
		pass(10 * time.Second)
		w.with(func() { w.engine, w.consul = errAway, errAway })
		pass(20 * time.Minute)
		if s := a.Sample(); len(s.Services) != 1 || s.Services[0].Requests == nil || !w.targets[0].Known {
			t.Errorf("%+v, %+v", s, w.targets)
		}
		w.with(func() { w.engine, w.consul = nil, nil; w.known = map[string]fleet.Registration{} })
		pass(10 * time.Second)
		if _, there := w.known[fleet.MonitorService+"-n1"]; !there {
			t.Error("consul has lost the agent, and was not told again")
		}
	})
}

func TestAnUnknownSpecIsAskedForWithGrowingPauses(t *testing.T) {
	played(t, func(w *world, _ *Agent) { w.consul = errAway }, func(w *world, _ *Agent, _ *manager) {
		pass(10 * time.Minute)
		if w.targets[0].Known || w.specs > 20 || w.specs < 8 {
			t.Errorf("asked %d times in 10 minutes: %+v", w.specs, w.targets)
		}
		w.with(func() { w.consul = nil })
		pass(2 * time.Minute)
		if !w.targets[0].Known {
			t.Error("the spec can be read, and is not known")
		}
	})
}

func TestContainersOfOthersAreNotWatched(t *testing.T) {
	played(t, nil, func(w *world, a *Agent, m *manager) {
		w.with(func() {
			of := w.instances[0]
			foreign, dev, stopped, bad := of, of, of, of
			foreign.ID, foreign.Prefix = "c2", "other"
			dev.ID, dev.Owner = "c3", &fleet.Holder{}
			stopped.ID, stopped.State, stopped.PID = "c4", fleet.Exited, 0
			bad.ID, bad.Service = "c5", ""
			w.instances = []fleet.Instance{foreign, dev, stopped, bad, of}
		})
		pass(5 * time.Second)
		if len(w.targets) != 1 || w.targets[0].Instance.ID != "c1" {
			t.Errorf("%+v", w.targets)
		}
	})
}

func TestAProcessThatIsGoneIsLookedForAtOnce(t *testing.T) {
	played(t, nil, func(w *world, a *Agent, m *manager) {
		pass(10*time.Second + 100*time.Millisecond)
		w.with(func() { w.instances[0].PID, w.lost = 17, []string{"c1"} })
		pass(1500 * time.Millisecond)
		if got := a.looker.targets(); got[0].Instance.PID != 17 || w.looks != 2 {
			t.Errorf("%d looks for masters, %+v", w.looks, got)
		}
	})
}

func TestAMasterThatBeganAnewInItsContainerIsLookedFor(t *testing.T) {
	played(t, nil, func(w *world, a *Agent, m *manager) {
		pass(10*time.Second + 100*time.Millisecond)
		w.with(func() { w.lost = []string{"c1"} })
		pass(1500 * time.Millisecond)
		if w.looks != 2 || a.looker.targets()[0].Master.PID != 8 {
			t.Errorf("%d looks for masters, %+v", w.looks, a.looker.targets())
		}
	})
}

// hand is a hand that is in the middle of something.
type hand struct{}

func (hand) Applied() sample.Applied { return sample.Applied{Epoch: 4, Gen: 2} }

func (hand) Settling(service string) string {
	if service == "shop/web" {
		return "a deploy"
	}
	return ""
}

func TestTheHandRunsBesideTheMonitor(t *testing.T) {
	ended := false
	played(t, func(_ *world, a *Agent) {
		a.Hand = hand{}
		a.Beside = append(a.Beside, func(ctx context.Context) error {
			<-ctx.Done()
			ended = true
			return nil
		})
	}, func(w *world, a *Agent, m *manager) {
		pass(3 * time.Second)
		if s := a.Sample(); s.Epoch != 4 || s.Gen != 2 || s.Services[0].Settling != "a deploy" {
			t.Errorf("%+v", s)
		}
	})
	if !ended {
		t.Error("the part beside did not end with the agent")
	}
}

func TestAPartThatFailsEndsTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, _ := w.agent(t, silent{make(chan struct{})})
		a.Beside = append(a.Beside, func(context.Context) error { return errAway })
		if err := a.Run(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// list is a queue whose server may be away.
type list struct {
	w     *world
	reads int
}

func (l *list) Read(context.Context) (sample.Queue, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.reads++
	return sample.Queue{Source: "redis list jobs", Ready: 5}, l.w.consul
}

func (l *list) Every() time.Duration { return time.Second }
func (l *list) Close() error         { return nil }

func TestTheQueueOfAServiceIsReadBesideItsContainers(t *testing.T) {
	var queue *list
	opened := 0
	played(t, func(_ *world, a *Agent) {
		a.World.Queue = func(_ context.Context, s spec.Service) (Queue, error) {
			if s.Scale.Queue.List != "jobs" {
				t.Errorf("asked for the queue of %+v", s)
			}
			opened++
			return queue, nil
		}
	}, func(w *world, a *Agent, m *manager) {
		queue = &list{w: w}
		w.with(func() { w.instances[0].Service = "jobs" })
		pass(20 * time.Second)
		s := a.Sample().Services[0]
		if s.Queue == nil || s.Queue.Ready != 5 || len(s.Errors) != 0 {
			t.Errorf("%+v", s)
		}
		w.with(func() { w.consul = errAway })
		pass(time.Minute)
		if s := a.Sample().Services[0]; len(s.Errors) != 1 || s.Errors[0] != errAway.Error() {
			t.Errorf("%+v", s)
		}
		w.with(func() { w.instances = nil })
		pass(10 * time.Second)
		before := opened
		pass(5 * time.Minute)
		if opened != before {
			t.Errorf("the queue of a service that is gone was opened %d times more", opened-before)
		}
	})
}

func TestAPartThatHangsTakesTheSignOfLifeAway(t *testing.T) {
	beat := time.Time{}
	var mu sync.Mutex
	played(t, func(_ *world, a *Agent) {
		a.Pulse = 10 * time.Second
		a.Beat = func() time.Time { mu.Lock(); defer mu.Unlock(); return beat }
	}, func(_ *world, _ *Agent, m *manager) {
		pass(100 * time.Second) // it has not gone round yet, and is given time
		if n := m.count("alive"); n < 9 {
			t.Errorf("%d signs of life while it starts", n)
		}
		pass(60 * time.Second)
		before := m.count("alive")
		pass(60 * time.Second)
		if n := m.count("alive"); n != before {
			t.Errorf("%d signs of life while it hangs", n-before)
		}
		mu.Lock()
		beat = time.Now()
		mu.Unlock()
		pass(30 * time.Second)
		if n := m.count("alive"); n <= before {
			t.Error("no sign of life when it goes round again")
		}
	})
}

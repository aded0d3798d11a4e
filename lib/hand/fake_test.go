package hand

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/wish"
)

// world is a node and its Consul, with a clock that a test turns.
type world struct {
	t   *testing.T
	dir string

	mu       sync.Mutex
	services map[string]wish.Service
	steps    []string          // done, in order
	slow     map[string]bool   // services whose steps hang until they are ended
	fails    map[string]error  // by service
	hangs    map[string]string // what hangs now
	haves    []fleet.Have
	kept     []wish.Care
	books    wish.Books
	refuse   error // of reports
	sample   *fleet.Sample

	want   chan wanted
	freeze chan frozen
	lease  chan leased
	yields []string
	hand   *Hand
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, dir: t.TempDir(), services: map[string]wish.Service{}, slow: map[string]bool{}, fails: map[string]error{}, hangs: map[string]string{}}
}

// start runs a hand, as after a start of the daemon.
func (w *world) start() {
	w.want, w.freeze = make(chan wanted), make(chan frozen)
	w.lease = make(chan leased)
	w.hand = New(Config{Name: "n1", Source: w, Node: w, State: w.dir, Log: hclog.NewNullLogger(), Sample: w.newest})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.hand.Run(ctx) }()
	w.stop = func() { cancel(); <-ended }
}

func (w *world) newest() (fleet.Sample, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sample == nil {
		return fleet.Sample{}, false
	}
	s := *w.sample
	s.At = time.Now().Unix()
	return s, true
}

// wishes tells a wish and lets the hand work for a while.
func (w *world) wishes(epoch, gen uint64, list ...fleet.Allotment) {
	w.want <- wanted{want: fleet.Want{Node: "n1", Epoch: epoch, Gen: gen, At: time.Now(), Services: list}}
	w.pass(3 * time.Second)
}

func (w *world) fail(err error) { w.want <- wanted{err: err}; w.pass(time.Second) }

func (w *world) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (w *world) FollowWant(ctx context.Context, _ string, tell func(fleet.Want, error)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-w.want:
			tell(got.want, got.err)
		}
	}
}

func (w *world) FollowFreezes(ctx context.Context, tell func([]planner.Freeze, error)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-w.freeze:
			tell(got.list, got.err)
		}
	}
}

func (w *world) SetHave(_ context.Context, h fleet.Have) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse == nil {
		w.haves = append(w.haves, h)
	}
	return w.refuse
}

func (w *world) Look(context.Context, bool) (wish.Sight, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := wish.Sight{At: time.Now(), Services: map[string]wish.Service{}, Books: w.books}
	for name, s := range w.services {
		out.Services[name] = wish.Service{VIP: s.VIP, Containers: slices.Clone(s.Containers)}
	}
	return out, nil
}

func (w *world) Do(ctx context.Context, service string, s wish.Step, away bool) error {
	w.mu.Lock()
	hang, err := w.slow[service], w.fails[service]
	if hang {
		w.hangs[service] = string(s.Action)
	}
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		w.mu.Lock()
		delete(w.hangs, service)
		w.mu.Unlock()
		return context.Cause(ctx)
	}
	time.Sleep(100 * time.Millisecond)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, fmt.Sprintf("%s %s %d", service, s.Action, s.To))
	here := w.services[service]
	switch s.Action {
	case wish.Leave:
		here.Containers = nil
	case wish.Deploy, wish.Wake:
		if away && s.Action == wish.Deploy {
			return fault.New(fault.Unreachable, "no Consul")
		}
		for k := range here.Containers {
			here.Containers[k].State = fleet.Running
		}
		for len(here.Containers) < s.To {
			here.Containers = append(here.Containers, container(service, len(here.Containers), 2))
		}
		here.Containers = here.Containers[:s.To]
	case wish.Spare:
		here.Containers[len(here.Containers)-1].State = fleet.Exited
	case wish.Raise, wish.Lower:
		here.Containers[0].Workers = s.To
	case wish.Weigh:
		here.Containers[0].Weight = s.To
	}
	w.services[service] = here
	return nil
}

func (w *world) HoldLease(ctx context.Context, _ string, tell func(bool, fleet.Want, error)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-w.lease:
			tell(got.held, got.want.want, got.want.err)
		}
	}
}

func (w *world) Yield(_ context.Context, service string) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[service]
	for k, c := range s.Containers {
		if c.State == fleet.Running {
			s.Containers[k].State = fleet.Exited
			n++
		}
	}
	if n > 0 {
		w.yields = append(w.yields, service)
	}
	w.services[service] = s
	return n, nil
}

func (w *world) Keep(_ context.Context, c wish.Care) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, c)
	return nil
}

func container(service string, n, workers int) wish.Container {
	id := fmt.Sprintf("%s-%d", service, n)
	return wish.Container{Name: id, ID: id, State: fleet.Running, Workers: workers, Weight: workers, Entry: "r" + id, Health: fleet.Passing}
}

// runs puts a service of n workers on the node.
func (w *world) runs(service string, workers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.services[service] = wish.Service{Containers: []wish.Container{container(service, 0, workers)}}
}

// workers are those of a service's first container; -1: it has none.
func (w *world) workers(service string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if list := w.services[service].Containers; len(list) > 0 {
		return list[0].Workers
	}
	return -1
}

// report is the newest report about a service.
func (w *world) report(service string) fleet.Reached {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.haves) == 0 {
		return fleet.Reached{}
	}
	for _, r := range w.haves[len(w.haves)-1].Services {
		if r.Name == service {
			return r
		}
	}
	return fleet.Reached{}
}

func (w *world) expectWorkers(service string, n int) {
	w.t.Helper()
	if got, said := w.workers(service), w.report(service); got != n {
		w.set(func() {
			w.t.Errorf("%s has %d workers, want %d; steps: %v; report: %+v", service, got, n, w.steps, said)
		})
	}
}

func workers(name string, n, room int) fleet.Allotment {
	return fleet.Allotment{Name: name, Unit: wish.Workers, Count: n, Room: room}
}

// set changes the world while a hand may look at it.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

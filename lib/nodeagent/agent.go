// Package nodeagent is the daemon of one node: it looks which containers of ours
// run here, has them read once a second, and serves what it knows. Other parts run
// beside it and share its end: see Agent.Beside.
//
// Nothing in it waits for anything else in it. The engine, Consul and a queue's
// server may be away: what was known of them stays, and readings go on.
package nodeagent

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"svckit/lib/fleet"
	"svckit/lib/monitor"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// World is what the agent needs of its node.
type World struct {
	// Instances lists the containers of services on this node. Those of before
	// that still run may be taken as they are.
	Instances func(ctx context.Context, before []fleet.Instance) ([]fleet.Instance, error)
	// Spec is the spec that a release was built with.
	Spec    func(ctx context.Context, app, release string) (spec.App, error)
	Masters Masters
	// Read reads these containers now; see monitor.Monitor.Read. It is never called twice at a time.
	Read  func(ctx context.Context, at time.Time, targets []monitor.Target) (r sample.Reading, lost []string)
	Queue OpenQueue // nil: queues are not read
	Now   func() time.Time
}

// Masters finds process managers in containers.
type Masters interface {
	Look(ctx context.Context, i fleet.Instance, kind spec.Master) (fleet.Master, error)
	StatsAt(i fleet.Instance, kind spec.Master, pid int) (string, error)
}

// Hand is who brings the node to its wish, beside the monitor.
type Hand interface {
	// Applied is the wish that was applied last.
	Applied() sample.Applied
	// Settling says why the workers of a service are in motion beside scaling; "": they are not.
	Settling(service string) string
}

// Manager hears how the daemon is.
type Manager interface {
	Ready(status string) error
	Status(status string) error
	Alive() error
	Stopping() error
}

// Agent is one running daemon. Fill in the fields, then call Run once.
type Agent struct {
	Node    string        // name of this node
	Prefix  string        // SVC_PREFIX: containers of another one are not ours
	Every   time.Duration // between two readings; 0 is a second
	World   World
	Hand    Hand // nil: nobody acts here
	Serve   Serving
	Book    *Registration // nil: it is not told to Consul
	Manager Manager
	Pulse   time.Duration // between two signs of life to the manager; 0: none is wanted
	Log     hclog.Logger
	// Beat is when the loop of a part beside last went round; nil: none has one.
	// While it does not for long, the manager gets no sign of life.
	Beat func() time.Time
	// Beside are parts that run as long as the agent does. One that returns an error ends it.
	Beside []func(ctx context.Context) error

	looker looker
	queues queues

	mu   sync.Mutex // guards what follows
	book *sample.Book
	last time.Time // of the last reading, by the process's own clock
	read int       // readings so far
	took time.Duration
}

// Run reads, serves and tells until ctx ends or a part fails.
func (a *Agent) Run(ctx context.Context) error {
	if a.Every == 0 {
		a.Every = time.Second
	}
	a.book = sample.New(a.Node)
	a.looker = looker{world: a.World, prefix: a.Prefix, log: a.Log, wake: make(chan struct{}, 1)}
	a.queues = queues{open: a.World.Queue, log: a.Log, readers: map[string]*queueReader{}}
	listener, err := a.Serve.listen()
	if err != nil {
		return err
	}
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return a.serveOn(ctx, listener) })
	parts.Go(func() error { a.looker.run(ctx); return nil })
	parts.Go(func() error { a.sampling(ctx); return nil })
	parts.Go(func() error { a.queues.run(ctx, a.looker.targets); return nil })
	if a.Book != nil {
		parts.Go(func() error { a.Book.keep(ctx, a.Log, a.health); return nil })
	}
	for _, part := range a.Beside {
		parts.Go(func() error { return part(ctx) })
	}
	err = parts.Wait()
	a.told(a.Manager.Stopping())
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// sampling reads once per period, and tells the manager that it does.
func (a *Agent) sampling(ctx context.Context) {
	tick := time.NewTicker(a.Every)
	defer tick.Stop()
	var pulse time.Time
	started := time.Now()
	for ready := false; ; {
		began := time.Now()
		r, lost := a.World.Read(ctx, a.World.Now(), a.looker.targets())
		if ctx.Err() != nil {
			return
		}
		if len(lost) > 0 {
			a.looker.again(lost)
		}
		for k := range r.Services {
			a.queues.fill(&r.Services[k])
			if a.Hand != nil {
				if why := a.Hand.Settling(r.Services[k].Name); why != "" {
					r.Services[k].Settling = why
				}
			}
		}
		a.mu.Lock()
		a.book.Add(r)
		a.last, a.took = time.Now(), time.Since(began)
		a.read++
		a.mu.Unlock()
		if !ready && a.looker.looked() {
			ready = true
			a.told(a.Manager.Ready("watching"))
			a.Log.Info("watching", "services", len(r.Services))
		}
		if now := time.Now(); a.Pulse > 0 && now.Sub(pulse) >= a.Pulse && a.goesRound(started) {
			pulse = now
			a.told(a.Manager.Alive())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hangs is after how long a loop that does not go round is taken to hang: longer
// than the longest question that it asks.
const hangs = 2 * time.Minute

// goesRound reports whether the part beside is alive.
func (a *Agent) goesRound(started time.Time) bool {
	if a.Beat == nil {
		return true
	}
	last := a.Beat()
	if last.Before(started) {
		last = started
	}
	return time.Since(last) < hangs
}

// Sample is what this node tells now. It is safe for concurrent use.
func (a *Agent) Sample() fleet.Sample {
	s, _ := a.sample()
	return s
}

// sample is Sample and the number of its reading.
func (a *Agent) sample() (fleet.Sample, int) {
	var applied sample.Applied
	if a.Hand != nil {
		applied = a.Hand.Applied()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.book == nil {
		return fleet.Sample{}, 0
	}
	return a.book.Sample(applied), a.read
}

// stale is the age at which the last reading says nothing of now.
const stale = 5 * time.Second

// health is what Consul is told: whether readings go on.
func (a *Agent) health() (fleet.Health, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.read == 0 || time.Since(a.last) > stale {
		return fleet.Critical, "no reading of this node"
	}
	return fleet.Passing, "reading this node"
}

// Took is how long the last reading took, and how many there were.
func (a *Agent) Took() (time.Duration, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.took, a.read
}

// told notes that the service manager could not be told.
func (a *Agent) told(err error) {
	if err != nil {
		a.Log.Debug("service manager not told", "error", err)
	}
}

package consul

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
)

// FollowFleet tells of every part as often as it may have changed, at its first
// answer too, until ctx ends; then nothing is told any more. It holds about thirty
// connections at most. What does not change is told again at times: who is
// told compares. tell is called from many goroutines.
func (c *Client) FollowFleet(ctx context.Context, f Fleet, tell func(PartNews)) {
	w := &fleetFollower{c: c, ctx: ctx, fleet: f, tell: tell, watched: map[string]context.CancelFunc{}, again: make(chan struct{}, 1)}
	for _, p := range c.wholes(f.App) {
		w.all.Go(func() { w.follow(ctx, p) })
	}
	w.all.Go(w.followApps)
	w.all.Go(w.followNames)
	w.all.Go(w.readOthers)
	<-ctx.Done()
	w.all.Wait()
}

type fleetFollower struct {
	c     *Client
	ctx   context.Context
	fleet Fleet
	tell  func(PartNews)
	all   sync.WaitGroup
	again chan struct{} // the list of services was answered: an instance may have come or gone

	mu      sync.Mutex
	watched map[string]context.CancelFunc // by name of a service
	others  []string                      // services without a watch of their own
}

// heardOf is what one query says: how many things it found, and what is to be done with them.
type heardOf struct {
	found int
	meta  *api.QueryMeta
	take  func() error
}

// loop asks with blocking queries until ctx ends. An answer that is older than one that was seen is not believed at
// once (lag): a server that has just started may not know all yet.
func (w *fleetFollower) loop(ctx context.Context, name string, ask func(q *api.QueryOptions) (heardOf, error)) {
	seen := lag{highest: w.fleet.Indexes[name]}
	failures := 0
	query := func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		a, err := ask(q)
		if err == nil && a.meta.LastIndex != 0 && seen.behind(a.meta.LastIndex, time.Now()) {
			sleep(ctx, emptyPause)
			return a.meta, false, nil
		}
		if err == nil {
			err = a.take()
		}
		if err == nil {
			failures = 0
			if a.found == 0 {
				sleep(ctx, emptyPause)
			}
			return a.meta, false, nil
		}
		if failures++; failures == sureFailures && ctx.Err() == nil {
			if known := w.c.fault(ctx, "read "+name, err); fault.KindOf(known) == fault.Unreachable {
				w.tell(PartNews{Part: name, Err: known})
			}
		}
		return a.meta, false, err
	}
	for {
		err := w.c.watch(ctx, "follow "+name, query)
		if ctx.Err() != nil {
			return
		}
		w.tell(PartNews{Part: name, Err: err})
		if !sleep(ctx, jitter(refusedPause, rand.Float64())) {
			return
		}
	}
}

// emptyPause is between two looks at a prefix without a key, on which a query wakes with every write of the cluster.
const emptyPause = time.Second

func (w *fleetFollower) follow(ctx context.Context, p partReader) {
	w.loop(ctx, p.name, func(q *api.QueryOptions) (heardOf, error) {
		facts, meta, err := p.read(q)
		return heardOf{len(facts), meta, func() error {
			w.mu.Lock() // so that nothing is told after stop
			defer w.mu.Unlock()
			if ctx.Err() == nil {
				w.tell(PartNews{Part: p.name, Index: meta.LastIndex, Facts: facts})
			}
			return nil
		}}, err
	})
}

// followApps reads what changed below the apps. One query wakes for all of them.
func (w *fleetFollower) followApps() {
	const list = "apps"
	indexes := map[string]uint64{}
	known := slices.Clone(w.fleet.Apps)
	w.loop(w.ctx, list, func(q *api.QueryOptions) (heardOf, error) {
		apps, meta, err := w.c.appsBelow(w.fleet.App, q)
		return heardOf{len(apps), meta, func() error {
			w.tell(PartNews{Part: list, Index: meta.LastIndex})
			for _, app := range union(apps, known) {
				n := w.c.appState(w.ctx, app, indexes[app])
				if n.Err != nil && fault.KindOf(n.Err) == fault.Unreachable {
					return n.Err
				}
				if indexes[app] = n.Index; n.Part != "" {
					w.tell(n)
				}
			}
			known = apps
			return nil
		}}, err
	})
}

// followNames keeps a watch for each service that has instances.
func (w *fleetFollower) followNames() {
	const list = "services"
	known := slices.Clone(w.fleet.Services)
	w.loop(w.ctx, list, func(q *api.QueryOptions) (heardOf, error) {
		names, meta, err := w.c.serviceNames(w.fleet.App, q)
		return heardOf{len(names), meta, func() error {
			w.tell(PartNews{Part: list, Index: meta.LastIndex})
			for _, name := range known {
				if !slices.Contains(names, name) && w.still(name) {
					names = union(names, []string{name})
				}
			}
			known = names
			w.keep(names)
			select {
			case w.again <- struct{}{}:
			default:
			}
			return nil
		}}, err
	})
}

// still reads a service that is not listed any more, and reports whether it is to be followed all the same.
func (w *fleetFollower) still(name string) bool {
	p := w.c.instances(w.fleet.App, name)
	q, cancel := w.c.reading(w.ctx)
	defer cancel()
	facts, meta, err := p.read(q)
	if err != nil || len(facts) > 0 {
		return true
	}
	w.stop(name)
	w.tell(PartNews{Part: p.name, Index: meta.LastIndex})
	return false
}

func (w *fleetFollower) stop(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.watched[name]; end != nil {
		end()
		delete(w.watched, name)
	}
}

// keep starts and ends watches so that these names are followed.
func (w *fleetFollower) keep(names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.watched)) {
		if !slices.Contains(names, name) {
			w.watched[name]()
			delete(w.watched, name)
		}
	}
	w.others = nil
	for _, name := range names {
		switch {
		case w.watched[name] != nil:
		case len(w.watched) >= maxFollowedServices:
			w.others = append(w.others, name)
		default:
			ctx, end := context.WithCancel(w.ctx)
			w.watched[name] = end
			w.all.Go(func() { w.follow(ctx, w.c.instances(w.fleet.App, name)) })
		}
	}
}

// readOthers reads the services that have no watch of their own, one after another.
func (w *fleetFollower) readOthers() {
	for sleep(w.ctx, emptyPause) {
		select {
		case <-w.again:
		case <-time.After(othersEach - emptyPause):
		case <-w.ctx.Done():
		}
		w.mu.Lock()
		names := slices.Clone(w.others)
		w.mu.Unlock()
		for _, name := range names {
			p := w.c.instances(w.fleet.App, name)
			q, cancel := w.c.reading(w.ctx)
			facts, meta, err := p.read(q)
			cancel()
			switch {
			case w.ctx.Err() != nil:
				return
			case err != nil:
				w.tell(PartNews{Part: p.name, Err: w.c.fault(w.ctx, "read "+p.name, err)})
			default:
				w.tell(PartNews{Part: p.name, Index: meta.LastIndex, Facts: facts})
			}
		}
	}
}

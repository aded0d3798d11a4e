package lead

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/planner"
)

// Leases are what is asked of Consul for services that run exactly so often.
type Leases interface {
	Leases(ctx context.Context) (map[string]fleet.Lease, error)
	Haves(ctx context.Context) (list []fleet.Have, bad map[string]string, err error)
}

// freed is since when the lease of a node was seen free, by this process's own clock.
type freed struct {
	count uint64
	since time.Time
}

// exact is what is known of nodes that run some of a service of which there are
// never more than so many. nil: there is no such service.
type exact struct {
	gone  map[string]string // node → why it may still run its share; "": it does not
	haves map[string]fleet.Have
}

// lookExact asks what nodes confirmed, and which leases ended long enough ago. The
// wishes that were written before count: a lease that is free now, since then was
// never taken under them.
func (p *Planner) lookExact(ctx context.Context, c Cycle) (*exact, error) {
	if p.Leases == nil || !slices.ContainsFunc(c.Snapshot.Services, func(s planner.Service) bool { return s.Shape.Exact }) {
		return nil, nil
	}
	leases, err := p.Leases.Leases(ctx)
	if err != nil {
		return nil, err
	}
	haves, _, err := p.Leases.Haves(ctx)
	if err != nil {
		return nil, err
	}
	out := &exact{gone: map[string]string{}, haves: map[string]fleet.Have{}}
	for _, h := range haves {
		out.haves[h.Node] = h
	}
	alive := map[string]bool{}
	for _, m := range c.Monitors {
		alive[m.Node] = m.Alive
	}
	if p.freed == nil {
		p.freed = map[string]freed{}
	}
	for node := range p.wants {
		l := leases[node] // one that never was is free
		f, known := p.freed[node]
		switch {
		case l.Held:
			delete(p.freed, node)
			out.gone[node] = "it holds its lease"
			continue
		case !known || f.count != l.Count:
			f = freed{l.Count, c.At}
			p.freed[node] = f
		}
		switch past := c.At.Sub(f.since); {
		case alive[node]:
			out.gone[node] = "it has no lease, and Consul says that it is alive"
		case past < fleet.GiveAway:
			out.gone[node] = fmt.Sprintf("its lease is free for %s of %s", past.Round(time.Second), fleet.GiveAway)
		default:
			out.gone[node] = ""
		}
	}
	return out, nil
}

// bounds are, for each service that runs exactly so often, how much of it each node
// may run. A node that confirmed its wish says so itself, now or long ago: under one
// wish it never comes to run more.
func (p *Planner) bounds(c Cycle, x *exact) map[string][]planner.Bound {
	out := map[string][]planner.Bound{}
	for _, s := range c.Snapshot.Services {
		if !s.Shape.Exact {
			continue
		}
		list := []planner.Bound{}
		for _, node := range slices.Sorted(maps.Keys(p.wants)) {
			if a, ok := allotment(p.wants[node], s.Name); ok {
				list = append(list, p.bound(node, a, x))
			}
		}
		for node := range p.badWants {
			list = append(list, planner.Bound{Node: node, Unknown: "its wish cannot be read"})
		}
		out[s.Name] = list
	}
	return out
}

func (p *Planner) bound(node string, a fleet.Allotment, x *exact) planner.Bound {
	b := planner.Bound{Node: node, Most: a.Count}
	if x == nil {
		b.Unknown = "its lease is not known"
		return b
	}
	w, h := p.wants[node], x.haves[node]
	if h.Epoch == w.Epoch && h.Gen == w.Gen {
		for _, r := range h.Services {
			if r.Name == a.Name {
				b.Most = max(b.Most, r.Most)
			}
		}
		return b
	}
	b.Unknown = x.gone[node]
	return b
}

// settled reports whether a node said of a service that must not be forgotten too
// early that it runs none of it.
func (p *Planner) settled(node string, a fleet.Allotment, x *exact) bool {
	b := p.bound(node, a, x)
	return !a.Exact || b.Unknown == "" && b.Most == 0
}

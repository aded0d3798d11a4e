package hand_test

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/lead"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/spec"
	"svckit/lib/survey"
)

// leader is one planner, with the world as it sees it.
type leader struct {
	*cluster
	epoch uint64
}

func (l leader) Orders(context.Context) (planner.Orders, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := planner.Orders{}
	if l.drains != "" {
		o.Pools = []planner.Membership{{Pool: place.Pool{Name: "default"}, Nodes: []planner.Member{{Node: l.drains, Draining: true}}}}
	}
	return o, nil
}

func (l leader) Wants(context.Context) ([]fleet.Want, map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.wants)), nil, nil
}

func (l leader) Statuses(context.Context) ([]planner.Status, map[string]string, error) {
	return nil, nil, nil
}

func (l leader) Leases(context.Context) (map[string]fleet.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]fleet.Lease{}
	for name, x := range l.leases {
		out[name] = fleet.Lease{Held: x.by != nil, Count: x.count}
	}
	return out, nil
}

func (l leader) Haves(context.Context) ([]fleet.Have, map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.haves)), nil, nil
}

func (l leader) Monitors(context.Context) (out []fleet.Monitor, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		m := l.nodes[name]
		out = append(out, fleet.Monitor{Node: name, Address: name, Alive: !(m.cut || m.off) || time.Since(m.since) < m.noticed})
	}
	return out, nil
}

func (l leader) pull(_ context.Context, m fleet.Monitor) (fleet.Sample, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[m.Node]
	if n.cut || n.off || n.proc.dead {
		return fleet.Sample{}, errAway
	}
	epoch, gen := n.proc.hand.Applied()
	s := fleet.Sample{Node: m.Node, At: time.Now().Unix(), CPUs: 8, Memory: 32 << 30, Epoch: epoch, Gen: gen}
	if n.runs > 0 {
		s.Services = []fleet.ServiceSample{{Name: single, Release: "r1", Instances: n.runs, Ready: n.runs}}
	}
	return s, nil
}

func (l leader) catalogue(context.Context) ([]survey.Service, map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []survey.Service{{Name: single, Release: "r1", Spec: spec.Service{Kind: spec.Daemon, Scale: spec.Scale{
		Set: true, Unit: "instances", Strategy: "noop", Min: l.size, MinNodes: 1, Spread: "balanced", Survive: "none", Pool: "default", Priority: "normal",
		StartUp: 15 * time.Second, OnBlind: "hold", Exactly: true, Down: spec.ScaleDown{After: time.Minute, Step: 0.2},
	}}}}, nil, nil
}

func (l leader) SetWants(_ context.Context, list []fleet.Want) (fleet.Written, error) {
	out := fleet.Written{Index: map[string]uint64{}}
	for _, w := range list { // nodes may hear of one before the next is written
		time.Sleep(time.Duration(l.roll(300)) * time.Millisecond)
		l.mu.Lock()
		if l.wants[w.Node].Index != w.Index {
			out.Conflicts = append(out.Conflicts, w.Node)
		} else {
			l.index++
			w.Index, w.Epoch = l.index, l.epoch
			l.wants[w.Node], out.Index[w.Node] = w, w.Index
		}
		l.mu.Unlock()
	}
	return out, nil
}

func (l leader) SetStatuses(context.Context, []planner.Status) (fleet.Written, error) {
	return fleet.Written{}, nil
}

func (l leader) SetPools(context.Context, []planner.Membership) (fleet.Written, error) {
	return fleet.Written{}, nil
}

func (l leader) Learned(context.Context) ([]planner.Learned, map[string]string, error) {
	return nil, nil, nil
}

func (l leader) SetLearned(context.Context, []planner.Learned) (fleet.Written, error) {
	return fleet.Written{}, nil
}

// plan leads until ctx ends; a new leader comes now and then.
func (c *cluster) plan(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		c.epoch++
		l := leader{c, c.epoch}
		c.mu.Unlock()
		p := &lead.Planner{Books: l, Catalogue: l.catalogue, Pull: l.pull, Leases: l, Log: hclog.NewNullLogger(), Since: time.Now()}
		for end := time.Now().Add(time.Duration(5+c.roll(20)) * time.Minute); ctx.Err() == nil && time.Now().Before(end); time.Sleep(5 * time.Second) {
			c.mu.Lock()
			deposed := c.depose
			c.depose = false
			c.mu.Unlock()
			if deposed {
				break
			}
			cycle, err := p.Look(ctx, time.Now())
			if err == nil {
				err = p.Write(ctx, l, cycle)
			}
			if err != nil && ctx.Err() == nil {
				c.t.Error(err)
			}
		}
	}
}

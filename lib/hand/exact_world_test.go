package hand_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/hand"
	"svckit/lib/lead"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/spec"
	"svckit/lib/survey"
	"svckit/lib/wish"
)

const single = "shop/single"

var errAway = fault.New(fault.Unreachable, "no route to Consul")

// cluster is Consul with a planner beside it, and machines that it may be cut off from.
type cluster struct {
	t    *testing.T
	mu   sync.Mutex
	dice *rand.Rand

	size   int
	drains string // a node that is to be emptied
	depose bool   // another leader takes over now
	index  uint64
	epoch  uint64
	wants  map[string]fleet.Want
	haves  map[string]fleet.Have
	leases map[string]*lease
	nodes  map[string]*machine
}

// lease is a key of Consul.
type lease struct {
	by    *process
	count uint64
	heard time.Time     // when it was last renewed, as the servers saw it
	ttl   time.Duration // after which they end it: 10 s to 20 s
}

type machine struct {
	name    string
	cut     bool
	since   time.Time     // of the cut, or of the end of its power
	noticed time.Duration // after which the failure detector calls it dead
	off     bool
	runs    int
	state   string // folder
	proc    *process
}

// process is one scaled node.
type process struct {
	c    *cluster
	m    *machine
	dead bool
	hand *hand.Hand
	stop context.CancelFunc
	done chan struct{}
}

func newCluster(t *testing.T, seed uint64, size int) *cluster {
	c := &cluster{t: t, dice: rand.New(rand.NewPCG(seed, 7)), size: size, wants: map[string]fleet.Want{}, haves: map[string]fleet.Have{}, leases: map[string]*lease{}, nodes: map[string]*machine{}}
	for i := range 4 {
		name := fmt.Sprint("n", i+1)
		c.nodes[name] = &machine{name: name, state: t.TempDir()}
		c.wants[name] = fleet.Want{Node: name}
	}
	return c
}

func (c *cluster) up(m *machine) {
	ctx, cancel := context.WithCancel(c.t.Context())
	p := &process{c: c, m: m, stop: cancel, done: make(chan struct{})}
	p.hand = hand.New(hand.Config{Name: m.name, Source: p, Node: p, State: m.state, Log: hclog.NewNullLogger()})
	c.mu.Lock()
	m.proc, m.off = p, false
	c.mu.Unlock()
	go func() { defer close(p.done); _ = p.hand.Run(ctx) }()
}

// kill ends the process; with power the machine, and all that runs on it.
func (c *cluster) kill(m *machine, power bool) {
	c.mu.Lock()
	p := m.proc
	p.dead = true
	if power {
		m.runs, m.off = 0, true
		c.away(m)
	}
	c.mu.Unlock()
	p.stop()
	<-p.done
}

// away begins the absence of a machine; now and then the leader goes with it.
func (c *cluster) away(m *machine) {
	m.since, m.noticed = time.Now(), time.Duration(1+c.dice.IntN(6))*time.Second
	c.depose = c.dice.IntN(2) == 0
}

// roll is a number below n.
func (c *cluster) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dice.IntN(n)
}

// expire ends leases as the servers do: by their TTL, or sooner when the failure
// detector has called the node dead. It is called often.
func (c *cluster) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, l := range c.leases {
		m := c.nodes[name]
		sooner := (m.cut || m.off) && time.Since(m.since) > m.noticed && c.dice.IntN(20) == 0
		if l.by != nil && (time.Since(l.heard) > l.ttl || sooner) {
			l.by = nil
		}
	}
}

func (p *process) reach() error {
	if p.dead || p.m.cut {
		return errAway
	}
	return nil
}

func (p *process) FollowWant(ctx context.Context, node string, tell func(fleet.Want, error)) error {
	last, failures := ^uint64(0), 0
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		p.c.mu.Lock()
		err, w := p.reach(), p.c.wants[node]
		p.c.mu.Unlock()
		if err != nil {
			if failures++; failures == 10 {
				tell(fleet.Want{}, err)
				last = ^uint64(0)
			}
			continue
		}
		if failures = 0; w.Index != last {
			last = w.Index
			tell(w, nil)
		}
	}
	return ctx.Err()
}

func (p *process) FollowFreezes(ctx context.Context, tell func([]planner.Freeze, error)) error {
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		p.c.mu.Lock()
		err := p.reach()
		p.c.mu.Unlock()
		if err == nil {
			tell(nil, nil)
			<-ctx.Done()
		}
	}
	return ctx.Err()
}

func (p *process) SetHave(_ context.Context, h fleet.Have) error {
	time.Sleep(20 * time.Millisecond)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if err := p.reach(); err != nil {
		return err
	}
	h.Services = slices.Clone(h.Services)
	p.c.haves[h.Node] = h
	return nil
}

// HoldLease does what the adapter does, with its times.
func (p *process) HoldLease(ctx context.Context, node string, tell func(bool, fleet.Want, error)) error {
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		began := time.Now()
		if !p.take(node) {
			continue
		}
		time.Sleep(time.Duration(p.c.roll(100)) * time.Millisecond)
		p.c.mu.Lock()
		err, w := p.reach(), p.c.wants[node]
		p.c.mu.Unlock()
		if err != nil {
			continue // it ends by itself
		}
		tell(true, w, nil)
		for last := began; ; {
			time.Sleep(min(3*time.Second, time.Until(last.Add(fleet.LeaseFence))))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			began := time.Now()
			ours, err := p.renew(node)
			if err == nil && ours {
				last = began
				continue
			}
			if err == nil || time.Since(last) >= fleet.LeaseFence {
				tell(false, fleet.Want{}, nil)
				break
			}
		}
	}
	return ctx.Err()
}

func (p *process) take(node string) bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	l := p.c.leases[node]
	if p.reach() != nil || l != nil && l.by != nil && !l.by.dead {
		return false
	}
	if l == nil {
		l = &lease{}
		p.c.leases[node] = l
	}
	l.by, l.heard, l.count = p, time.Now(), l.count+1
	l.ttl = fleet.LeaseTTL + time.Duration(p.c.dice.Int64N(int64(fleet.LeaseTTL)))
	return true
}

func (p *process) renew(node string) (ours bool, err error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if err := p.reach(); err != nil {
		return false, err
	}
	l := p.c.leases[node]
	if l.by == p {
		l.heard = time.Now()
	}
	return l.by == p, nil
}

func (p *process) Look(context.Context, bool) (wish.Sight, error) {
	at := time.Now()
	time.Sleep(time.Duration(p.c.roll(300)) * time.Millisecond)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	out := wish.Sight{At: at, Services: map[string]wish.Service{}}
	s := wish.Service{}
	for k := range p.m.runs {
		s.Containers = append(s.Containers, wish.Container{Name: fmt.Sprint(k), ID: fmt.Sprint(k), State: fleet.Running, Workers: 1, Entry: "e", Weight: 1, Health: fleet.Passing})
	}
	out.Services[single] = s
	return out, nil
}

// Do takes its time, and when it is ended may leave what a walk that is taken back leaves.
func (p *process) Do(ctx context.Context, _ string, s wish.Step, _ bool) error {
	time.Sleep(time.Duration(p.c.roll(3000)) * time.Millisecond)
	for {
		p.c.mu.Lock()
		switch {
		case p.dead:
			p.c.mu.Unlock()
			return errors.New("killed")
		case ctx.Err() != nil && (s.Action != wish.Deploy || p.c.dice.IntN(2) == 0):
			p.c.mu.Unlock()
			return context.Cause(ctx)
		case s.Action == wish.Leave:
			p.m.runs = 0
		case p.m.runs < s.To:
			p.m.runs++
		case p.m.runs > s.To:
			p.m.runs--
		}
		done := s.Action == wish.Leave || p.m.runs == s.To
		p.c.mu.Unlock()
		if done || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(time.Duration(p.c.roll(2000)) * time.Millisecond)
	}
}

func (p *process) Keep(context.Context, wish.Care) error { return nil }

// Yield takes as long as a program may that does not end by itself.
func (p *process) Yield(context.Context, string) (int, error) {
	p.c.mu.Lock()
	n := p.m.runs
	p.c.mu.Unlock()
	if n == 0 {
		return 0, nil
	}
	time.Sleep(time.Duration(p.c.roll(int(fleet.YieldLimit/time.Millisecond))) * time.Millisecond)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if !p.dead {
		p.m.runs = 0
	}
	return n, nil
}

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

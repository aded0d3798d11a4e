package hand_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/hand"
	"svckit/lib/planner"
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

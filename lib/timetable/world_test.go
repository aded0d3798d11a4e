package timetable

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

var errAway = fault.New(fault.Unreachable, "consul is away")

// world is Consul and the engines of some nodes, with everything that can go wrong
// between them. Time is that of the test.
type world struct {
	t    *testing.T
	mu   sync.Mutex
	dice *rand.Rand
	// lossy: a write may be done without an answer.
	lossy bool

	service Service
	state   cron.State
	index   uint64
	lock    *fakeLock
	runs    map[string]cron.Run // the record
	told    []cron.Run
	nodes   map[string]*fakeNode
	starts  map[int64][]string // tick → where its program was started
	settled map[int64]time.Time
	overlap bool // two programs went on at once
	faults  []time.Time
	count   int
}

// fakeNode is a machine. Its process is another one after each restart.
type fakeNode struct {
	name       string
	cut        bool
	skew       time.Duration
	containers map[string]*fakeContainer
	proc       *proc
	broken     error // why no container can be made here
}

// proc is one process of scaled on a node.
type proc struct {
	w    *world
	n    *fakeNode
	dead bool
	stop context.CancelFunc
	done chan struct{}
}

type fakeContainer struct {
	id, run string
	tick    time.Time
	state   fleet.State
	began   time.Time
	length  time.Duration
	code    int
	ended   chan struct{}
}

type fakeLock struct {
	p     *proc
	quiet time.Time     // since when its holder is not heard
	ttl   time.Duration // drawn: 10 s to 21 s
	lost  chan struct{}
	once  sync.Once
	gone  bool
}

func newWorld(t *testing.T, seed uint64, s Service) *world {
	w := &world{
		t: t, dice: rand.New(rand.NewPCG(seed, 1)), service: s, nodes: map[string]*fakeNode{}, runs: map[string]cron.Run{},
		starts: map[int64][]string{}, settled: map[int64]time.Time{},
	}
	w.state.Name = s.Name
	for _, name := range []string{"n1", "n2", "n3"} {
		w.nodes[name] = &fakeNode{name: name, containers: map[string]*fakeContainer{}}
	}
	return w
}

// up starts the process of a node.
func (w *world) up(ctx context.Context, n *fakeNode) {
	ctx, cancel := context.WithCancel(ctx)
	p := &proc{w: w, n: n, stop: cancel, done: make(chan struct{})}
	w.mu.Lock()
	n.proc = p
	w.mu.Unlock()
	table := New(Config{
		Site: Site{
			Node: n.name, States: p, Locks: p, Containers: p, Views: p, Log: hclog.NewNullLogger(),
			Now: func() time.Time {
				w.mu.Lock()
				defer w.mu.Unlock()
				return time.Now().Add(n.skew)
			},
			Tell: func(_ Service, r cron.Run) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if !p.dead {
					w.told = append(w.told, r)
				}
			},
		},
		Services: func(context.Context) ([]Service, error) {
			if err := p.reach(); err != nil {
				return nil, err
			}
			return []Service{w.service}, nil
		},
	})
	go func() { defer close(p.done); _ = table.Run(ctx) }()
}

// kill ends the process of a node as SIGKILL does; with power the machine, too.
func (w *world) kill(n *fakeNode, power bool) {
	w.mu.Lock()
	p := n.proc
	p.dead = true
	w.faults = append(w.faults, time.Now())
	if power {
		for _, c := range n.containers {
			c.finish(fleet.Exited, 255)
		}
	}
	w.mu.Unlock()
	p.stop()
	<-p.done
}

// keep lets locks of holders that are not heard end. It is called twice a second.
func (w *world) keep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lock
	if l == nil {
		return
	}
	if !l.p.dead && !l.p.n.cut && !l.gone { // one that was lost is not renewed any more
		l.quiet = time.Time{}
		return
	}
	if l.quiet.IsZero() {
		l.quiet, l.ttl = time.Now(), 10*time.Second+time.Duration(w.dice.Int64N(int64(11*time.Second)))
	}
	if time.Since(l.quiet) >= 8*time.Second {
		l.gone = true
		l.once.Do(func() { close(l.lost) })
	}
	if time.Since(l.quiet) >= l.ttl {
		w.lock = nil
	}
}

// reach is the error of a call of Consul that does not get there.
func (p *proc) reach() error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.reachable()
}

func (p *proc) reachable() error {
	if p.dead || p.n.cut {
		return errAway
	}
	return nil
}

// written is the answer to a write that was done.
func (p *proc) written() error {
	if p.w.lossy && p.w.dice.IntN(20) == 0 {
		return errAway
	}
	return nil
}

func (p *proc) CronState(context.Context, string) (cron.State, bool, error) {
	time.Sleep(20 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.reachable(); err != nil {
		return cron.State{}, false, err
	}
	return p.w.state, p.w.lock != nil, nil
}

func (p *proc) write(s cron.State) error {
	if s.Index != p.w.state.Index {
		return fleet.ErrConflict
	}
	p.w.index++
	s.Index = p.w.index
	p.w.state = s
	for _, t := range s.Ticks {
		if _, ok := p.w.settled[t]; !ok {
			p.w.settled[t] = time.Now()
		}
	}
	return nil
}

func (p *proc) SetCron(_ context.Context, s cron.State, l Lock) (cron.State, error) {
	time.Sleep(20 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.reachable(); err != nil {
		return s, err
	}
	if l != nil && p.w.lock != l.(*fakeLock) {
		return s, fleet.ErrConflict
	}
	if err := p.write(s); err != nil {
		return s, err
	}
	return p.w.state, p.written()
}

func (p *proc) RecordRun(_ context.Context, _ string, r cron.Run) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.reachable(); err != nil {
		return err
	}
	p.w.runs[r.ID] = r
	return p.written()
}

func (p *proc) ClaimCron(_ context.Context, s cron.State) (Lock, cron.State, error) {
	time.Sleep(20 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.reachable(); err != nil {
		return nil, s, err
	}
	if p.w.lock != nil {
		return nil, s, fault.New(fault.Conflict, "held")
	}
	if err := p.write(s); err != nil {
		return nil, s, fault.New(fault.Conflict, "%w", err)
	}
	l := &fakeLock{p: p, lost: make(chan struct{})}
	p.w.lock = l
	if err := p.written(); err != nil { // nobody knows that it is held
		p.w.lock = nil
		return nil, s, err
	}
	return l, p.w.state, nil
}

func (p *proc) LockCron(context.Context, string) (Lock, error) {
	time.Sleep(20 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.reachable(); err != nil {
		return nil, err
	}
	if l := p.w.lock; l != nil && l.p.dead && l.p.n == p.n { // a process of this machine that died
		p.w.lock = nil
	}
	if p.w.lock != nil {
		return nil, fault.New(fault.Conflict, "held")
	}
	l := &fakeLock{p: p, lost: make(chan struct{})}
	p.w.lock = l
	return l, nil
}

func (l *fakeLock) Lost() <-chan struct{} { return l.lost }

func (l *fakeLock) Release(context.Context) error {
	l.p.w.mu.Lock()
	defer l.p.w.mu.Unlock()
	if err := l.p.reachable(); err != nil {
		return err
	}
	if l.p.w.lock == l {
		l.p.w.lock = nil
	}
	return nil
}

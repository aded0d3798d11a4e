// Package hand brings a node to what the planner wants of it, and keeps it there:
// it follows the node's wish and the freezes, lets package wish plan, and has the
// steps done, each service by itself. The last wish stays in force without Consul,
// without the planner and over restarts.
package hand

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/wish"
)

// Source is where wishes come from and reports go. The two that follow return
// when ctx ends, or with an error that asking again at once does not change.
type Source interface {
	FollowWant(ctx context.Context, node string, tell func(fleet.Want, error)) error
	FollowFreezes(ctx context.Context, tell func([]planner.Freeze, error)) error
	SetHave(ctx context.Context, h fleet.Have) error
	// HoldLease holds the node's lease until ctx ends, and tells whether it has it: with
	// the wish as it was read since then.
	HoldLease(ctx context.Context, node string, tell func(held bool, w fleet.Want, err error)) error
}

// Node is what is here, and how it is changed. All of it may be used side by side.
type Node interface {
	// Look sees the containers and registrations of this node. away: the agent
	// may not answer, and then what it knows is left out.
	Look(ctx context.Context, away bool) (wish.Sight, error)
	// Do carries out one step of a service under its lock of this node; a
	// fault.Conflict says that somebody else holds it. away: Consul is not asked.
	Do(ctx context.Context, service string, s wish.Step, away bool) error
	// Keep does one chore.
	Keep(ctx context.Context, c wish.Care) error
	// Yield stops the containers of a service that run here, within fleet.YieldLimit
	// and without asking anybody, and says how many.
	Yield(ctx context.Context, service string) (stopped int, err error)
}

// Config is everything that a hand needs.
type Config struct {
	Name   string // of the node, as in the keys of Consul
	Source Source
	Node   Node
	// Sample is the newest sample of this node; nil, or false: there is none. The
	// fast lane lives on it.
	Sample func() (fleet.Sample, bool)
	State  string // folder that outlives restarts
	Log    hclog.Logger
}

// Hand is the hand of one node.
type Hand struct {
	cfg   Config
	wants chan wanted
	holds chan frozen
	looks chan looked
	done  chan worked
	wake  chan bool       // wakes the looker; the value: Consul is away
	have  chan fleet.Have // the newest, for the reporter
	tidy  chan []wish.Care
	lease chan leased

	mu       sync.Mutex // of what others may ask
	inForce  fleet.Want
	settling map[string]string
	yields   []string // services that may not run here now
	beat     time.Time
}

type wanted struct {
	want fleet.Want
	err  error
}

type frozen struct {
	list []planner.Freeze
	err  error
}

type looked struct {
	sight wish.Sight
	err   error
}

// New makes a hand; Run sets it to work.
func New(cfg Config) *Hand {
	return &Hand{
		cfg: cfg, wants: make(chan wanted), holds: make(chan frozen), looks: make(chan looked), done: make(chan worked),
		wake: make(chan bool, 1), have: make(chan fleet.Have, 1), tidy: make(chan []wish.Care, 1), lease: make(chan leased), settling: map[string]string{}, beat: time.Now(),
	}
}

// Applied is the epoch and generation of the wish in force; 0 before the first.
func (h *Hand) Applied() (epoch, gen uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inForce.Epoch, h.inForce.Gen
}

// Settling says, by app/service, why workers are in motion beside scaling.
func (h *Hand) Settling(service string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settling[service]
}

// Beat is when the hand last went round; more than a few seconds ago, it hangs.
func (h *Hand) Beat() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.beat
}

// How often things happen.
const (
	turn       = time.Second            // of the loop, and of the fast lane
	lookEvery  = 5 * time.Second        // the node is looked at, with nothing to do
	lookSoon   = time.Second            // while something is on its way
	lookPause  = 200 * time.Millisecond // between two looks
	lookLimit  = 30 * time.Second
	haveEvery  = time.Minute // the report is written again, changed or not
	havePause  = time.Second // between two reports
	haveLimit  = 10 * time.Second
	againAfter = 10 * time.Second // after an answer of Consul that asking again does not change
)

// Run works until ctx ends and what is being done then was ended or taken back.
func (h *Hand) Run(ctx context.Context) error {
	b := newBook(h)
	b.load()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var beside sync.WaitGroup
	beside.Go(func() { h.followWant(ctx) })
	beside.Go(func() { h.followFreezes(ctx) })
	beside.Go(func() { h.lookOn(ctx) })
	beside.Go(func() { h.report(ctx) })
	beside.Go(func() { h.keep(ctx) })
	beside.Go(func() { h.yieldOn(ctx) })
	b.holdLease = func() { beside.Go(func() { h.holdLease(ctx) }) }
	b.loop(ctx)
	stop()
	beside.Wait()
	return ctx.Err()
}

func (h *Hand) followWant(ctx context.Context) {
	for ctx.Err() == nil {
		tell := func(w fleet.Want, err error) { send(ctx, h.wants, wanted{w, err}) }
		if err := h.cfg.Source.FollowWant(ctx, h.cfg.Name, tell); err != nil && ctx.Err() == nil {
			tell(fleet.Want{}, err)
		}
		sleep(ctx, againAfter)
	}
}

func (h *Hand) followFreezes(ctx context.Context) {
	for ctx.Err() == nil {
		tell := func(list []planner.Freeze, err error) { send(ctx, h.holds, frozen{list, err}) }
		if err := h.cfg.Source.FollowFreezes(ctx, tell); err != nil && ctx.Err() == nil {
			tell(nil, err)
		}
		sleep(ctx, againAfter)
	}
}

// lookOn looks whenever it is woken.
func (h *Hand) lookOn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case away := <-h.wake:
			limited, cancel := context.WithTimeout(ctx, lookLimit)
			sight, err := h.cfg.Node.Look(limited, away)
			cancel()
			send(ctx, h.looks, looked{sight, err})
			sleep(ctx, lookPause)
		}
	}
}

// report writes the newest report, and tries again where that fails: said once,
// until one was written again.
func (h *Hand) report(ctx context.Context) {
	failing := false
	for {
		var now fleet.Have
		select {
		case <-ctx.Done():
			return
		case now = <-h.have:
		}
		for {
			limited, cancel := context.WithTimeout(ctx, haveLimit)
			err := h.cfg.Source.SetHave(limited, now)
			cancel()
			if sleep(ctx, havePause); ctx.Err() != nil || err == nil {
				failing = false
				break
			}
			if !failing {
				h.cfg.Log.Warn("report not written: tried again", "error", err)
			}
			failing = true
			select {
			case now = <-h.have:
			default:
			}
		}
	}
}

// keep does chores, in their order. One that fails is due again at the next look.
func (h *Hand) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case list := <-h.tidy:
			for _, c := range list {
				limited, cancel := context.WithTimeout(ctx, haveLimit)
				err := h.cfg.Node.Keep(limited, c)
				cancel()
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					h.cfg.Log.Warn("chore not done", "chore", c.Do, "id", c.ID, "service", c.Name, "error", err)
				case c.Do != wish.Renew:
					h.cfg.Log.Info("chore done", "chore", c.Do, "id", c.ID, "service", c.Name, "reason", c.Reason)
				}
			}
		}
	}
}

func send[T any](ctx context.Context, to chan<- T, v T) {
	select {
	case <-ctx.Done():
	case to <- v:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Package timetable starts the cron services of a fleet from one of its nodes: it
// follows which there are, claims ticks whose time has come, and sees their runs to
// the end. Every node does the same; the state of a service in Consul and its lock
// decide between them. What is to be done is decided by package cron.
package timetable

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Config is all that a timetable needs.
type Config struct {
	Site
	// Services lists the cron services that this node may run.
	Services func(ctx context.Context) ([]Service, error)
	// Frozen says why a service begins nothing now; "": it may. nil: nothing is frozen.
	Frozen func(s Service) string
}

// How often things happen.
const (
	readEach  = 30 * time.Second // which services there are
	turn      = time.Second      // the longest pause of the loop
	adoptEach = 15 * time.Second // what a killed process left is looked for
	again     = time.Second      // after somebody else was faster
	awayPause = 5 * time.Second  // after Consul did not answer
	callLimit = 20 * time.Second
	looking   = 8 // services at a time
	// A clock that jumped by more than jump is not trusted for a while: it may be
	// put right again, and the other nodes are there.
	jump     = 5 * time.Second
	unsteady = time.Minute
)

// Table is the timetable of one node.
type Table struct {
	cfg Config

	mu      sync.Mutex
	entries map[string]*entry
	mine    map[string]bool // ids of runs that this process works on
	unsure  time.Time       // until then the clock is not trusted
	slots   chan struct{}
	works   sync.WaitGroup
}

// entry is one service in the table.
type entry struct {
	service Service
	again   time.Time // by the node's clock: when to look
	busy    bool      // it is being looked at
	about   string    // what the lock was seen free for: id and stage of a run
	free    time.Time // since when
}

// New makes a timetable; Run sets it to work.
func New(cfg Config) *Table {
	return &Table{cfg: cfg, entries: map[string]*entry{}, mine: map[string]bool{}, slots: make(chan struct{}, looking)}
}

// Run works until ctx ends. Runs that go on then are left to go on, except for
// exclusive ones: the next process takes them up.
func (t *Table) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() { every(ctx, readEach, t.read) })
	beside.Go(func() { every(ctx, adoptEach, t.adopt) })
	was, then := t.cfg.Now(), time.Now()
	for ctx.Err() == nil {
		now := t.cfg.Now()
		t.steady(now.Sub(was) - time.Since(then))
		was, then = now, time.Now()
		pause(ctx, t.due(ctx, now))
	}
	beside.Wait()
	t.works.Wait()
	return ctx.Err()
}

func every(ctx context.Context, d time.Duration, f func(context.Context)) {
	for ctx.Err() == nil {
		f(ctx)
		pause(ctx, d)
	}
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	p := time.NewTimer(d)
	defer p.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.C:
		return true
	}
}

// steady notes a jump of the clock: everything is looked at anew.
func (t *Table) steady(by time.Duration) {
	if by.Abs() < jump {
		return
	}
	t.cfg.Log.Warn("this node's clock jumped: for a minute it begins no cron service", "by", by.Round(time.Millisecond))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure = time.Now().Add(unsteady)
	for _, e := range t.entries {
		e.again = time.Time{}
	}
}

// due begins to look at the services whose time has come, and says when to come back.
func (t *Table) due(ctx context.Context, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := turn
	for _, e := range t.entries {
		if e.busy {
			continue
		}
		if left := e.again.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		e.busy = true
		s := e.service
		t.works.Go(func() {
			t.slots <- struct{}{}
			at := t.look(ctx, s, e)
			<-t.slots
			t.mu.Lock()
			defer t.mu.Unlock()
			e.busy, e.again = false, at
		})
	}
	return max(next, 10*time.Millisecond)
}

// read learns which services there are.
func (t *Table) read(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	list, err := t.cfg.Services(limited)
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Warn("cron services not read: those from before stay", "error", err)
		}
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	there := map[string]bool{}
	for _, s := range list {
		there[s.Name] = true
		e := t.entries[s.Name]
		if e == nil {
			t.cfg.Log.Info("cron service", "service", s.Name, "schedule", s.Fields, "release", s.Release)
			e = &entry{}
			t.entries[s.Name] = e
		}
		if e.service.Fields != s.Fields || e.service.Release != s.Release {
			e.again = time.Time{}
		}
		e.service = s
	}
	for name := range t.entries {
		if !there[name] {
			delete(t.entries, name)
		}
	}
}

// look decides about one service, does it, and says when to look again.
func (t *Table) look(ctx context.Context, s Service, e *entry) time.Time {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	state, held, err := t.cfg.States.CronState(limited, s.Name)
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Warn("state of a cron service not read", "service", s.Name, "error", err)
		}
		return t.cfg.Now().Add(awayPause)
	}
	now := t.cfg.Now()
	d := cron.Decide(cron.Input{
		Now: now, Schedule: s.Schedule, Fields: s.Fields, Rules: s.Rules, Promoted: s.Promoted, State: state, Held: held,
		Free: t.free(e, state, held), Node: t.cfg.Node, Frozen: t.frozen(s),
	})
	if d.Do == cron.Wait {
		return d.Again.Add(t.delay(s, d, now))
	}
	err = t.do(ctx, limited, s, d)
	switch {
	case err == nil:
		t.cfg.Log.Info("cron service", "service", s.Name, "do", d.Do, "tick", d.Tick, "reason", d.Reason)
		return t.cfg.Now()
	case errors.Is(err, fleet.ErrConflict) || fault.KindOf(err) == fault.Conflict:
		return t.cfg.Now().Add(again)
	}
	if ctx.Err() == nil {
		t.cfg.Log.Warn("cron service: tried again", "service", s.Name, "do", d.Do, "error", err)
	}
	return t.cfg.Now().Add(awayPause)
}

// delay spreads the nodes over the moments after a tick.
func (t *Table) delay(s Service, d cron.Decision, now time.Time) time.Duration {
	if tick := s.Schedule.Next(now); !tick.IsZero() && tick.Equal(d.Again) {
		return cron.Delay(s.Name, t.cfg.Node, tick)
	}
	return 0
}

func (t *Table) frozen(s Service) string {
	t.mu.Lock()
	unsure := time.Now().Before(t.unsure)
	t.mu.Unlock()
	if unsure {
		return "this node's clock jumped"
	}
	if t.cfg.Frozen == nil {
		return ""
	}
	return t.cfg.Frozen(s)
}

// free is for how long the lock was seen free while the run stayed the same.
func (t *Table) free(e *entry, s cron.State, held bool) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if held || s.Run == nil {
		e.about = ""
		return 0
	}
	if about := s.Run.ID + string(s.Run.Stage); e.about != about {
		e.about, e.free = about, time.Now()
	}
	return time.Since(e.free)
}

// do carries out what was decided. ctx is of the work that comes of it, limited of the calls.
func (t *Table) do(ctx, limited context.Context, s Service, d cron.Decision) error {
	now := t.cfg.Now().UTC()
	switch d.Do {
	case cron.Start:
		return t.claim(ctx, limited, s, d.State, cron.Run{Tick: d.Tick, Missed: d.Missed, Tries: 1})
	case cron.TakeOver:
		r := *d.State.Run
		return t.claim(ctx, limited, s, d.State, cron.Run{Tick: r.Tick, Missed: r.Missed, Tries: r.Tries + 1, Error: r.Error})
	case cron.Skip:
		return t.set(limited, d.State.Pass(d.Tick))
	case cron.Ask:
		return t.set(limited, d.State.Ask(d.Reason))
	case cron.Miss:
		r := cron.Run{ID: NewID(now), Tick: d.Tick, Node: t.cfg.Node, Missed: d.Missed, Claimed: now, Ended: now, Result: cron.Missed, Error: d.Reason}
		return t.closed(limited, s, d.State.Miss(r), r)
	case cron.Lose, cron.GiveUp:
		r := *d.State.Run
		r.Ended, r.Result = now, cron.Lost
		if d.Do == cron.GiveUp {
			r.Result = cron.Broken
		}
		if r.Error = d.Reason; d.Do == cron.GiveUp && d.State.Run.Error != "" {
			r.Error += ": " + d.State.Run.Error
		}
		return t.closed(limited, s, d.State.Close(r), r)
	case cron.Wait:
	}
	return nil
}

func (t *Table) set(ctx context.Context, s cron.State) error {
	_, err := t.cfg.States.SetCron(ctx, s, nil)
	return err
}

// closed writes a state in which a run ended that this process did not work on.
func (t *Table) closed(ctx context.Context, s Service, state cron.State, r cron.Run) error {
	if err := t.set(ctx, state); err != nil {
		return err
	}
	if err := t.cfg.States.RecordRun(ctx, s.Name, r); err != nil {
		t.cfg.Log.Warn("run not recorded", "service", s.Name, "run", r.ID, "error", err)
	}
	t.cfg.Tell(s, r)
	return nil
}

// claim takes a run, and has it worked on.
func (t *Table) claim(ctx, limited context.Context, s Service, state cron.State, r cron.Run) error {
	now := t.cfg.Now().UTC()
	r.ID, r.Node, r.Claimed = NewID(now), t.cfg.Node, now
	lock, state, err := t.cfg.Locks.ClaimCron(limited, state.Claim(r))
	if err != nil {
		return err
	}
	w := &work{Site: t.cfg.Site, service: s, state: state, run: r, lock: lock}
	t.own(r.ID, true)
	t.works.Go(func() {
		defer t.own(r.ID, false)
		w.all(ctx)
		t.soon(s.Name)
	})
	return nil
}

// own notes which runs this process works on.
func (t *Table) own(run string, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if yes {
		t.mine[run] = true
	} else {
		delete(t.mine, run)
	}
}

// soon has a service looked at at once.
func (t *Table) soon(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[name]; e != nil {
		e.again = time.Time{}
	}
}

// NewID is the id of a run that is claimed now.
func NewID(now time.Time) string {
	return fmt.Sprintf("%s-%06x", now.UTC().Format("20060102T150405.000Z"), rand.Uint32()&0xffffff)
}

package timetable

import (
	"context"
	"errors"
	"time"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// unknownTimeout is for a run whose service nobody knows any more.
const unknownTimeout = time.Hour

// adopt takes up what another process left on this node: runs that go on, that
// ended, or that were never begun. Who still works on one holds its lock.
func (t *Table) adopt(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	left, err := t.cfg.Views.Left(limited)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Warn("containers of runs not listed", "error", err)
		}
		return
	}
	for _, l := range left {
		t.mu.Lock()
		mine := t.mine[l.Run]
		t.mu.Unlock()
		if mine || ctx.Err() != nil {
			continue
		}
		if err := t.takeUp(ctx, l); err != nil && ctx.Err() == nil && fault.KindOf(err) != fault.Conflict {
			t.cfg.Log.Warn("run that was left here not taken up: tried again", "service", l.Name, "run", l.Run, "error", err)
		}
	}
}

// takeUp takes up one run, if nobody holds the lock of its service. A run that has
// nothing more to say needs no lock: another one may hold it.
func (t *Table) takeUp(ctx context.Context, l Leftover) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	state, held, err := t.cfg.States.CronState(limited, l.Name)
	if err != nil {
		return err
	}
	w := &work{Site: t.cfg.Site, service: t.serviceOf(l), state: state, id: l.ID, run: known(state, l, t.cfg.Node)}
	ours := state.Run != nil && state.Run.ID == l.Run
	if ours || !held {
		lock, err := t.cfg.Locks.LockCron(limited, l.Name)
		switch {
		case err == nil:
			w.lock = lock
		case ours || fault.KindOf(err) != fault.Conflict:
			return err
		}
		// What was known may be out of date, now that nobody else changes it.
		if w.state, _, err = t.cfg.States.CronState(limited, l.Name); err != nil {
			w.release(ctx)
			return err
		}
		w.run = known(w.state, l, t.cfg.Node)
	}
	t.own(l.Run, true)
	t.works.Go(func() {
		defer t.own(l.Run, false)
		w.goOn(ctx, l)
		t.soon(l.Name)
	})
	return nil
}

// known is a run as the state knows it, or as its container does.
func known(s cron.State, l Leftover, node string) cron.Run {
	for _, r := range []*cron.Run{s.Run, s.Last} {
		if r != nil && r.ID == l.Run {
			return *r
		}
	}
	r := cron.Run{ID: l.Run, Node: node, Release: l.Release, Claimed: l.Began, Began: l.Began}
	if len(l.Run) > 20 {
		if at, err := time.Parse("20060102T150405.000Z", l.Run[:20]); err == nil {
			r.Claimed = at
		}
	}
	return r
}

func (t *Table) serviceOf(l Leftover) Service {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[l.Name]; e != nil {
		return e.service
	}
	s := Service{Name: l.Name, Release: l.Release}
	s.Rules.Timeout = unknownTimeout
	return s
}

// goOn does what is left to do of a run.
func (w *work) goOn(ctx context.Context, l Leftover) {
	switch l.State {
	case fleet.Created:
		w.unbegun(ctx)
	case fleet.Running, fleet.Paused, fleet.Restarting:
		w.Log.Info("run taken up", "service", l.Name, "run", l.Run)
		if w.service.Rules.Exclusive && w.lock == nil {
			w.stop(ctx, cron.Killed, "this node could not show its lock any more, and the service is exclusive", true)
		}
		w.look(ctx)
		w.watch(ctx, w.service.Rules.Timeout-w.Now().Sub(l.Began))
	default:
		w.ended(ctx)
	}
}

// unbegun removes a container that was never started. The run may then be begun by
// anybody, since it cannot have begun here.
func (w *work) unbegun(ctx context.Context) {
	w.remove(ctx)
	if w.lock != nil && w.state.Run != nil && w.state.Run.ID == w.run.ID && w.state.Run.Stage == cron.Running {
		limited, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		if _, err := w.States.SetCron(limited, w.state.Decline("the process that was to start it was killed"), w.lock); err != nil {
			w.Log.Warn("run not handed back", "service", w.service.Name, "run", w.run.ID, "error", err)
		}
	}
	w.release(ctx)
}

// ended records a run whose end nobody saw.
func (w *work) ended(ctx context.Context) {
	e, err := w.Views.Ended(ctx, w.id)
	switch {
	case err != nil && errors.Is(err, fleet.ErrNotFound):
		w.release(ctx)
		return
	case err != nil:
		w.Log.Warn("end of a run not read", "service", w.service.Name, "run", w.run.ID, "error", err)
		w.release(ctx)
		return
	}
	w.run.Error = ""
	w.close(ctx, e)
}

package timetable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// work is one claimed run, from its container to its record.
type work struct {
	Site
	service Service
	state   cron.State // as last written or read
	run     cron.Run
	lock    Lock // nil: it was lost
	id      string
	stopped string // why the container was stopped; "": it was not
	result  cron.Result
	byHand  bool // it ends with who began it
}

const (
	pollEach  = 5 * time.Second // of the state, for a wish that it ends
	retryEach = 2 * time.Second
	endLimit  = 30 * time.Second // for what is taken back after an interrupt
	stopLimit = 2 * time.Minute  // for the end of a run that ends with its process
)

// errLockLost ends what is made ready for a run that somebody else may take over.
var errLockLost = errors.New("the lock was lost")

// all sees a claimed run to its end.
func (w *work) all(ctx context.Context) {
	w.Log.Info("run claimed", "service", w.service.Name, "run", w.run.ID, "tick", w.run.Tick)
	ready, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := w.lock.Lost() // of the lock that it is made ready under; w.lock changes later
	go func() {
		select {
		case <-lost:
			cancel(errLockLost)
		case <-ready.Done():
		}
	}()
	made, err := w.Containers.Make(ready, w.service, w.run.ID)
	if err != nil {
		if cause := context.Cause(ready); cause != nil {
			err = cause
		}
		w.decline(ctx, err)
		return
	}
	w.id = made.ID
	if !w.begin(ctx, made.Release) {
		w.Log.Warn("run not begun: somebody else may do it", "service", w.service.Name, "run", w.run.ID)
		w.remove(ctx)
		w.release(ctx)
		return
	}
	if err := w.Containers.Start(ctx, w.id); err != nil {
		w.run.Error, w.result = "start: "+err.Error(), cron.Broken
		w.close(ctx, End{})
		return
	}
	w.watch(ctx, w.service.Rules.Timeout)
}

// decline leaves a run that could not be made ready to others. What is wrong with
// the release or its config is wrong everywhere.
func (w *work) decline(ctx context.Context, why error) {
	w.Log.Warn("run not made ready", "service", w.service.Name, "run", w.run.ID, "error", why, "detail", fault.DetailOf(why))
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	kind := fault.KindOf(why)
	if ctx.Err() == nil && (w.run.Tick.IsZero() || kind == fault.Invalid || kind == fault.Usage || w.run.Tries >= cron.MaxTries) {
		w.run.Error, w.result = words(why), cron.Broken
		w.close(end, End{})
		return
	}
	if _, err := w.States.SetCron(end, w.state.Decline(words(why)), w.lock); err != nil {
		w.Log.Warn("run not handed back: its lock tells others", "service", w.service.Name, "error", err)
	}
	w.release(ctx)
}

// words are an error with its details, on one line.
func words(err error) string {
	out := err.Error()
	for i, d := range fault.DetailOf(err) {
		if i == 5 {
			return out + "; …"
		}
		out += "; " + d
	}
	return out
}

// begin writes that the program may be started now. Only once that is known for sure
// it is: a write without an answer is asked for until there is one, or the lock is lost.
func (w *work) begin(ctx context.Context, release string) bool {
	w.run.Release = release
	next := w.state.Begin(release, w.Now())
	for ctx.Err() == nil {
		select {
		case <-w.lock.Lost():
			return false
		default:
		}
		limited, cancel := context.WithTimeout(ctx, callLimit)
		state, err := w.States.SetCron(limited, next, w.lock)
		if err == nil {
			cancel()
			w.state, w.run = state, *state.Run
			return true
		}
		cur, _, rerr := w.States.CronState(limited, w.service.Name)
		cancel()
		switch {
		case rerr != nil:
		case cur.Run == nil || cur.Run.ID != w.run.ID:
			return false
		case cur.Run.Stage == cron.Running: // a write before had come through
			w.state, w.run = cur, *cur.Run
			return true
		default:
			next = cur.Begin(release, w.Now())
		}
		pause(ctx, again)
	}
	return false
}

// watch waits for the end of the program, and stops it where that is due.
func (w *work) watch(ctx context.Context, left time.Duration) {
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	type ended struct {
		End
		err error
	}
	ends := make(chan ended, 1)
	go func() {
		e, err := w.Views.Ended(waiting, w.id)
		ends <- ended{e, err}
	}()
	limit := time.NewTimer(max(left, time.Millisecond))
	defer limit.Stop()
	poll := time.NewTicker(pollEach)
	defer poll.Stop()
	leaving := false
	for {
		select {
		case e := <-ends:
			if e.err != nil && w.stopped == "" {
				w.stopped, w.result = "its container is gone: "+e.err.Error(), cron.Killed
			}
			w.close(ctx, e.End)
			return
		case <-limit.C:
			w.stop(ctx, cron.Timeout, "it took longer than "+w.service.Rules.Timeout.String(), false)
		case <-w.lost():
			w.lostLock(ctx)
		case <-poll.C:
			w.look(ctx)
		case <-ctx.Done():
			if leaving || !w.leaves(ctx) {
				return
			}
			leaving = true
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
			defer cancel()
		}
	}
}

// lost is closed when the lock that is held was lost; nil while none is.
func (w *work) lost() <-chan struct{} {
	if w.lock == nil {
		return nil
	}
	return w.lock.Lost()
}

func (w *work) lostLock(ctx context.Context) {
	w.lock = nil
	if w.service.Rules.Exclusive {
		w.stop(ctx, cron.Killed, "this node could not show its lock any more, and the service is exclusive", true)
		return
	}
	w.Log.Warn("lock of a run lost: the run goes on", "service", w.service.Name, "run", w.run.ID)
}

// leaves reports whether the run is stopped, now that this process ends. One by hand
// ends with who began it, as does one that is exclusive; others go on without us.
func (w *work) leaves(ctx context.Context) bool {
	if !w.byHand && !w.service.Rules.Exclusive {
		w.Log.Info("run goes on: the next process takes it up", "service", w.service.Name, "run", w.run.ID)
		return false
	}
	why := "scaled node was stopped, and the service is exclusive"
	if w.byHand {
		why = "interrupted by " + w.run.By
	}
	w.stop(context.WithoutCancel(ctx), cron.Killed, why, !w.byHand)
	return true
}

// stop ends the container in the background; its end is seen by watch.
func (w *work) stop(ctx context.Context, result cron.Result, why string, atOnce bool) {
	if w.stopped == "" {
		w.stopped, w.result = why, result
		w.Log.Warn("run is stopped", "service", w.service.Name, "run", w.run.ID, "reason", why)
	} else if !atOnce {
		return
	}
	id, log := w.id, w.Log
	go func() {
		if err := w.Containers.Stop(ctx, id, atOnce); err != nil && ctx.Err() == nil {
			log.Warn("container of a run not stopped", "id", id, "error", err)
		}
	}()
}

// look sees what the fleet says of this run: whether it is to end, and, without a
// lock, whether it may have it again.
func (w *work) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, pollEach)
	defer cancel()
	if w.lock == nil && w.stopped == "" {
		lock, err := w.Locks.LockCron(limited, w.service.Name)
		if err == nil {
			w.lock = lock
		} else if fault.KindOf(err) != fault.Conflict {
			return
		}
	}
	cur, _, err := w.States.CronState(limited, w.service.Name)
	if err != nil {
		return
	}
	if cur.Run != nil && cur.Run.ID == w.run.ID {
		w.state = cur
		if cur.Run.End != "" && w.stopped == "" {
			w.stop(ctx, cron.Killed, cur.Run.End, false)
		}
		return
	}
	if w.lock != nil {
		if next, ok := cur.Revive(w.run); ok {
			if state, err := w.States.SetCron(limited, next, w.lock); err == nil {
				w.state = state
				w.Log.Info("run that was taken for lost goes on", "service", w.service.Name, "run", w.run.ID)
			}
			return
		}
	}
	if w.stopped == "" {
		w.stop(ctx, cron.Killed, "it was taken for lost, and another run has begun", false)
	}
}

// close records how the run ended, removes its container and frees the lock. While
// Consul is away it goes on trying; what this process leaves, the next one closes.
func (w *work) close(ctx context.Context, e End) {
	r := w.run
	r.Stage, r.Ended, r.Code = "", w.Now().UTC(), e.Code
	switch {
	case w.result != "":
		r.Result = w.result
	case e.Code == 0 && e.Why == "":
		r.Result = cron.Done
	default:
		r.Result = cron.Failed
	}
	r.Error = join(r.Error, w.stopped, e.Why)
	if w.id != "" {
		limited, cancel := context.WithTimeout(ctx, callLimit)
		lines, err := w.Views.Lines(limited, w.id)
		cancel()
		if err != nil && !errors.Is(err, fleet.ErrNotFound) {
			lines = []string{fmt.Sprintf("(output not read: %v)", err)}
		}
		r.Lines = lines
	}
	for wait := retryEach; ; wait = min(2*wait, 8*retryEach) {
		err := w.record(ctx, &r)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		w.Log.Warn("end of a run not recorded yet", "service", w.service.Name, "run", r.ID, "error", err)
		pause(ctx, wait)
	}
	w.run = r
	w.remove(ctx)
	w.release(ctx)
	w.Log.Info("run ended", "service", w.service.Name, "run", r.ID, "result", r.Result, "code", r.Code, "error", r.Error)
	w.Tell(w.service, r)
}

// record writes the end of a run: first for people, then for the fleet, so that a run
// that the fleet does not know any more has its record.
func (w *work) record(ctx context.Context, r *cron.Run) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	cur, _, err := w.States.CronState(limited, w.service.Name)
	if err != nil {
		return err
	}
	if cur.Run != nil && cur.Run.ID == r.ID {
		r.Passed, r.End = cur.Run.Passed, cur.Run.End
	}
	if err := w.States.RecordRun(limited, w.service.Name, *r); err != nil {
		return err
	}
	_, err = w.States.SetCron(limited, cur.Close(*r), nil)
	return err
}

func join(parts ...string) (out string) {
	for _, p := range parts {
		switch {
		case p == "":
		case out == "":
			out = p
		default:
			out += "; " + p
		}
	}
	return out
}

func (w *work) remove(ctx context.Context) {
	if w.id == "" {
		return
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	if err := w.Containers.Remove(end, w.id); err != nil {
		w.Log.Warn("container of a run not removed: tried again later", "id", w.id, "error", err)
	}
}

func (w *work) release(ctx context.Context) {
	if w.lock == nil {
		return
	}
	if err := w.lock.Release(ctx); err != nil {
		w.Log.Warn("lock of a run not released: it ends by itself", "service", w.service.Name, "error", err)
	}
}

package main

import (
	"context"
	"sync"
	"time"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// follower goes with the output of a service from instance to instance.
type follower struct {
	logsJob
	out, err *shared
	ended    chan followed

	mu    sync.Mutex
	alone bool // there was only ever one instance: its lines need no name

	seen   map[string]*reading // by container id
	asked  bool                // the first look is done
	failed bool                // the engine did not answer last time
}

// reading is how far one instance was read.
type reading struct {
	active  bool
	started time.Time // of the run that was read
	until   time.Time // when its output ended
}

// followed is the end of one instance's output.
type followed struct {
	id  string
	at  time.Time
	err error
}

// follow prints output until ctx ends. Instances that come are followed from
// their begin, those that start again from where they were left.
func (j logsJob) follow(ctx context.Context) error {
	f := &follower{
		logsJob: j, out: newShared(j.stdout), err: newShared(j.stderr), alone: true,
		ended: make(chan followed), seen: map[string]*reading{},
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for {
		found, err := j.instances(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f.judge(found, err); err != nil {
			return err
		}
		for _, i := range found {
			if o, ok := f.start(i); ok {
				running.Go(func() { f.read(ctx, i, o) })
			}
		}
		f.asked = f.asked || err == nil
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
}

// judge takes the answer of one look. An engine that was never reached is an
// error; one that is away meanwhile is waited for.
func (f *follower) judge(found []fleet.Instance, err error) error {
	switch {
	case err != nil && (!f.asked || fault.KindOf(err) != fault.Unreachable):
		return err
	case err != nil && !f.failed:
		f.say("%v; waiting for it", err)
	case err == nil && f.failed:
		f.say("docker is back")
	case err == nil && !f.asked && len(found) == 0:
		f.say("no instance of %s on this node yet; waiting for one", f.target)
	}
	f.failed = err != nil
	f.mu.Lock()
	f.alone = f.alone && len(found) <= 1 && len(f.seen) <= 1
	f.mu.Unlock()
	return nil
}

// start decides whether an instance is to be read now, and from where.
func (f *follower) start(i fleet.Instance) (docker.LogOptions, bool) {
	before := f.seen[i.ID]
	o := docker.LogOptions{Follow: true, Timestamps: f.timestamps}
	switch {
	case before != nil && (before.active || i.State != fleet.Running):
		return o, false // is read, or has nothing new
	case before != nil && i.StartedAt.After(before.started):
		o.Since = i.StartedAt // it began anew, maybe before the end of its output was seen here
	case before != nil:
		o.Since = before.until
	case !f.asked:
		o.Tail, o.Since = f.options.Tail, f.options.Since
	}
	f.mu.Lock()
	f.alone = f.alone && (before != nil || len(f.seen) == 0)
	f.mu.Unlock()
	f.seen[i.ID] = &reading{active: true, started: i.StartedAt}
	return o, true
}

// read copies one instance's output until it stops.
func (f *follower) read(ctx context.Context, i fleet.Instance, o docker.LogOptions) {
	lead := func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.alone {
			return ""
		}
		return name(i) + " | "
	}
	out, errs := f.out.led(lead), f.err.led(lead)
	err := f.engine.Logs(ctx, i.ID, o, out, errs)
	_ = out.Flush()
	_ = errs.Flush()
	select {
	case f.ended <- followed{id: i.ID, at: time.Now(), err: err}:
	case <-ctx.Done():
	}
}

// wait takes ends of instances until it is time to look again.
func (f *follower) wait(ctx context.Context) error {
	next := time.NewTimer(f.every)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-f.ended:
			r := f.seen[e.id]
			r.active, r.until = false, e.at
			kind := fault.KindOf(e.err)
			if e.err != nil && kind != fault.NotFound && kind != fault.Unreachable {
				return e.err // also that nobody reads any more
			}
		case <-next.C:
			return nil
		}
	}
}

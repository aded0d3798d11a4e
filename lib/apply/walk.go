package apply

import (
	"context"
	"path/filepath"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// Job is one service on one node, with everything that its plan needs to be walked.
type Job struct {
	Site   Site
	Wanted rollout.Wanted
	Values spec.Values
	Staged string        // generation of new code that lies ready and is not current yet; "": none
	Notify []spec.Notify // whom the app wants to be told of failures
}

// Walker walks the steps of one plan.
type Walker struct {
	World World
	Job   Job
	// Tell is called before each step; n counts from 1.
	Tell func(n, total int, s rollout.Step)
	// After is called after each step that succeeded; nil outside tests.
	After func(n int, s rollout.Step)
	// Progress reports long steps; nil is allowed.
	Progress func(s rollout.Step) (p fleet.Progress, done func())

	// States names, by container, what a reload left it in; it is filled by Walk.
	States map[string]rollout.After

	ids       map[string]string             // container name → id
	regs      map[string]fleet.Registration // container name → its registration
	withdrawn map[string]fleet.Registration // container name → the registration this walk took away
	ttl       time.Duration                 // the longest that DNS let clients keep an answer
	patience  time.Duration                 // the least time that the gate gives; see takeBack
	reloading reloading
}

// Walk does every step in order and stops at the first that fails, or between
// two when ctx ends. What it then leaves half done is taken back: a new container
// that did not come up well goes, and what was stopped for it is started again.
func (w *Walker) Walk(ctx context.Context, p rollout.Plan) error {
	w.begin(p)
	for n, s := range p.Steps {
		err := context.Cause(ctx)
		if err == nil {
			if w.Tell != nil {
				w.Tell(n+1, len(p.Steps), s)
			}
			err = w.step(ctx, s)
		}
		if err != nil {
			return w.giveUp(ctx, p, n, err)
		}
		if w.After != nil {
			w.After(n+1, s)
		}
	}
	return nil
}

func (w *Walker) begin(p rollout.Plan) {
	w.ids = map[string]string{}
	w.regs = map[string]fleet.Registration{}
	w.withdrawn = map[string]fleet.Registration{}
	w.reloading = newReloading()
	w.States = map[string]rollout.After{}
	for _, s := range p.Steps {
		if s.ID != "" {
			w.ids[s.Target] = s.ID
		}
	}
}

func (w *Walker) step(ctx context.Context, s rollout.Step) error {
	switch s.Action {
	case rollout.ActPull:
		return w.pull(ctx, s)
	case rollout.ActUnregister:
		return w.unregister(ctx, s.Target)
	case rollout.ActCreate:
		return w.create(ctx, s)
	case rollout.ActStart:
		return w.start(ctx, s)
	case rollout.ActGate:
		return w.gate(ctx, s)
	case rollout.ActRegister:
		return w.register(ctx, s)
	case rollout.ActAwait:
		return w.await(ctx, s)
	case rollout.ActWithdraw:
		return w.withdraw(ctx, s)
	case rollout.ActDrain:
		return w.drain(ctx, s)
	case rollout.ActStop:
		return w.World.Containers.Stop(ctx, w.ids[s.Target])
	case rollout.ActRemove:
		return w.remove(ctx, s)
	case rollout.ActDeliver:
		return w.deliver(ctx, s)
	case rollout.ActSwitch, rollout.ActSpare, rollout.ActAside, rollout.ActPreflight, rollout.ActReload, rollout.ActProve, rollout.ActReturn:
		return w.reload(ctx, s)
	}
	return fault.New(fault.Failed, "no such action")
}

// unregister takes away what a container left behind. It may be another app's,
// which the token may see and not change: that is no reason to stop here.
func (w *Walker) unregister(ctx context.Context, id string) error {
	err := w.World.Registrar.Deregister(ctx, id)
	if err != nil && ctx.Err() == nil && fault.KindOf(err) == fault.Failed {
		w.World.Log.Warn("registration without a container stays", "id", id, "error", err)
		return nil
	}
	return err
}

func (w *Walker) pull(ctx context.Context, s rollout.Step) error {
	p, done := w.progress(s)
	defer done()
	return w.World.Images.Pull(ctx, s.Target, p)
}

func (w *Walker) progress(s rollout.Step) (fleet.Progress, func()) {
	if w.Progress == nil {
		return nil, func() {}
	}
	return w.Progress(s)
}

// dir is the host folder of a container's files.
func (w *Walker) dir(name string) string {
	if !w.Job.Wanted.Secrets && len(w.Job.Wanted.Files) == 0 {
		return ""
	}
	return filepath.Join(w.Job.Site.RunDir, name)
}

func (w *Walker) remove(ctx context.Context, s rollout.Step) error {
	id := w.ids[s.Target]
	i, err := w.World.Views.Instance(ctx, id)
	if err != nil && !isGone(err) {
		return err
	}
	if err := w.World.Containers.Remove(ctx, id); err != nil {
		return err
	}
	if err := w.World.Loads.Forget(id); err != nil {
		w.World.Log.Warn("record of a container that is gone stays", "container", s.Target, "error", err)
	}
	if i.Dir != "" {
		if err := w.World.Files.Remove(i.Dir); err != nil {
			return err
		}
	}
	if i.Exclusive > 0 {
		return w.remapGuarded(ctx)
	}
	return nil
}

func (w *Walker) deliver(ctx context.Context, s rollout.Step) error {
	i, err := w.World.Views.Instance(ctx, w.ids[s.Target])
	if err != nil {
		return err
	}
	if i.Dir == "" {
		return nil
	}
	if i.State != fleet.Running {
		if _, err := w.World.Files.Prepare(i.Dir, w.Job.Values); err != nil {
			return err
		}
		return w.put(ctx, i.ID, i.Dir)
	}
	putBack, err := w.World.Keeper.Keep(i.Dir)
	if err != nil {
		return err
	}
	w.reloading.putBack[s.Target] = putBack
	return w.put(ctx, i.ID, i.Dir)
}

// put writes the files of a container, readable for the user its image runs as.
func (w *Walker) put(ctx context.Context, id, dir string) error {
	if dir == "" {
		return nil
	}
	uid, gid, err := w.World.Images.User(ctx, id)
	if err != nil {
		return err
	}
	return w.World.Files.Deliver(dir, w.Job.Values, uid, gid)
}

// detached is for taking back what a cancelled run began: it ends by itself.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

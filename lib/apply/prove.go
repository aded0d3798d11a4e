package apply

import (
	"context"
	"fmt"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

const (
	// A master is told one worker more or less at most that often, since signals
	// that wait merge, and where its number was wrong for that long: it may be at it.
	resizePause = 300 * time.Millisecond
	chainPause  = 3 * time.Second // of one that replaces its workers one by one
)

// prove watches an instance that was told to reload until it is sure, brings its
// workers back to their number, and remembers what it has loaded.
func (w *Walker) prove(ctx context.Context, s rollout.Step) error {
	return w.watch(ctx, s, w.proofOf(s.Target))
}

// watch observes an instance until its proof is there or cannot come.
func (w *Walker) watch(ctx context.Context, s rollout.Step, p rollout.Proof) error {
	show, done := w.progress(s)
	defer done()
	wrong, told := time.Time{}, time.Now()
	pause := resizePause
	if w.Job.Wanted.Service.Master == spec.UWSGI {
		pause = chainPause
	}
	for {
		look, output, err := w.proofLook(ctx, s.Target, p)
		if err != nil {
			return err
		}
		next, verdict, reason := p.Observe(look)
		p = next
		show.Report(reason, 0, 0)
		switch verdict {
		case rollout.Passed:
			w.States[s.Target] = rollout.AfterReloaded
			return w.remember(look.Instance)
		case rollout.Failed:
			return w.unproven(ctx, p, look, output, reason)
		case rollout.Waiting:
		}
		by := p.Resize(look)
		switch {
		case by == 0:
			wrong = time.Time{}
		case wrong.IsZero():
			wrong = look.At
		case look.At.Sub(wrong) >= pause:
			// A uwsgi that begins anew hears nothing for a moment: it is told again.
			if err := w.World.Masters.Resize(ctx, look.Instance, p.Master, by); err != nil {
				w.World.Log.Warn("number of workers not told", "container", s.Target, "by", by, "error", err)
			}
			wrong = look.At
		}
		if w.unheard(s.Target, p, look) && look.At.Sub(told) >= chainPause {
			if err := w.World.Masters.Tell(ctx, look.Instance, p.Master, rollout.WayChain); err != nil {
				return err
			}
			told = look.At
		}
		if err := sleep(ctx, fastestLook); err != nil {
			return err
		}
	}
}

// unheard reports whether a chain reload may not have begun: uwsgi ignores the
// order while the chain before is not complete, and one order too many as well.
func (w *Walker) unheard(name string, p rollout.Proof, l rollout.ProofLook) bool {
	return w.reloading.ways[name] == rollout.WayChain && l.MasterErr == nil && len(p.Master.Workers) > 0 && p.Old(l) == len(p.Master.Workers)
}

// proofOf is the proof of a reload that was just told. What it must show: the
// number of workers from before, whoever chose it.
func (w *Walker) proofOf(name string) rollout.Proof {
	service, m := w.Job.Wanted.Service, w.reloading.masters[name]
	return rollout.Proof{
		Instance: w.reloading.before[name], Master: m, Expected: rollout.Expected(m, w.reloading.ways[name]),
		Generation: w.reloading.to, MinHealthy: service.Check.MinHealthy,
		Deadline: time.Now().Add(service.Check.Deadline),
	}
}

func (w *Walker) proofLook(ctx context.Context, name string, p rollout.Proof) (rollout.ProofLook, string, error) {
	look, output, err := w.look(ctx, name)
	if err != nil {
		return rollout.ProofLook{}, "", err
	}
	out := rollout.ProofLook{Look: look}
	if look.Instance.State != fleet.Running {
		return out, output, nil
	}
	out.Master, out.MasterErr = w.World.Masters.Look(ctx, look.Instance, w.Job.Wanted.Service.Master)
	all, err := w.World.Registrar.Registrations(ctx)
	if ctx.Err() != nil {
		return out, output, context.Cause(ctx)
	}
	if err != nil { // the agent may be away: the own probe counts on
		w.World.Log.Warn("health in Consul not known", "container", name, "error", err)
	}
	for _, r := range all {
		if r.Meta[fleet.MetaContainer] == look.Instance.ID {
			out.Health = r.Health
		}
	}
	if p.Generation != "" && look.Err == nil && w.World.Shown != nil {
		shown, err := w.World.Shown(ctx, w.entry(look.Instance, 1).Check)
		if err != nil {
			w.World.Log.Debug("generation not shown", "container", name, "error", err)
		}
		out.Generation = shown
	}
	return out, output, nil
}

// remember notes what an instance has loaded. Without the note the next run
// reloads it once more, which is no failure of this one.
func (w *Walker) remember(i fleet.Instance) error {
	code, err := codeOf(w.World, w.Job)
	if err == nil {
		err = w.World.Loads.Loaded(i, code, time.Now())
	}
	if err != nil {
		w.World.Log.Warn("what it has loaded is not noted: the next run reloads it again", "container", i.Name, "error", err)
	}
	return nil
}

// unproven is the error of a reload without a proof, and names the state it left.
func (w *Walker) unproven(ctx context.Context, p rollout.Proof, l rollout.ProofLook, output, reason string) error {
	left := p.Left(l)
	w.States[l.Instance.Name] = left
	kind := fault.Unhealthy
	if left == rollout.AfterOld || left == rollout.AfterMixed {
		kind = fault.Timeout
	}
	e := fault.New(kind, "%s (%s)", reason, left)
	workers := fmt.Sprintf("workers: %d before, %d now, of which %d from before", len(p.Master.Workers), len(l.Master.Workers), p.Old(l))
	e.Detail = append([]string{workers}, w.evidence(ctx, l.Look, output)...)
	return e
}

package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// begun reports whether a walk has done anything for a reload that is to be taken back.
func (r reloading) begun() bool {
	return r.to != "" || len(r.putBack) > 0 || len(r.ways) > 0 || len(r.aside) > 0
}

// undo takes back what a failed reload began, as far as that serves clients:
//
//	no master was told          code and files are put back: nothing happened
//	the new version is not well code and files are put back, and every master that
//	                            was told is told again, and watched
//	old workers are still there nothing is put back: some requests take long
//
// An instance that is not well in the end is left out of DNS, with an end. It
// returns what an operator should know.
func (w *Walker) undo(ctx context.Context, p rollout.Plan, n int, cause error) ([]string, error) {
	var said []string
	unwell := fault.KindOf(cause) == fault.Unhealthy
	if !w.restorable(p, n, unwell) {
		return w.leaveAside(ctx, unwell)
	}
	if err := w.putBack(ctx); err != nil {
		return nil, err
	}
	if w.reloading.to != "" {
		said = append(said, "the code of before is current again: "+orNone(w.reloading.code.Generation))
	}
	for _, name := range slices.Sorted(maps.Keys(w.reloading.ways)) {
		if err := w.again(ctx, name); err != nil {
			left, lerr := w.leaveAside(ctx, true)
			return append(said, left...), errors.Join(fmt.Errorf("reload %s with what was before: %w", name, err), lerr)
		}
		said = append(said, name+" was reloaded with what was before")
	}
	left, err := w.leaveAside(ctx, false)
	return append(said, left...), err
}

// restorable reports whether going back leads to a state in which all instances
// run the version from before.
func (w *Walker) restorable(p rollout.Plan, n int, unwell bool) bool {
	if replacedBefore(p, n) {
		return false // an instance runs the new version for good
	}
	if len(w.reloading.ways) == 0 {
		return true
	}
	return unwell && (w.reloading.to != "" || len(w.reloading.putBack) > 0)
}

// putBack makes code and files what they were before the walk.
func (w *Walker) putBack(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(w.reloading.putBack)) {
		if err := w.reloading.putBack[name](); err != nil {
			return err
		}
	}
	if w.reloading.to == "" {
		return nil
	}
	return w.World.Volume.Restore(ctx, w.Job.Wanted.App, w.Job.Wanted.Service.Key, w.reloading.code)
}

// again reloads an instance with what was before. One whose master has ended is
// started anew: the engine may have started it with the new version meanwhile.
func (w *Walker) again(ctx context.Context, name string) error {
	i, err := w.World.Views.Instance(ctx, w.ids[name])
	if err != nil {
		return err
	}
	if w.States[name] == rollout.AfterEnded {
		return w.startAnew(ctx, i)
	}
	m, err := w.World.Masters.Examine(ctx, i, w.Job.Wanted.Service, codeAt(w.Job))
	if err != nil {
		return err
	}
	if len(m.Broken) > 0 {
		return fault.New(fault.Unhealthy, "what was before does not load either: %s", m.Broken[len(m.Broken)-1])
	}
	number := len(w.reloading.masters[name].Workers) // before the first signal
	w.reloading.masters[name], w.reloading.before[name] = m, i
	if err := w.World.Masters.Tell(ctx, i, m, w.reloading.ways[name]); err != nil {
		return err
	}
	p := w.proofOf(name)
	p.Expected, p.Generation = number, w.reloading.code.Generation
	if err := w.watch(ctx, rollout.Step{Action: rollout.ActProve, Target: name}, p); err != nil {
		return err
	}
	w.States[name] = rollout.AfterReverted
	return nil
}

func (w *Walker) startAnew(ctx context.Context, i fleet.Instance) error {
	if err := w.World.Containers.Stop(ctx, i.ID); err != nil {
		return err
	}
	if err := w.World.Loads.Forget(i.ID); err != nil { // what it loads at its start counts
		return err
	}
	if err := w.World.Containers.Start(ctx, i.ID); err != nil {
		return err
	}
	if err := w.gate(ctx, rollout.Step{Action: rollout.ActGate, Target: i.Name}); err != nil {
		return err
	}
	w.States[i.Name] = rollout.AfterReverted
	return nil
}

// leaveAside brings instances that this walk took out of DNS back when they are
// well. One that is not, or that is known to be unwell, is left out, with an end.
func (w *Walker) leaveAside(ctx context.Context, unwell bool) ([]string, error) {
	var said []string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(w.ids)) {
		degraded := unwell && (w.States[name] == rollout.AfterDegraded || w.States[name] == rollout.AfterEnded)
		look, _, err := w.look(ctx, name)
		well := err == nil && look.Err == nil && look.Instance.State == "running"
		s := rollout.Step{Target: name, Reason: "it is not well after a reload"}
		switch {
		case w.reloading.aside[name] && well && !degraded:
			errs = append(errs, w.comeBack(ctx, s))
		case degraded || w.reloading.aside[name]:
			if w.World.Asides != nil {
				errs = append(errs, w.aside(ctx, s))
			}
			said = append(said, fmt.Sprintf("%s is out of DNS for at most %s: %s", name, asideFor(w), s.Reason))
		}
	}
	return said, errors.Join(errs...)
}

func asideFor(w *Walker) time.Duration { return w.Job.Wanted.Service.Check.Deadline + asideMore }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

package apply

import (
	"context"
	"fmt"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// reloading is what a walk knows of the reloads it does, so that it can prove
// them and take them back.
type reloading struct {
	code    fleet.Code              // current before the walk switched
	to      string                  // generation that it switched to; "": it did not
	putBack map[string]func() error // container → how its files of before come back
	masters map[string]fleet.Master // container → its master right before it was told
	before  map[string]fleet.Instance
	ways    map[string]rollout.Way // container → the way it was told, once it was
	aside   map[string]bool        // containers that this walk took out of DNS
}

func newReloading() reloading {
	return reloading{
		putBack: map[string]func() error{}, masters: map[string]fleet.Master{}, before: map[string]fleet.Instance{},
		ways: map[string]rollout.Way{}, aside: map[string]bool{},
	}
}

// Times of a reload.
const (
	sparePoll = time.Second
	asideMore = time.Minute // a maintenance ends that long after the deadline of its proof at the latest
)

func (w *Walker) reload(ctx context.Context, s rollout.Step) error {
	switch s.Action {
	case rollout.ActSwitch:
		return w.switchCode(ctx, s.Target)
	case rollout.ActSpare:
		return w.spare(ctx, s)
	case rollout.ActAside:
		return w.aside(ctx, s)
	case rollout.ActPreflight:
		return w.preflight(ctx, s)
	case rollout.ActReload:
		return w.tell(ctx, s)
	case rollout.ActProve:
		return w.prove(ctx, s)
	}
	return w.comeBack(ctx, s)
}

func (w *Walker) switchCode(ctx context.Context, generation string) (err error) {
	wanted := w.Job.Wanted
	if w.reloading.code, err = codeOf(w.World, w.Job); err != nil {
		return err
	}
	w.reloading.to = generation
	w.Job.Staged = "" // what was staged is current now
	return w.World.Volume.Switch(ctx, wanted.App, wanted.Service.Key, generation)
}

// spare waits until enough other instances of the fleet pass.
func (w *Walker) spare(ctx context.Context, s rollout.Step) error {
	if w.World.Asides == nil {
		return fault.New(fault.Refused, "whether the rest of the fleet carries the load is not known without Consul")
	}
	r, ok, err := w.registration(ctx, s.Target)
	if err != nil || !ok {
		return err
	}
	p, done := w.progress(s)
	defer done()
	limit, cancel := context.WithTimeout(ctx, w.Job.Wanted.Reload.Patience)
	defer cancel()
	for {
		all, err := w.World.Asides.Service(ctx, r.Name)
		if err != nil {
			return err
		}
		have, floor := rollout.Spare(all, r.ID), rollout.Floor(w.Job.Wanted, all)
		if have >= floor {
			return nil
		}
		p.Report(fmt.Sprintf("%d of %d pass", have, floor), 0, 0)
		if len(all) <= floor || sleep(limit, sparePoll) != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e := fault.New(fault.Refused, "without it %d of %d instances of %s would pass, and %d must", have, len(all), r.Name, floor)
			return fault.WithHint(e, "start more instances, or accept the gap with --floor %d", have)
		}
	}
}

// aside takes an instance out of DNS, with an end that others honour.
func (w *Walker) aside(ctx context.Context, s rollout.Step) error {
	r, ok, err := w.registration(ctx, s.Target)
	if err != nil || !ok {
		return err
	}
	if w.World.Resolve != nil {
		_, ttl, err := w.World.Resolve(ctx, w.dnsName(r))
		if err != nil {
			w.World.Log.Warn("DNS not asked for its TTL", "error", err)
		}
		w.ttl = max(w.ttl, ttl)
	}
	service := w.Job.Wanted.Service
	until := time.Now().Add(service.Check.Deadline + service.Stop.Drain + w.ttl + w.Job.Site.Margin + asideMore)
	reload := w.Job.Wanted.Reload
	if reload == nil || reload.Hold.IsZero() { // what a drain took out stays out, whatever becomes of the others
		w.reloading.aside[s.Target] = true
	}
	return w.World.Asides.Aside(ctx, r.ID, reload.Reason(until, s.Reason))
}

func (w *Walker) comeBack(ctx context.Context, s rollout.Step) error {
	r, ok, err := w.registration(ctx, s.Target)
	if err != nil || !ok {
		return err
	}
	if err := w.World.Asides.Return(ctx, r.ID); err != nil {
		return err
	}
	delete(w.reloading.aside, s.Target)
	return nil
}

// preflight looks at the master once more, right before it is told, and lets it
// not be told of code or config that does not load.
func (w *Walker) preflight(ctx context.Context, s rollout.Step) error {
	i, err := w.World.Views.Instance(ctx, w.ids[s.Target])
	if err != nil {
		return err
	}
	m, err := w.World.Masters.Examine(ctx, i, w.Job.Wanted.Service, codeAt(w.Job))
	if err != nil {
		return err
	}
	w.reloading.masters[s.Target], w.reloading.before[s.Target] = m, i
	e := fault.New(fault.Refused, "it must not be told to reload")
	e.Detail = m.Unsafe
	if len(m.Broken) > 0 {
		e = fault.New(fault.Refused, "the new code does not load")
		for _, line := range m.Broken {
			e.Detail = append(e.Detail, "  | "+line)
		}
	}
	if len(e.Detail) > 0 {
		return e
	}
	return nil
}

func (w *Walker) tell(ctx context.Context, s rollout.Step) error {
	m, i := w.reloading.masters[s.Target], w.reloading.before[s.Target]
	w.reloading.ways[s.Target] = s.Way
	return w.World.Masters.Tell(ctx, i, m, s.Way)
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

const (
	preflightLimit = 20 * time.Second
	workersLimit   = 15 * time.Second // for old workers to go after HUP
)

// reload makes the master load the mounted code again. Code that gunicorn cannot
// load is never signalled: it would end the master, and nothing would serve.
func (v *devService) reload(ctx context.Context) error {
	began := time.Now()
	engine := v.d.base.Engine
	i, err := engine.Instance(ctx, v.id)
	if err != nil {
		return err
	}
	masters := here.MastersOf(engine)
	masters.TryLimit = preflightLimit
	m, err := masters.Examine(ctx, i, v.spec, fleet.CodeAt{})
	if err != nil {
		return err
	}
	if len(m.Broken) > 0 {
		e := fault.New(fault.Unhealthy, "the new code does not load; the old keeps serving")
		e.Detail = m.Broken
		return e
	}
	list, err := engine.Processes(ctx, v.id)
	if err != nil {
		return err
	}
	before := rollout.WorkerPIDs(list)
	if err := engine.Signal(ctx, v.id, "HUP"); err != nil {
		return err
	}
	if err := v.renewed(ctx, before); err != nil {
		return err
	}
	if err := v.gate(ctx, "it was reloaded"); err != nil {
		return err
	}
	v.say("reloaded in %s", time.Since(began).Round(10*time.Millisecond))
	return nil
}

// renewed waits until every worker of before has gone and another one is there.
// Workers that finish long requests are not waited for without end.
func (v *devService) renewed(ctx context.Context, before []int) error {
	limit := time.NewTimer(workersLimit)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		i, err := v.d.base.Engine.Instance(ctx, v.id)
		if err != nil {
			return err
		}
		if i.State != "running" {
			return fault.New(fault.Unhealthy, "it ended with exit code %d when it was told to reload", i.ExitCode)
		}
		list, err := v.d.base.Engine.Processes(ctx, v.id)
		if err == nil {
			now := rollout.WorkerPIDs(list)
			old := slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) })
			if !old && len(now) > 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			v.say("after %s workers with the old code are still there", workersLimit)
			return nil
		case <-tick.C:
		}
	}
}

// restart stops the container and starts it again: same port, same name in DNS.
func (v *devService) restart(ctx context.Context) error {
	began := time.Now()
	if err := v.d.base.Engine.Stop(ctx, v.id); err != nil {
		return err
	}
	if err := v.d.containers().Start(ctx, v.id); err != nil {
		return err
	}
	if err := v.gate(ctx, "it was restarted"); err != nil {
		return err
	}
	v.say("restarted in %s", time.Since(began).Round(10*time.Millisecond))
	return nil
}

// gate waits until the container's check passes.
func (v *devService) gate(ctx context.Context, why string) error {
	dep := v.d.deployOf(v.key)
	job, err := v.job(ctx, &dep)
	if err != nil {
		return err
	}
	err = v.walk(ctx, &dep, job, rollout.Plan{Steps: []rollout.Step{{Action: rollout.ActGate, Target: v.name, ID: v.id, Reason: why}}})
	if err != nil {
		return fmt.Errorf("%s and is not well: %w", why, err)
	}
	return nil
}

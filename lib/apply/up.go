package apply

import (
	"context"
	"errors"
	"slices"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// Plan looks at the node and plans how it gets to what the job wants.
// The job comes back with names for the containers that the plan creates.
func Plan(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
	seen, err := Observe(ctx, world, job)
	if err != nil {
		return job, rollout.Plan{}, err
	}
	taken := append(append([]fleet.Instance{}, seen.Instances...), seen.Others...)
	job.Wanted.Names = rollout.FreshNames(job.Wanted.App, job.Wanted.Service.Key, job.Wanted.Count, taken, world.Random)
	plan, err := rollout.Up(job.Wanted, job.Site.Node, seen)
	if err != nil {
		return job, plan, err
	}
	if err := hasCode(world, job, plan); err != nil {
		return job, plan, err
	}
	return job, plan, fits(job, seen, plan)
}

// hasCode refuses to make containers whose code is not on the node.
func hasCode(world World, job Job, plan rollout.Plan) error {
	w := job.Wanted
	has := func(a rollout.Action) bool {
		return slices.ContainsFunc(plan.Steps, func(s rollout.Step) bool { return s.Action == a })
	}
	if w.Service.Code.Mount == "" || !has(rollout.ActCreate) || has(rollout.ActSwitch) {
		return nil
	}
	_, err := world.Volume.State(w.App, w.Service.Key)
	if errors.Is(err, fleet.ErrNotFound) {
		return fault.WithHint(fault.New(fault.Refused, "run %s/%s: this node has no code for %s", w.App, w.Service.Key, w.Service.Code.Mount),
			"svc-reload %s/%s --source DIR brings it here", w.App, w.Service.Key)
	}
	return err
}

// PlanDown looks at the node and plans how a service leaves it. Only the name,
// the stop rules and the network of the job's service are used.
func PlanDown(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
	seen, err := Observe(ctx, world, job)
	if err != nil {
		return job, rollout.Plan{}, err
	}
	return job, rollout.Down(job.Wanted, job.Site.Node, seen), nil
}

// PlanDrain looks at the node and the fleet and plans how the instances of a service here leave Consul and DNS.
func PlanDrain(why string) func(context.Context, World, Job) (Job, rollout.Plan, error) {
	return func(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
		seen, err := Observe(ctx, world, job)
		if err != nil {
			return job, rollout.Plan{}, err
		}
		p, err := rollout.Drain(job.Wanted, seen, why)
		return job, p, err
	}
}

// PlanReturn looks at the node and plans how what PlanDrain took out is found again.
func PlanReturn(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
	seen, err := Observe(ctx, world, job)
	if err != nil {
		return job, rollout.Plan{}, err
	}
	return job, rollout.Return(job.Wanted, seen), nil
}

// PlanWake looks at the node and plans how the containers of a service that do not
// run are started as they are. Of the job's service only the gate's times are used.
func PlanWake(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
	seen, err := Observe(ctx, world, job)
	if err != nil {
		return job, rollout.Plan{}, err
	}
	return job, rollout.Wake(job.Wanted, seen), nil
}

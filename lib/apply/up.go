package apply

import (
	"context"

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
	return job, plan, fits(job, seen, plan)
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

// PlanWake looks at the node and plans how the containers of a service that do not
// run are started as they are. Of the job's service only the gate's times are used.
func PlanWake(ctx context.Context, world World, job Job) (Job, rollout.Plan, error) {
	seen, err := Observe(ctx, world, job)
	if err != nil {
		return job, rollout.Plan{}, err
	}
	return job, rollout.Wake(job.Wanted, seen), nil
}

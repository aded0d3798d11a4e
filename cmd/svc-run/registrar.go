package main

import (
	"context"
	"slices"
	"time"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// agentOnly is a registrar that needs the local agent and none of its servers.
type agentOnly struct{ *consul.Client }

func (a agentOnly) Await(ctx context.Context, id, _ string, want fleet.Health) error {
	for {
		all, err := a.Registrations(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(r fleet.Registration) bool { return r.ID == id && r.Health == want }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Timeout, "the agent does not show %s as %s", id, want)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// alone stands in for Consul where there is none: by ID, what counts as known.
type alone map[string]fleet.Registration

// adopt counts every container of the job's service that runs as known.
func (u alone) adopt(ctx context.Context, views apply.Views, job apply.Job) error {
	list, err := views.Instances(ctx, job.Wanted.App, job.Wanted.Service.Key)
	for _, i := range list {
		if i.State == fleet.Running {
			_ = u.Register(ctx, rollout.Registration(job.Wanted, i, job.Site.Node, 1))
		}
	}
	return err
}

func (u alone) Register(_ context.Context, r fleet.Registration) error {
	r.Health = fleet.Passing
	u[r.ID] = r
	return nil
}

func (u alone) Deregister(_ context.Context, id string) error {
	delete(u, id)
	return nil
}

func (u alone) Registrations(context.Context) ([]fleet.Registration, error) {
	out := make([]fleet.Registration, 0, len(u))
	for _, r := range u {
		out = append(out, r)
	}
	return out, nil
}

func (u alone) Await(context.Context, string, string, fleet.Health) error { return nil }

package here

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

// AgentOnly is a registrar that needs the local agent and none of its servers.
type AgentOnly struct{ *consul.Client }

// Await waits until the agent shows the registration with that health, as long as ctx allows.
func (a AgentOnly) Await(ctx context.Context, id, _ string, want fleet.Health) error {
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

// Alone stands in for Consul where there is none: by ID, what counts as known.
type Alone map[string]fleet.Registration

// Adopt counts every container of the job's service that runs as known.
func (u Alone) Adopt(ctx context.Context, views apply.Views, job apply.Job) error {
	list, err := views.Instances(ctx, job.Wanted.App, job.Wanted.Service.Key)
	for _, i := range list {
		if i.State == fleet.Running {
			_ = u.Register(ctx, rollout.Registration(job.Wanted, i, job.Site.Node, 1))
		}
	}
	return err
}

// Register makes an instance known.
func (u Alone) Register(_ context.Context, r fleet.Registration) error {
	r.Health = fleet.Passing
	u[r.ID] = r
	return nil
}

// Deregister forgets an instance.
func (u Alone) Deregister(_ context.Context, id string) error {
	delete(u, id)
	return nil
}

// Registrations are the instances that count as known.
func (u Alone) Registrations(context.Context) ([]fleet.Registration, error) {
	out := make([]fleet.Registration, 0, len(u))
	for _, r := range u {
		out = append(out, r)
	}
	return out, nil
}

// Await has nothing to wait for.
func (u Alone) Await(context.Context, string, string, fleet.Health) error { return nil }

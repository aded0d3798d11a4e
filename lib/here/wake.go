package here

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"svckit/lib/apply"
	"svckit/lib/delivery"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// Wake starts the containers of a service with the last good config, asking nobody.
func Wake(ctx context.Context, w *Node, s *tool.Session, t Target, wait time.Duration) (Outcome, error) {
	d, err := OpenEngine(ctx, w, s, t)
	if err != nil {
		return Outcome{}, err
	}
	if d.Agent, err = LastAgent(ctx, d.World.Views); err != nil {
		return Outcome{}, err
	}
	if err := d.Settle(ctx); err != nil {
		return Outcome{}, err
	}
	d.World.Registrar, d.Plan = Alone{}, apply.PlanWake
	d.Wait = wait
	return d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return fromMemory(ctx, d) })
}

// How a container is gated whose check is not known: it runs without a restart.
const (
	wakeHealthy  = 3 * time.Second
	wakeDeadline = time.Minute
)

// fromMemory is a job of what this node kept of a service.
func fromMemory(ctx context.Context, d *Deploy) (apply.Job, error) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := Last(list, nil)
	values, at, err := delivery.LoadLast(d.Settings.StateDir, d.App, d.Service)
	switch {
	case err == nil:
		d.Session.Say("note: config of %s/%s is the last good one of this node, from %s", d.App, d.Service, at.Format(time.RFC3339))
	case !errors.Is(err, fleet.ErrNotFound) || of.Dir != "":
		return apply.Job{}, fmt.Errorf("read last good config: %w", err)
	}
	service := bare(d.App, d.Service)
	service.Check = spec.Check{MinHealthy: wakeHealthy, Deadline: wakeDeadline}
	return apply.Job{Site: d.Site, Values: values, Wanted: rollout.Wanted{
		App: d.App, Service: service, Release: of.Release, Image: of.Image, Count: count,
	}}, nil
}

// LastAgent is what the containers of this node know of its agent, so that an
// agent that is away makes none of them look different.
func LastAgent(ctx context.Context, views apply.Views) (fleet.Agent, error) {
	list, err := views.Instances(ctx, "", "")
	for _, i := range list {
		own := i.Network == string(spec.Bridge) || i.Network == string(spec.Host) // of a macvlan the address is the container's
		own = own && i.Owner == nil                                               // a developer's agent is not the node's
		if name := i.Env["SVC_NODE"]; name != "" && i.Address != "" && own {
			return fleet.Agent{Node: name, Address: i.Address}, err
		}
	}
	name, nameless := os.Hostname()
	if nameless != nil {
		name = "localhost"
	}
	return fleet.Agent{Node: name, Address: "127.0.0.1"}, err
}

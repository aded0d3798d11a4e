package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/apply"
	"svckit/lib/delivery"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// lost names the services that have something to restore, sorted: a container
// that ended, or one that runs and Consul does not know (asked only where Consul answers).
func lost(list []fleet.Instance, known []fleet.Registration, prefix string, asked bool) []here.Target {
	var out []here.Target
	for _, i := range list {
		if i.Prefix != "" && i.Prefix != prefix || i.App == "" || i.Service == "" {
			continue
		}
		registered := slices.ContainsFunc(known, func(r fleet.Registration) bool { return r.Meta[fleet.MetaContainer] == i.ID })
		if i.State == fleet.Exited || asked && i.State == fleet.Running && !registered {
			out = append(out, here.Target{App: i.App, Service: i.Service})
		}
	}
	slices.SortFunc(out, func(a, b here.Target) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// restoreOne brings one service back.
func restoreOne(ctx context.Context, w *here.Node, s *tool.Session, t here.Target, online bool, wait time.Duration) (here.Outcome, error) {
	if !online {
		return wake(ctx, w, s, t, wait)
	}
	d, err := here.OpenService(ctx, w, s, t)
	if err != nil {
		return here.Outcome{}, err
	}
	d.Wait = wait
	return d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return here.AsItWas(ctx, d) })
}

// wake starts the containers of a service with the last good config, asking nobody.
func wake(ctx context.Context, w *here.Node, s *tool.Session, t here.Target, wait time.Duration) (here.Outcome, error) {
	d, err := here.OpenEngine(ctx, w, s, t)
	if err != nil {
		return here.Outcome{}, err
	}
	if d.Agent, err = remembered(ctx, d.World.Views); err != nil {
		return here.Outcome{}, err
	}
	if err := d.Settle(ctx); err != nil {
		return here.Outcome{}, err
	}
	d.World.Registrar, d.Plan = here.Alone{}, apply.PlanWake
	d.Wait = wait
	return d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return fromMemory(ctx, d) })
}

// How a container is gated whose check is not known: it runs without a restart.
const (
	wakeHealthy  = 3 * time.Second
	wakeDeadline = time.Minute
)

// fromMemory is a job of what this node kept of a service.
func fromMemory(ctx context.Context, d *here.Deploy) (apply.Job, error) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := here.Last(list, nil)
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

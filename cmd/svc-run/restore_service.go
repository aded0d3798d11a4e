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
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// lost names the services that have something to restore, sorted: a container
// that ended, or one that runs and Consul does not know (asked only where Consul answers).
func lost(list []fleet.Instance, known []fleet.Registration, prefix string, asked bool) []target {
	var out []target
	for _, i := range list {
		if i.Prefix != "" && i.Prefix != prefix || i.App == "" || i.Service == "" {
			continue
		}
		registered := slices.ContainsFunc(known, func(r fleet.Registration) bool { return r.Meta[fleet.MetaContainer] == i.ID })
		if i.State == fleet.Exited || asked && i.State == fleet.Running && !registered {
			out = append(out, target{App: i.App, Service: i.Service})
		}
	}
	slices.SortFunc(out, func(a, b target) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// last is what a service was on this node: the newest of its containers that is
// registered, else the newest at all, and how many there are of that image.
func last(list []fleet.Instance, known []fleet.Registration) (of fleet.Instance, count int) {
	best := -1
	for _, i := range list { // oldest first
		rank := 0
		if slices.ContainsFunc(known, func(r fleet.Registration) bool { return r.Meta[fleet.MetaContainer] == i.ID }) {
			rank = 1
		}
		if i.State != fleet.Created && rank >= best {
			of, best = i, rank
		}
	}
	for _, i := range list {
		if i.State != fleet.Created && i.Image == of.Image {
			count++
		}
	}
	return of, count
}

// restoreOne brings one service back.
func (w *world) restoreOne(ctx context.Context, s *tool.Session, t target, online bool, wait time.Duration) (outcome, error) {
	if !online {
		return w.wake(ctx, s, t, wait)
	}
	d, err := openService(ctx, w, s, t)
	if err != nil {
		return outcome{}, err
	}
	return d.work(ctx, wait, false, d.asItWas)
}

// asItWas is the job that brings back the release that a service had on this node.
func (d *deploy) asItWas(ctx context.Context) (apply.Job, error) {
	list, err := d.world.Views.Instances(ctx, d.app, d.service)
	if err != nil {
		return apply.Job{}, err
	}
	known, err := d.world.Registrar.Registrations(ctx)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := last(list, known)
	if count == 0 {
		return apply.Job{}, fault.New(fault.NotFound, "no container of %s/%s ever ran here", d.app, d.service)
	}
	release, err := d.consul.Release(ctx, d.app, of.Release)
	if errors.Is(err, fleet.ErrNotFound) {
		err = fault.WithHint(err, "svc-run up %s/%s brings it to the app's current release", d.app, d.service)
	}
	if err != nil {
		return apply.Job{}, err
	}
	release.Image = of.Image
	job, err := apply.ResolveRelease(ctx, d.consul, d.site, release, d.service, count)
	job.Wanted.Revive = true
	return job, err
}

// wake starts the containers of a service with the last good config, asking nobody.
func (w *world) wake(ctx context.Context, s *tool.Session, t target, wait time.Duration) (outcome, error) {
	d, err := openEngine(ctx, w, s, t)
	if err != nil {
		return outcome{}, err
	}
	if d.agent, err = remembered(ctx, d.world.Views); err != nil {
		return outcome{}, err
	}
	if err := d.settle(ctx); err != nil {
		return outcome{}, err
	}
	d.world.Registrar, d.plan = alone{}, apply.PlanWake
	return d.work(ctx, wait, false, d.fromMemory)
}

// How a container is gated whose check is not known: it runs without a restart.
const (
	wakeHealthy  = 3 * time.Second
	wakeDeadline = time.Minute
)

// fromMemory is a job of what this node kept of a service.
func (d *deploy) fromMemory(ctx context.Context) (apply.Job, error) {
	list, err := d.world.Views.Instances(ctx, d.app, d.service)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := last(list, nil)
	values, at, err := delivery.LoadLast(d.settings.StateDir, d.app, d.service)
	switch {
	case err == nil:
		d.s.Say("note: config of %s/%s is the last good one of this node, from %s", d.app, d.service, at.Format(time.RFC3339))
	case !errors.Is(err, fleet.ErrNotFound) || of.Dir != "":
		return apply.Job{}, fmt.Errorf("read last good config: %w", err)
	}
	service := bare(d.app, d.service)
	service.Check = spec.Check{MinHealthy: wakeHealthy, Deadline: wakeDeadline}
	return apply.Job{Site: d.site, Values: values, Wanted: rollout.Wanted{
		App: d.app, Service: service, Release: of.Release, Image: of.Image, Count: count,
	}}, nil
}

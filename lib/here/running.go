package here

import (
	"context"
	"errors"
	"slices"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Last is what a service was on this node: the newest of its containers that is
// registered, else the newest at all, and how many there are of that image.
func Last(list []fleet.Instance, known []fleet.Registration) (of fleet.Instance, count int) {
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

// AsItWas is the job that brings back the release that a service had on this
// node, with the config of now: containers that ended are started again.
func AsItWas(ctx context.Context, d *Deploy) (apply.Job, error) {
	job, err := asIs(ctx, d, func(fleet.Instance) bool { return true })
	job.Wanted.Revive = true
	return job, err
}

// AsItRuns is the job of the release that a service runs on this node, with the
// config of now and as many instances as there are. Once the spec of the release
// could be read, it names the release and whom to tell also when there is an error.
func AsItRuns(ctx context.Context, d *Deploy) (apply.Job, error) { return asIs(ctx, d, Runs) }

// Runs reports whether a container is one that its service is made of now: it
// runs, and not for a developer.
func Runs(i fleet.Instance) bool {
	return i.Owner == nil && (i.State == fleet.Running || i.State == fleet.Restarting)
}

// errNone is the cause where a service has no container on this node.
var errNone = errors.New("no container")

func asIs(ctx context.Context, d *Deploy, counts func(fleet.Instance) bool) (apply.Job, error) {
	all, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return apply.Job{}, err
	}
	known, err := d.World.Registrar.Registrations(ctx)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := Last(slices.DeleteFunc(all, func(i fleet.Instance) bool { return !counts(i) }), known)
	if count == 0 {
		return apply.Job{}, fault.New(fault.NotFound, "%w of %s/%s is here", errNone, d.App, d.Service)
	}
	release, err := d.Consul.Release(ctx, d.App, of.Release)
	if errors.Is(err, fleet.ErrNotFound) {
		err = fault.WithHint(err, "svc-run up %s/%s brings it to the app's current release", d.App, d.Service)
	}
	if err != nil {
		return apply.Job{}, err
	}
	release.Image = of.Image
	job, err := apply.ResolveRelease(ctx, d.Consul, d.Site, release, d.Service, count)
	job.Wanted.Release = release.Name
	return job, err
}

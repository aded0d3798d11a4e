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

// AsItWas is the job of the release, the image and the number of containers that a
// service has on this node, with the config of now. Once the spec of the release
// could be read, it names the release and whom to tell also when there is an error.
func (d *Deploy) AsItWas(ctx context.Context) (apply.Job, error) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return apply.Job{}, err
	}
	known, err := d.World.Registrar.Registrations(ctx)
	if err != nil {
		return apply.Job{}, err
	}
	of, count := Last(list, known)
	if count == 0 {
		return apply.Job{}, fault.New(fault.NotFound, "%s/%s: %w", d.App, d.Service, errNeverRan)
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

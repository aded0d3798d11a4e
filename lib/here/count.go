package here

import (
	"context"
	"errors"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/wish"
)

// Count is how many instances of a service this node should run when nobody says
// so: what the autoscaler wants here, where it has placed the service; else 1.
// Workers come in one container, whose number of workers is the hand's business.
// A wish that cannot be read takes nothing away: then it is as many as run now.
func (d *Deploy) Count(ctx context.Context) (int, error) {
	w, err := d.Consul.Want(ctx, d.Site.Name)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return 1, nil
	case fault.KindOf(err) == fault.Unreachable:
		return 0, err
	case err != nil:
		d.Session.Say("note: what the autoscaler wants here cannot be read: %v", err)
		list, err := d.World.Views.Instances(ctx, d.App, d.Service)
		n := 0
		for _, i := range list {
			if Runs(i) {
				n++
			}
		}
		return max(n, 1), err
	}
	n, placed := placedHere(w, d.App+"/"+d.Service)
	if placed && n == 0 {
		d.Session.Say("note: the autoscaler wants nothing of %s/%s on this node", d.App, d.Service)
	}
	return n, nil
}

// Placed is how many instances of a service the autoscaler wants on this node; false where it says nothing of it.
func (d *Deploy) Placed(ctx context.Context) (n int, placed bool, err error) {
	w, err := d.Consul.Want(ctx, d.Site.Name)
	if fault.KindOf(err) == fault.Unreachable {
		return 0, false, err
	}
	if err == nil { // a wish that cannot be read takes nothing away
		n, placed = placedHere(w, d.App+"/"+d.Service)
	}
	return n, placed, nil
}

// Exact is the job of a service that runs exactly so often in the fleet: where the
// planner placed none, none runs, unless somebody says a number.
func (d *Deploy) Exact(ctx context.Context, job apply.Job) (apply.Job, error) {
	if !job.Wanted.Service.Scale.Exactly {
		return job, nil
	}
	w, err := d.Consul.Want(ctx, d.Site.Name)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return job, err
	}
	if _, placed := placedHere(w, d.App+"/"+d.Service); !placed {
		d.Session.Say("note: %s/%s runs exactly %d times in the fleet, and the planner placed none here", d.App, d.Service, job.Wanted.Service.Scale.Min)
		job.Wanted.Count = 0
	}
	return job, nil
}

// placedHere is how many containers a wish means; 1 and false for a service that it does not name.
func placedHere(w fleet.Want, service string) (n int, placed bool) {
	for _, a := range w.Services {
		switch {
		case a.Name != service:
		case a.Unit == wish.Workers:
			return min(a.Count, 1), true
		default:
			return a.Count, true
		}
	}
	return 1, false
}

package here

import (
	"context"
	"time"

	"svckit/lib/apply"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// Leaving is the job of a service that goes. Its stop rules come from the
// release that runs; where that cannot be read any more, defaults will do:
// nothing may keep a service from being taken down.
func Leaving(ctx context.Context, d *Deploy) (apply.Job, error) {
	job := apply.Job{Site: d.Site, Wanted: rollout.Wanted{App: d.App, Service: bare(d.App, d.Service)}}
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil || len(list) == 0 {
		return job, err
	}
	job.Wanted.Release = list[0].Release
	release, err := d.Consul.Release(ctx, d.App, list[0].Release)
	if err == nil {
		var of spec.App
		if of, err = apply.SpecOf(release); err == nil {
			if s, ok := of.Service(d.Service); ok {
				job.Wanted.Service = s
				return job, nil
			}
		}
	}
	d.Session.Log.Warn("release not read, stopping with default rules", "release", list[0].Release, "error", err)
	return job, nil
}

// bare is a service of which nothing is known but its name: found as such, drained a while.
func bare(app, key string) spec.Service {
	return spec.Service{
		Key: key, Name: app + "-" + key, Network: spec.Network{Mode: spec.Bridge},
		Stop: spec.Stop{Signal: "TERM", Timeout: 30 * time.Second, Drain: 5 * time.Second},
	}
}

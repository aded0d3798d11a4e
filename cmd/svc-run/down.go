package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func downCommand(w *world) *cli.Command {
	return &cli.Command{
		Name:         "down",
		Usage:        "end a service on this node: out of Consul, drained, stopped, removed",
		ArgsUsage:    "[APP/]SERVICE",
		Flags:        deployFlags(),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return down(ctx, w, s, c)
		}),
	}
}

func down(ctx context.Context, w *world, s *tool.Session, c *cli.Context) error {
	d, err := openDeploy(ctx, w, s)
	if err != nil {
		return err
	}
	d.plan = apply.PlanDown
	return d.run(ctx, c, d.leaving)
}

// leaving is the job of a service that goes. Its stop rules come from the
// release that runs; where that cannot be read any more, defaults will do:
// nothing may keep a service from being taken down.
func (d *deploy) leaving(ctx context.Context) (apply.Job, error) {
	job := apply.Job{Site: d.site, Wanted: rollout.Wanted{App: d.app, Service: bare(d.app, d.service)}}
	list, err := d.world.Views.Instances(ctx, d.app, d.service)
	if err != nil || len(list) == 0 {
		return job, err
	}
	job.Wanted.Release = list[0].Release
	release, err := d.consul.Release(ctx, d.app, list[0].Release)
	if err == nil {
		var of spec.App
		if of, err = apply.SpecOf(release); err == nil {
			if s, ok := of.Service(d.service); ok {
				job.Wanted.Service = s
				return job, nil
			}
		}
	}
	d.s.Log.Warn("release not read, stopping with default rules", "release", list[0].Release, "error", err)
	return job, nil
}

// bare is a service of which nothing is known but its name: found as such, drained a while.
func bare(app, key string) spec.Service {
	return spec.Service{
		Key: key, Name: app + "-" + key, Network: spec.Network{Mode: spec.Bridge},
		Stop: spec.Stop{Signal: "TERM", Timeout: 30 * time.Second, Drain: 5 * time.Second},
	}
}

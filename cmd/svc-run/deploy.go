package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// deploy is one call that changes a service on this node.
type deploy struct {
	w            *world
	s            *tool.Session
	app, service string
	settings     node.Settings
	engine       *docker.Engine
	consul       *consul.Client // nil in local mode without an agent
	agent        fleet.Agent
	site         apply.Site
	world        apply.World
	plan         func(context.Context, apply.World, apply.Job) (apply.Job, rollout.Plan, error)
}

type afterKey struct{}

// withAfter has after called when a step of a plan is done. Tests cut runs there.
func withAfter(ctx context.Context, after func(n int, s rollout.Step)) context.Context {
	return context.WithValue(ctx, afterKey{}, after)
}

// run does the work and prints its outcome.
func (d *deploy) run(ctx context.Context, c *cli.Context, make func(context.Context) (apply.Job, error)) error {
	o, err := d.work(ctx, c.Duration("wait-lock"), c.Bool("promote"), make)
	if err != nil {
		return err
	}
	return d.s.Result(o, o.text)
}

// work locks, makes the job, plans, walks, and writes the journal.
func (d *deploy) work(ctx context.Context, wait time.Duration, promote bool, make func(context.Context) (apply.Job, error)) (outcome, error) {
	look := func(ctx context.Context) (apply.Job, rollout.Plan, error) {
		job, err := make(ctx)
		if err != nil {
			return job, rollout.Plan{}, err
		}
		d.hide(job.Values)
		return d.plan(ctx, d.world, job)
	}
	if d.s.DryRun {
		job, p, err := look(ctx)
		if err != nil {
			return outcome{}, err
		}
		o := d.outcome(job, p)
		o.DryRun, o.Changed = true, len(p.Steps) > 0
		return o, nil
	}
	began := time.Now()
	var o outcome
	err := d.locked(ctx, wait, func(ctx context.Context) error {
		job, p, err := look(ctx)
		if err != nil {
			return err
		}
		o = d.outcome(job, p)
		if err := d.walk(ctx, job, p); err != nil {
			return err
		}
		o.Changed = len(p.Steps) > 0
		if promote {
			if o.Promoted, err = d.promote(ctx, job); err != nil {
				return err
			}
			o.Changed = o.Changed || o.Promoted
		}
		d.tidy(ctx, job, o.Changed)
		return d.show(ctx, &o)
	})
	d.journal(ctx, o, err, began)
	return o, err
}

func (d *deploy) outcome(job apply.Job, p rollout.Plan) outcome {
	w := job.Wanted
	o := outcome{App: d.app, Service: d.service, Release: w.Release, Image: w.Image, Steps: p.Steps, Notes: p.Notes, Instances: []live{}}
	o.DNS, o.FoundBy = fmt.Sprintf("%s.service.%s", w.Service.Name, d.site.Domain), rollout.FoundBy(w.Service)
	if o.Steps == nil {
		o.Steps = []planStep{}
	}
	return o
}

// hide keeps secrets out of everything that is printed from now on.
func (d *deploy) hide(v spec.Values) {
	for _, value := range v.Secrets {
		d.s.Hide(value)
	}
}

// walk tells each step and walks the plan.
func (d *deploy) walk(ctx context.Context, job apply.Job, p rollout.Plan) error {
	for _, n := range p.Notes {
		d.s.Say("note: %s", n)
	}
	after, _ := ctx.Value(afterKey{}).(func(int, rollout.Step))
	w := apply.Walker{
		World: d.world, Job: job, After: after,
		Tell: func(n, total int, s rollout.Step) { d.s.Say("%d/%d %s", n, total, s) },
		Progress: func(s rollout.Step) (fleet.Progress, func()) {
			return d.s.Progress(fmt.Sprintf("%s %s", s.Action, s.Target))
		},
	}
	return w.Walk(ctx, p)
}

// show fills in what runs now.
func (d *deploy) show(ctx context.Context, o *outcome) error {
	list, err := d.world.Views.Instances(ctx, d.app, d.service)
	if err != nil {
		return err
	}
	for _, i := range list {
		o.Instances = append(o.Instances, live{
			Name: i.Name, ID: i.Short(), Release: i.Release, State: string(i.State), Address: i.Address, Port: i.Port,
		})
	}
	return nil
}

// promote makes the job's release, with the image that was just proven here, the
// current one of this service.
func (d *deploy) promote(ctx context.Context, job apply.Job) (bool, error) {
	release, err := d.consul.Release(ctx, d.app, job.Wanted.Release)
	if err != nil {
		return false, err
	}
	current, err := d.consul.Current(ctx, d.app)
	if err != nil {
		return false, err
	}
	plan, err := planPromotion(promotion{
		app: d.app, release: release.Name, service: d.service, image: job.Wanted.Image,
		by: node.Who(d.w.getenv), now: d.w.now().UTC(),
	}, release, current)
	if err != nil {
		return false, err
	}
	return plan.carryOut(ctx, d.consul)
}

// journal writes the audit record of what changed something, or was meant to.
func (d *deploy) journal(ctx context.Context, o outcome, err error, began time.Time) {
	if d.consul == nil || err == nil && !o.Changed {
		return
	}
	a := fleet.Audit{
		At: began.UTC(), Node: d.site.Name, App: d.app, Service: d.service,
		Result: fault.KindOf(err).String(), Changed: o.Changed, Seconds: time.Since(began).Seconds(),
	}
	for _, s := range o.Steps {
		a.Plan = append(a.Plan, s.String())
	}
	if err != nil {
		a.Error = err.Error()
	}
	d.w.record(ctx, d.s, d.consul, a)
}

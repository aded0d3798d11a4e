package here

import (
	"context"
	"fmt"
	"time"

	"svckit/lib/apply"
	"svckit/lib/code"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/notify"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// Deploy is one call that changes a service on this node. The parts are there
// once one of the Open functions has returned.
type Deploy struct {
	Node         *Node
	Session      *tool.Session
	App, Service string
	Settings     node.Settings
	Engine       *docker.Engine
	Code         *code.Store
	Consul       *consul.Client // nil in local mode without an agent
	Agent        fleet.Agent
	Site         apply.Site
	World        apply.World
	// Plan turns the job into steps; apply.Plan unless a command sets another one.
	Plan func(context.Context, apply.World, apply.Job) (apply.Job, rollout.Plan, error)
	// Wait is how long the lock is waited for.
	Wait time.Duration
	// Then is called under the lock when the plan was walked; nil is allowed. It
	// reports whether it changed something.
	Then func(context.Context, apply.Job) (bool, error)
	// Tell sends a message to the webhooks of an app, after the work and outside
	// its lock. nil sends it at once and waits for at most notify.Limit.
	Tell func(ctx context.Context, to []string, m notify.Message)
}

// MakeJob says what a command wants, complete.
type MakeJob func(context.Context) (apply.Job, error)

type afterKey struct{}

// WithAfter has after called when a step of a plan is done. Tests cut runs there.
func WithAfter(ctx context.Context, after func(n int, s rollout.Step)) context.Context {
	return context.WithValue(ctx, afterKey{}, after)
}

// Run does the work and prints its outcome.
func (d *Deploy) Run(ctx context.Context, make MakeJob) error {
	o, err := d.Work(ctx, make)
	if err != nil {
		return err
	}
	return d.Session.Result(o, o.Text)
}

// Work locks, makes the job, plans, walks, and writes the journal.
func (d *Deploy) Work(ctx context.Context, make MakeJob) (Outcome, error) {
	look := func(ctx context.Context) (apply.Job, rollout.Plan, error) {
		job, err := make(ctx)
		if err != nil {
			return job, rollout.Plan{}, err
		}
		d.Hide(job.Values)
		return d.Plan(ctx, d.World, job)
	}
	if d.Session.DryRun {
		job, p, err := look(ctx)
		if err != nil {
			return Outcome{}, err
		}
		o := d.Outcome(job, p)
		o.DryRun, o.Changed = true, len(p.Steps) > 0
		return o, nil
	}
	began := time.Now()
	var o Outcome
	var to []spec.Notify
	err := d.Locked(ctx, d.Wait, func(ctx context.Context) error {
		job, p, err := look(ctx)
		to = job.Notify
		if err != nil {
			return err
		}
		o = d.Outcome(job, p)
		err = d.takenOut(ctx, p, func(ctx context.Context) error { return d.Walk(ctx, job, p, &o) })
		if err != nil {
			d.show(context.WithoutCancel(ctx), &o)
			return err
		}
		o.Changed = len(p.Steps) > 0
		if d.Then != nil {
			if o.Promoted, err = d.Then(ctx, job); err != nil {
				return err
			}
			o.Changed = o.Changed || o.Promoted
		}
		d.tidy(ctx, job, o.Changed)
		d.show(ctx, &o)
		return nil
	})
	d.journal(ctx, o, err, began)
	if worthTelling(ctx, err) {
		d.TellOf(ctx, to, d.Failure(o.Release, err))
	}
	return o, err
}

// Outcome is what a plan is about, before it is walked.
func (d *Deploy) Outcome(job apply.Job, p rollout.Plan) Outcome {
	w := job.Wanted
	o := Outcome{App: d.App, Service: d.Service, Release: w.Release, Image: w.Image, Steps: p.Steps, Notes: p.Notes, Instances: []Live{}}
	o.DNS, o.FoundBy = fmt.Sprintf("%s.service.%s", w.Service.Name, d.Site.Domain), rollout.FoundBy(w.Service)
	if o.Steps == nil {
		o.Steps = []rollout.Step{}
	}
	return o
}

// Hide keeps secrets out of everything that is printed from now on.
func (d *Deploy) Hide(v spec.Values) {
	for _, value := range v.Secrets {
		d.Session.Hide(value)
	}
}

// Walk tells each step, walks the plan, and notes in o what it left of each instance.
func (d *Deploy) Walk(ctx context.Context, job apply.Job, p rollout.Plan, o *Outcome) error {
	for _, n := range p.Notes {
		d.Session.Say("note: %s", n)
	}
	after, _ := ctx.Value(afterKey{}).(func(int, rollout.Step))
	w := apply.Walker{
		World: d.World, Job: job,
		After: func(n int, s rollout.Step) {
			o.Changed = o.Changed || rollout.Touches(s)
			if after != nil {
				after(n, s)
			}
		},
		Tell: func(n, total int, s rollout.Step) { d.Session.Say("%d/%d %s", n, total, s) },
		Progress: func(s rollout.Step) (fleet.Progress, func()) {
			return d.Session.Progress(fmt.Sprintf("%s %s", s.Action, s.Target))
		},
	}
	err := w.Walk(ctx, p)
	o.after = w.States
	return err
}

// show fills in what runs now; where that cannot be read, it is said.
func (d *Deploy) show(ctx context.Context, o *Outcome) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		d.Session.Log.Warn("what runs now is not known", "error", err)
	}
	for _, i := range list {
		o.Instances = append(o.Instances, Live{
			Name: i.Name, ID: i.Short(), Release: i.Release, State: string(i.State), Address: i.Address, Port: i.Port, After: o.after[i.Name],
		})
	}
}

// journal writes the audit record of what changed something, or was meant to.
func (d *Deploy) journal(ctx context.Context, o Outcome, err error, began time.Time) {
	if d.Consul == nil || err == nil && !o.Changed {
		return
	}
	a := fleet.Audit{
		At: began.UTC(), Node: d.Site.Name, App: d.App, Service: d.Service,
		Result: fault.KindOf(err).String(), Changed: o.Changed, Seconds: time.Since(began).Seconds(),
	}
	for _, s := range o.Steps {
		a.Plan = append(a.Plan, s.String())
	}
	if err != nil {
		a.Error = err.Error()
	}
	d.Node.Record(ctx, d.Session, d.Consul, a)
}

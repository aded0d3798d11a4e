package here

import (
	"context"
	"errors"
	"fmt"
	"time"

	"svckit/lib/apply"
	"svckit/lib/code"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// Reload is what a caller wants of a reload.
type Reload struct {
	Force bool // also where nothing is new
	Floor int  // instances of the fleet that must pass beside the one that is taken out; negative: half of them, at least 1
	// Patience is how long those others are waited for; 0 refuses at once when they are too few.
	Patience time.Duration
	Source   string    // folder with new code; "": the code stays
	Skip     code.Skip // what of Source is left out; nil: nothing more than Put leaves out
	Back     bool      // switch to the code that was current before
}

// FleetPatience is how long the rest of the fleet is waited for by default.
const FleetPatience = 5 * time.Minute

// codeKept is how many versions of its code a service keeps on a node.
const codeKept = 5

// Reload brings the config of now, and new code where it is given, into the
// instances that run here, each by the gentlest way that its master knows.
func (d *Deploy) Reload(ctx context.Context, r Reload) (Outcome, error) {
	o, err := d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return d.reloadJob(ctx, r) })
	if err == nil && o.Changed && r.Source != "" {
		d.pruneCode(ctx)
	}
	return o, err
}

// pruneCode removes old code, but none that a process still stands in: gunicorn ends when its folder is gone.
func (d *Deploy) pruneCode(ctx context.Context) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	var pids []int
	for _, i := range list {
		if i.State != fleet.Running || err != nil {
			continue
		}
		var processes []fleet.Process
		processes, err = d.World.Views.Processes(ctx, i.ID)
		for _, p := range processes {
			pids = append(pids, p.PID)
		}
	}
	if err == nil {
		_, err = d.Code.Prune(ctx, d.App, d.Service, codeKept, code.Standing(pids)...)
	}
	if err != nil {
		d.Session.Log.Warn("old code not removed", "error", err)
	}
}

func (d *Deploy) reloadJob(ctx context.Context, r Reload) (apply.Job, error) {
	job, err := d.running(ctx)
	if err != nil {
		return job, err
	}
	reload := &rollout.Reload{Force: r.Force, Floor: r.Floor, Patience: r.Patience}
	job.Wanted.Reload = reload
	if r.Source == "" && !r.Back {
		return job, nil
	}
	if job.Wanted.Service.Code.Mount == "" {
		return job, fault.WithHint(fault.New(fault.Refused, "%s/%s has no code on a volume: its image holds the code", d.App, d.Service),
			"build a release and `svc-run up` it, or give the service code.mount")
	}
	now, err := d.World.Volume.State(d.App, d.Service)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return job, err
	}
	reload.From = now.Generation
	if r.Back {
		reload.Code = now.Previous
		if reload.Code == "" {
			return job, fault.New(fault.NotFound, "%s/%s has no code from before on this node", d.App, d.Service)
		}
	} else if reload.Code, err = d.staged(ctx, r); err != nil {
		return job, err
	}
	if reload.Code != reload.From && !(d.Session.DryRun && r.Source != "") {
		job.Staged = reload.Code // a dry run has copied nothing that could be tried
	}
	return job, nil
}

// staged copies new code onto the node and names it; a dry run only names it.
func (d *Deploy) staged(ctx context.Context, r Reload) (string, error) {
	if d.Session.DryRun {
		return d.Code.Generation(ctx, r.Source, r.Skip)
	}
	return d.Code.Put(ctx, d.App, d.Service, r.Source, r.Skip)
}

// running is the job of what runs here. Where nothing runs, it is that of the
// app's release with no instance: code can be put there before the first start.
func (d *Deploy) running(ctx context.Context) (apply.Job, error) {
	job, err := AsItRuns(ctx, d)
	if !errors.Is(err, errNone) {
		return job, err
	}
	job, err = apply.Resolve(ctx, d.Consul, d.Site, apply.Request{App: d.App, Service: d.Service})
	if err == nil {
		d.Session.Say("note: nothing of %s/%s runs on this node", d.App, d.Service)
	}
	return job, err
}

// takenOut holds the lock of the whole fleet for a plan that takes instances out
// for a while: only one node may do so at a time.
func (d *Deploy) takenOut(ctx context.Context, p rollout.Plan, f func(context.Context) error) error {
	if d.Consul == nil || !rollout.TakesOut(p) {
		return f(ctx)
	}
	return d.holding(ctx, fmt.Sprintf("locks/%s/%s", d.App, d.Service), max(d.Wait, fleetWait), f)
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/deploy"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/notify"
	"svckit/lib/tool"
)

func deployAdvanceCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "advance", Usage: "close the batch that is done and open the next one, or turn back when a node failed", ArgsUsage: "APP",
		Description: `Nodes that have not said how their step ended are waited for by the next call; with --over nobody works at it any more, and they
have failed. A batch in which a service stops before it starts opens only while enough other nodes serve it. When the deploy turns
back because of its gate or smoke test, the release is marked failed, with the node, the check and what it said.`,
		Flags: []cli.Flag{
			runFlag(),
			&cli.BoolFlag{Name: "over", Usage: "every node has been called: who has not said how it ended has failed"},
			&cli.DurationFlag{Name: "wait-floor", Value: time.Minute, Usage: "wait up to `TIME` until enough other nodes serve, then refuse (exit 17)"},
			tool.DryRun(),
		},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := openDeployment(w, s, c)
			if err != nil {
				return err
			}
			return d.advance(ctx, c.Bool("over"), c.Duration("wait-floor"))
		}),
	}
}

// floorPause is how often it is looked whether enough nodes serve.
const floorPause = time.Second

func (d *deployment) advance(ctx context.Context, over bool, patience time.Duration) error {
	deadline := d.w.Now().Add(patience)
	for {
		st, err := d.read(ctx)
		if err != nil {
			return err
		}
		passing, err := d.passing(ctx, st)
		if err != nil {
			return err
		}
		var lacking []string
		var hold string
		next := func(st deploy.State) (deploy.State, error) {
			var to deploy.State
			to, lacking, hold = deploy.Advance(st, passing, over, d.w.Now().UTC())
			if d.s.DryRun {
				return to, errSame
			}
			d.turning(ctx, st, to)
			return to, nil
		}
		to, err := d.change(ctx, next)
		if err != nil {
			return err
		}
		if hold == "" {
			v := viewOf(to)
			v.Lacking, v.DryRun = lacking, d.s.DryRun
			return d.show(v)
		}
		if !d.w.Now().Before(deadline) {
			return fault.WithHint(fault.New(fault.Refused, "deploy %s: the next batch must not begin: %s", d.app, hold),
				"the deploy stays where it is; call advance again when they serve, or svc-run deploy abort %s", d.app)
		}
		d.s.Say("waiting: %s", hold)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(floorPause):
		}
	}
}

// passing are the nodes on which services that stop before they start pass now.
func (d *deployment) passing(ctx context.Context, st deploy.State) (deploy.Passing, error) {
	out := deploy.Passing{}
	if len(st.Tight) == 0 || !st.Active() {
		return out, nil
	}
	r, err := d.client.Release(ctx, d.app, st.Release)
	if err != nil {
		return nil, err
	}
	app, err := apply.SpecOf(r)
	if err != nil {
		return nil, err
	}
	for _, key := range st.Tight {
		s, _ := app.Service(key)
		found, err := d.client.Service(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Health == fleet.Passing && !slices.Contains(out[key], f.Node) {
				out[key] = append(out[key], f.Node)
			}
		}
	}
	return out, nil
}

// turning does what belongs to the moment in which a deploy turns back: the release is marked, people are told.
// It comes before the deploy is written: whoever is killed in between does it once more.
func (d *deployment) turning(ctx context.Context, from, to deploy.State) {
	if to.Failure == nil || from.Failure != nil {
		return
	}
	f := *to.Failure
	d.s.Say("turning back: %s", f.Words())
	r, err := d.client.Release(ctx, d.app, to.Release)
	if err != nil {
		d.s.Log.Warn("release not marked failed", "error", err)
		return
	}
	if f.OfRelease() && !to.IsStable() {
		err = d.client.MarkFailed(ctx, d.app, to.Release, fleet.Mark{Image: to.Image, By: node.Who(d.w.Getenv), At: d.w.Now().UTC(), Why: f.Words()})
		if err != nil {
			d.s.Log.Warn("release not marked failed", "error", err)
		}
	}
	d.record(ctx, d.w.Now(), []deploy.Step{{Do: "turn back", Why: f.Words()}}, false, nil)
	app, err := apply.SpecOf(r)
	if err != nil {
		return
	}
	var urls []string
	for _, n := range app.Notify {
		urls = append(urls, n.Webhook)
	}
	if len(urls) > 0 {
		m := notify.Message{
			At: d.w.Now().UTC(), Event: "deploy failed", Kind: fault.Unhealthy.String(), App: d.app, Service: f.Service, Node: f.Node,
			Program: d.s.Program, Release: to.Release, Message: d.s.Veil(f.Words()), Hint: "svc-run deploy status " + d.app,
		}
		if err := notify.New(d.s.Program).Send(context.WithoutCancel(ctx), urls, m); err != nil {
			d.s.Log.Warn("receiver not told", "event", m.Event, "error", err)
		}
	}
}

func deployFinishCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "finish", Usage: "make the release of a deploy current and stable, or say what failed", ArgsUsage: "APP",
		Description: `When every node is done, the release becomes the app's current one and is marked stable. When the deploy went back, it ends with
exit 16 and says which node failed at which check, and with exit 3 when a node could not be brought back.`,
		Flags:        []cli.Flag{runFlag(), tool.DryRun()},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := openDeployment(w, s, c)
			if err != nil {
				return err
			}
			return d.finish(ctx)
		}),
	}
}

func (d *deployment) finish(ctx context.Context) error {
	st, err := d.read(ctx)
	if err != nil {
		return err
	}
	if !st.Active() {
		if st.Result == deploy.Failed {
			return failedDeploy(st)
		}
		return d.show(viewOf(st))
	}
	if _, err := deploy.Finish(st, d.w.Now().UTC()); err != nil {
		return err
	}
	began := d.w.Now()
	changed, steps, err := d.promote(ctx, st)
	if err == nil && !d.s.DryRun {
		st, err = d.change(ctx, func(st deploy.State) (deploy.State, error) { return deploy.Finish(st, d.w.Now().UTC()) })
	}
	if !d.s.DryRun {
		d.record(ctx, began, append(steps, deploy.Step{Do: "end the deploy on " + strings.Join(st.Members(), ", "), Why: "every node is done"}), changed, err)
	}
	if err != nil {
		return err
	}
	v := viewOf(st)
	v.Changed, v.DryRun, v.Steps = changed || d.s.DryRun && len(steps) > 0, d.s.DryRun, steps
	return d.show(v)
}

// promote makes what was proven the current release.
func (d *deployment) promote(ctx context.Context, st deploy.State) (changed bool, steps []deploy.Step, err error) {
	release, err := d.client.Release(ctx, d.app, st.Release)
	if err != nil {
		return false, nil, err
	}
	current, err := d.client.Current(ctx, d.app)
	if err != nil {
		return false, nil, err
	}
	plan, err := planPromotion(promotion{
		app: d.app, release: st.Release, service: st.Only, image: st.Image, force: true, by: node.Who(d.w.Getenv), now: d.w.Now().UTC(),
	}, release, current)
	for _, s := range plan.Steps {
		steps = append(steps, deploy.Step(s))
	}
	if err == nil && !d.s.DryRun {
		changed, err = plan.carryOut(ctx, d.client)
	}
	return changed, steps, err
}

// failedDeploy is the end of a deploy that went back.
func failedDeploy(st deploy.State) error {
	e := fault.New(fault.Unhealthy, "deploy %s of %s failed: %s", st.Release, st.App, st.Failure.Words())
	if stuck := st.Stuck(); len(stuck) > 0 {
		e.Kind = fault.Partial
		for _, name := range stuck {
			line := name + " is not back"
			if why := st.Nodes[name].Why; why != nil {
				line += ": " + why.Words()
			}
			e.Detail = append(e.Detail, line)
		}
		return fault.WithHint(e, "mend these nodes, and deploy a stable release: svc-run deploy begin %s --rollback", st.App)
	}
	var back []string
	for _, key := range st.Services {
		if aim := st.Stable[key]; aim.Release != "" {
			back = append(back, fmt.Sprintf("%s runs %s", key, aim.Release))
		}
	}
	if len(back) > 0 {
		e.Detail = append(e.Detail, "what was changed is back: "+strings.Join(back, ", "))
	}
	return fault.WithHint(e, "svc-run deploy status %s; svc-run logs on %s", st.App, st.Failure.Node)
}

func deployAbortCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "abort", Usage: "turn a deploy back: what was changed goes back to the last stable release", ArgsUsage: "APP",
		Description:  `Steps of the nodes and "advance" carry the way back out, those of the run that is at it as well as by hand.`,
		Flags:        []cli.Flag{runFlag(), &cli.StringFlag{Name: "why", Value: "by hand", Usage: "for this `REASON`"}, tool.DryRun()},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := openDeployment(w, s, c)
			if err != nil {
				return err
			}
			began := w.Now()
			why := holderOf(w) + ": " + c.String("why")
			to, err := d.change(ctx, func(st deploy.State) (deploy.State, error) {
				passing, err := d.passing(ctx, st)
				if err != nil {
					return st, err
				}
				to, hold, err := deploy.Abort(st, why, passing, w.Now().UTC())
				switch {
				case err != nil:
					return st, err
				case hold != "":
					return st, fault.New(fault.Refused, "abort deploy of %s: the way back must not begin: %s", d.app, hold)
				case s.DryRun:
					return to, errSame
				}
				return to, nil
			})
			if err != nil {
				return err
			}
			if !s.DryRun {
				d.record(ctx, began, []deploy.Step{{Do: "turn back", Why: why}}, false, nil)
			}
			v := viewOf(to)
			v.DryRun = s.DryRun
			return d.show(v)
		}),
	}
}

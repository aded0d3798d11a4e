package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

func drainCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "take everything on this node out of Consul and DNS for a while; it runs on", ArgsUsage: "[APP[/SERVICE]]",
		Description: `One instance after the other is put into Consul's maintenance, with an end, and drained, each only while enough others
of its service pass in the fleet. It is refused as a whole, and nothing is touched, when a service would be left with too few.
What is out returns by "svc-run return", or at the end by itself where scaled node runs.
What the autoscaler placed here moves with "scaled pool drain", which comes first.`,
		BashComplete: serviceNames(w),
		Flags: append(deployFlags(),
			&cli.DurationFlag{Name: "for", Value: time.Hour, Usage: "out for at most `TIME`"},
			&cli.IntFlag{Name: "floor", Value: -1, DefaultText: "half of them, at least 1", Usage: "`N` instances of each service must pass beside one that is taken out"},
			&cli.DurationFlag{Name: "wait-floor", Value: here.FleetPatience, Usage: "wait up to `TIME` for those others before it is refused"},
			&cli.StringFlag{Name: "why", Value: "the node is emptied", Usage: "`REASON`, for those who read it later"},
		),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if c.Duration("for") < time.Second {
				return fault.New(fault.Usage, "--for %s: expected a second or more", c.Duration("for"))
			}
			reload := &rollout.Reload{Floor: c.Int("floor"), Patience: c.Duration("wait-floor"), Hold: w.Now().Add(c.Duration("for"))}
			return turn(ctx, w, s, c, reload, apply.PlanDrain(c.String("why")))
		}),
	}
}

func returnCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "return", Usage: "let what drain took out be found again, each instance once it is well", ArgsUsage: "[APP[/SERVICE]]",
		BashComplete: serviceNames(w), Flags: deployFlags(),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return turn(ctx, w, s, c, nil, apply.PlanReturn)
		}),
	}
}

// turned is what drain and return print.
type turned struct {
	Changed  bool           `json:"changed"`
	DryRun   bool           `json:"dry_run,omitempty"`
	Services []here.Outcome `json:"services"`
}

func (o turned) text(w io.Writer) {
	for _, s := range o.Services {
		fmt.Fprintf(w, "%s/%s:\n", s.App, s.Service)
		for _, step := range s.Steps {
			fmt.Fprintf(w, "  %s\n", step)
		}
	}
	if len(o.Services) == 0 {
		fmt.Fprintln(w, "nothing to do on this node")
	}
}

type planning = func(context.Context, apply.World, apply.Job) (apply.Job, rollout.Plan, error)

// turn plans for every service of the node before it walks the plan of any: one that is refused stops all.
func turn(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context, reload *rollout.Reload, plan planning) error {
	of, err := restorable(w, s.Args)
	if err != nil {
		return err
	}
	targets, err := registeredHere(ctx, w, s, of)
	if err != nil {
		return err
	}
	out, todo, failures := turned{DryRun: s.DryRun, Services: []here.Outcome{}}, []*here.Deploy(nil), []error(nil)
	job := func(d *here.Deploy) here.MakeJob {
		return func(ctx context.Context) (apply.Job, error) {
			job, err := here.Leaving(ctx, d)
			job.Wanted.Reload = reload
			return job, err
		}
	}
	listed := &apply.Listed{}
	for _, t := range targets {
		d, err := here.OpenService(ctx, w, s, t)
		if err != nil {
			return err
		}
		d.Plan, d.Wait = plan, c.Duration("wait-lock")
		j, p, err := glance(ctx, d, listed, job(d))
		if err != nil {
			failures = append(failures, err)
		} else if len(p.Steps) > 0 {
			todo = append(todo, d)
			if s.DryRun {
				out.Services = append(out.Services, d.Outcome(j, p))
			}
		}
	}
	if err := refused(failures); err != nil {
		return err
	}
	if out.Changed = len(todo) > 0; s.DryRun {
		return s.Result(out, out.text)
	}
	for n, d := range todo {
		o, err := d.Work(ctx, job(d))
		if err != nil && n > 0 {
			e := fault.New(fault.Partial, "%s/%s: %w", d.App, d.Service, err)
			e.Detail = append([]string{fmt.Sprintf("%d of %d services were done before", n, len(todo))}, fault.DetailOf(err)...)
			return e
		}
		if err != nil {
			return fmt.Errorf("%s/%s: %w", d.App, d.Service, err)
		}
		out.Services = append(out.Services, o)
	}
	return s.Result(out, out.text)
}

// glance plans for a service from containers that are listed once for all services.
func glance(ctx context.Context, d *here.Deploy, listed *apply.Listed, job here.MakeJob) (apply.Job, rollout.Plan, error) {
	views := d.World.Views
	defer func() { d.World.Views = views }() // what is walked is planned again
	if listed.Views == nil {
		listed.Views = views
	}
	d.World.Views = listed
	j, err := job(ctx)
	if err != nil {
		return j, rollout.Plan{}, err
	}
	return d.Plan(ctx, d.World, j)
}

// refused is the one error for all services that cannot be drained; nothing was touched.
func refused(failures []error) error {
	if len(failures) < 2 {
		return slices.Concat(failures, []error{nil})[0]
	}
	e := fault.New(fault.KindOf(failures[0]), "%d services: nothing was touched", len(failures))
	for _, f := range failures {
		e.Detail = append(e.Detail, f.Error())
	}
	e.Hint = fault.HintOf(failures[0])
	return e
}

// registeredHere names the services with a container on this node that Consul knows, sorted.
func registeredHere(ctx context.Context, w *here.Node, s *tool.Session, of here.Target) ([]here.Target, error) {
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	known, err := client.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	var out []here.Target
	for _, r := range known {
		t := here.Target{App: r.Meta[fleet.MetaApp], Service: r.Meta[fleet.MetaService]}
		if t.App != "" && t.Service != "" && (of.App == "" || of.App == t.App) && (of.Service == "" || of.Service == t.Service) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b here.Target) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out), nil
}

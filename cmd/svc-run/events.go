package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/events"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func eventsCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "tell what changes in the fleet, one JSON document a line", ArgsUsage: "[APP[/SERVICE]]",
		Description: `Tells of instances, health, releases, deploys, scaling decisions, freezes and loans, out of Consul. First
comes what is there, marked as initial, then a line "ready", and with --follow every change from then on.
With --state FILE the stream goes on where it ended: what differs from what was told last is told first. What
happened and was undone while nobody listened cannot be seen, but for scaling decisions, of which the planner
keeps some. A value that cannot be read is an event of its own, and what was told of it stays. While Consul is
away nothing is told but that. docs/events.md describes every event.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until interrupted"},
			&cli.StringFlag{Name: "state", Usage: "go on from `FILE`, and keep there what was told last"},
			&cli.BoolFlag{Name: "new", Usage: "leave out what was there when the stream began"},
			&cli.StringSliceFlag{Name: "kind", Usage: "only events of `KIND`, more than one with commas: " + strings.Join(kindNames(), ", ")},
			&cli.StringFlag{Name: "zone", Usage: "only instances in `ZONE`"},
		},
		BashComplete: serviceNames(w),
		Action: func(c *cli.Context) error {
			run := func(ctx context.Context, s *tool.Session, c *cli.Context) error { return runEvents(ctx, w, s, c) }
			if c.Bool("follow") {
				return tool.Daemon(run)(c)
			}
			return tool.Action(run)(c)
		},
	}
}

func kindNames() (out []string) {
	for _, k := range events.Kinds()[1:] { // the stream's own always come
		out = append(out, string(k))
	}
	return out
}

func runEvents(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	filter, err := eventFilter(w, c)
	if err != nil {
		return err
	}
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	agent, err := client.Self(ctx)
	if err != nil {
		return err
	}
	of := events.Of{Datacenter: agent.Datacenter, Prefix: settings.Prefix, App: filter.App}
	stream, err := openStream(c.String("state"), of, filter)
	if err != nil {
		return err
	}
	t := &teller{stream: stream, of: of, file: c.String("state"), fresh: c.Bool("new"), out: s.Stdout, now: w.Now}
	job := consul.Fleet{App: filter.App, Services: stream.Services(), Apps: stream.Apps(), Indexes: stream.Indexes()}
	if err := client.Look(ctx, job, t.look); err != nil {
		return err
	}
	if err := t.begin(); err != nil {
		return err
	}
	if !c.Bool("follow") {
		return t.save()
	}
	job.Services, job.Apps, job.Indexes = stream.Services(), stream.Apps(), stream.Indexes()
	return t.follow(ctx, func(ctx context.Context, tell func(consul.PartNews)) { client.FollowFleet(ctx, job, tell) })
}

func eventFilter(w *here.Node, c *cli.Context) (events.Filter, error) {
	f := events.Filter{Zone: c.String("zone")}
	for _, k := range strings.Split(strings.Join(c.StringSlice("kind"), ","), ",") {
		if k == "" {
			continue
		}
		if !slices.Contains(kindNames(), k) {
			return f, fault.WithHint(fault.New(fault.Usage, "no kind of event %q", k), "kinds are %s", strings.Join(kindNames(), ", "))
		}
		f.Kinds = append(f.Kinds, events.Kind(k))
	}
	arg := c.Args().First()
	if arg == "" {
		return f, nil
	}
	t, _, err := w.Target(arg)
	f.App, f.Service = t.App, t.Service
	return f, err
}

// openStream begins, or goes on from a file that is there.
func openStream(file string, of events.Of, f events.Filter) (*events.Stream, error) {
	if file == "" {
		return events.Begin(f), nil
	}
	in, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return events.Begin(f), nil
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read resume point: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, events.MaxPoint+1))
	if err != nil {
		return nil, fault.New(fault.Failed, "read resume point: %w", err)
	}
	return events.Resume(text, of, f)
}

// saveEach is how long the resume point may be behind what was told.
const saveEach = time.Second

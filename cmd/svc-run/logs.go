package main

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func logsCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "show the output of a service on this node", ArgsUsage: "[APP/SERVICE]",
		Description: `Output of several instances is merged by time, each line led by its instance.
With one instance its stdout and stderr stay apart. -f goes on when the instance
is replaced: the new one is followed too.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with new output until interrupted"},
			&cli.IntFlag{Name: "tail", Value: 200, Usage: "begin with the last `N` lines of each instance; 0: all"},
			&cli.DurationFlag{Name: "since", Usage: "only what is younger than `AGE`, e.g. 10m"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "begin each line with its time"},
		},
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if c.Int("tail") < 0 || c.Duration("since") < 0 {
				return fault.New(fault.Usage, "--tail and --since must not be negative")
			}
			if s.JSON {
				return fault.WithHint(fault.New(fault.Usage, "logs are text, there is no --json for them"), "--timestamps begins each line with its time")
			}
			t, _, err := w.Target(c.Args().First())
			if err != nil {
				return err
			}
			engine, err := w.Docker(ctx, s)
			if err != nil {
				return err
			}
			settings, err := w.Settings(s)
			if err != nil {
				return err
			}
			j := logsJob{
				engine: engine, target: t, prefix: settings.Prefix, timestamps: c.Bool("timestamps"),
				options: docker.LogOptions{Tail: c.Int("tail")}, stdout: s.Stdout, stderr: s.Stderr,
				say: s.Say, every: time.Second,
			}
			if age := c.Duration("since"); age > 0 {
				j.options.Since = w.Now().Add(-age)
			}
			if c.Bool("follow") {
				return j.follow(ctx)
			}
			return j.show(ctx)
		}),
	}
}

// logsEngine is what logs asks of the engine.
type logsEngine interface {
	Instances(ctx context.Context, app, service string) ([]fleet.Instance, error)
	Logs(ctx context.Context, id string, o docker.LogOptions, stdout, stderr io.Writer) error
}

// logsJob is one call of logs.
type logsJob struct {
	engine         logsEngine
	target         here.Target
	prefix         string // instances of another prefix are not ours
	options        docker.LogOptions
	timestamps     bool
	stdout, stderr io.Writer
	say            func(format string, args ...any)
	every          time.Duration // between two looks for new instances
}

func (j logsJob) instances(ctx context.Context) ([]fleet.Instance, error) {
	all, err := j.engine.Instances(ctx, j.target.App, j.target.Service)
	var ours []fleet.Instance
	for _, i := range all {
		if i.Prefix == "" || i.Prefix == j.prefix {
			ours = append(ours, i)
		}
	}
	return ours, err
}

// name is how lines of an instance are led.
func name(i fleet.Instance) string { return i.Service + "/" + i.Short() }

// show prints what is there.
func (j logsJob) show(ctx context.Context) error {
	found, err := j.instances(ctx)
	if err != nil {
		return err
	}
	switch len(found) {
	case 0:
		return fault.WithHint(fault.New(fault.NotFound, "show logs of %s: no instance on this node", j.target), "svc-run ps --fleet %s shows where it runs", j.target)
	case 1:
		j.options.Timestamps = j.timestamps
		return j.engine.Logs(ctx, found[0].ID, j.options, j.stdout, j.stderr)
	}
	return j.merge(ctx, found)
}

package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func upCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "up",
		Usage:     "bring a service on this node to its release and config, start first, without losing a request",
		ArgsUsage: "[APP/]SERVICE",
		Description: "Takes the lock, resolves the release by digest, merges config from Consul, plans, and walks the plan:\n" +
			"new containers are started, gated by their check, registered and found by DNS before old ones are drained\n" +
			"and stopped. When the new version does not become well, the old one keeps serving (exit 16).\n" +
			"Running it twice changes nothing the second time. On a node from which the service is drained, what is\n" +
			"new stays out of DNS, too, until `svc-run return`.",
		Flags: append(deployFlags(),
			&cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "move this node to `RELEASE` (default: the app's current one, else the newest)"},
			&cli.IntFlag{Name: "instances", Value: 1, DefaultText: "what the autoscaler wants on this node, else 1", Usage: "run `N` instances on this node"},
			&cli.BoolFlag{Name: "promote", Usage: "afterwards make the release the app's current one and mark it stable"},
			&cli.BoolFlag{Name: "local", Usage: "take the spec from --file and the image from --image, and use nothing of Consul's KV"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Value: "app.yaml", Usage: "with --local: the spec"},
			&cli.StringFlag{Name: "image", Usage: "with --local: the image, `REF`; a tag is resolved to its digest first"},
			&cli.StringFlag{Name: "env-file", Usage: "with --local: config from `FILE` of KEY=VALUE lines (default: the last good config of this node)"},
		),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if c.Bool("local") {
				return upLocal(ctx, w, s, c)
			}
			return up(ctx, w, s, c)
		}),
	}
}

// deployFlags are the flags of every command that walks a plan.
func deployFlags() []cli.Flag {
	return []cli.Flag{
		tool.DryRun(),
		&cli.DurationFlag{Name: "wait-lock", Usage: "wait up to `TIME` for the lock instead of ending with exit 14"},
	}
}

func up(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	if c.IsSet("image") || c.IsSet("env-file") || c.IsSet("file") {
		return fault.WithHint(fault.New(fault.Usage, "--file, --image and --env-file need --local"), "otherwise releases and config come from Consul")
	}
	d, err := open(ctx, w, s, c)
	if err != nil {
		return err
	}
	return d.Run(ctx, func(ctx context.Context) (apply.Job, error) {
		count := c.Int("instances")
		if !c.IsSet("instances") {
			if count, err = d.Count(ctx); err != nil {
				return apply.Job{}, err
			}
		}
		job, err := apply.Resolve(ctx, d.Consul, d.Site, apply.Request{App: d.App, Service: d.Service, Release: c.String("release"), Count: count})
		if err == nil && !c.IsSet("instances") {
			job, err = d.Exact(ctx, job)
		}
		return job, err
	})
}

// open opens the service that a command is called on, with what deployFlags say.
func open(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) (*here.Deploy, error) {
	d, err := here.Open(ctx, w, s)
	if err != nil {
		return nil, err
	}
	d.Wait = c.Duration("wait-lock")
	if c.Bool("promote") {
		d.Then = func(ctx context.Context, job apply.Job) (bool, error) { return promoteHere(ctx, d, job) }
	}
	return d, nil
}

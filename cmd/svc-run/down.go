package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func downCommand(w *here.Node) *cli.Command {
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

func down(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	d, err := open(ctx, w, s, c)
	if err != nil {
		return err
	}
	d.Plan = apply.PlanDown
	return d.Run(ctx, func(ctx context.Context) (apply.Job, error) { return here.Leaving(ctx, d) })
}

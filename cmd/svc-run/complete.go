package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"svckit/lib/here"
	"svckit/lib/tool"
)

// serviceNames completes APP/SERVICE.
func serviceNames(w *here.Node) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		return w.ServiceNames(ctx, c.String("config"), want)
	})
}

// appNames completes APP and, after it, RELEASE.
func appNames(w *here.Node) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		return w.AppNames(ctx, c.String("config"), want)
	})
}

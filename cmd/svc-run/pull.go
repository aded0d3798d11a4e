package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func pullCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "bring the image of a release to this node, and change nothing that runs", ArgsUsage: "[APP/]SERVICE",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "the image of `RELEASE` (default: the app's current one, else the newest)"},
			tool.DryRun(),
		},
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := here.Open(ctx, w, s)
			if err != nil {
				return err
			}
			release, err := apply.Choose(ctx, d.Consul, d.App, d.Service, c.String("release"))
			if err != nil {
				return err
			}
			out := pullResult{App: d.App, Release: release.Name, Image: release.Image, DryRun: s.DryRun}
			_, err = d.World.Images.Image(ctx, release.Image)
			out.Changed = errors.Is(err, fleet.ErrNotFound)
			if err != nil && !out.Changed {
				return err
			}
			if out.Changed && !s.DryRun {
				p, done := s.Progress("pull " + release.Image)
				defer done()
				if err := d.World.Images.Pull(ctx, release.Image, p); err != nil {
					return fault.WithHint(err, "svc-run doctor looks at the registry")
				}
			}
			return s.Result(out, out.write)
		}),
	}
}

// pullResult is what pull prints.
type pullResult struct {
	App     string `json:"app"`
	Release string `json:"release"`
	Image   string `json:"image"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Changed bool   `json:"changed"`
}

func (r pullResult) write(w io.Writer) {
	switch {
	case !r.Changed:
		fmt.Fprintf(w, "%s is here\n", r.Image)
	case r.DryRun:
		fmt.Fprintf(w, "would pull %s\n", r.Image)
	default:
		fmt.Fprintf(w, "pulled %s\n", r.Image)
	}
}

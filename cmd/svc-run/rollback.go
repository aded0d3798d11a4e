package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func rollbackCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "rollback",
		Usage:     "bring a service on this node back to the last release marked stable, through the same gate",
		ArgsUsage: "[APP/]SERVICE",
		Description: "Without --release it goes to the release that was marked stable most recently and does not run here now,\n" +
			"by the digest that was marked. The number of instances stays. `current` stays too, unless --promote is given:\n" +
			"a later `up` would go back to it.",
		Flags: append(deployFlags(),
			&cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "go back to `RELEASE`"},
			&cli.BoolFlag{Name: "promote", Usage: "afterwards make that release the app's current one"},
		),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return rollback(ctx, w, s, c)
		}),
	}
}

func rollback(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	d, err := open(ctx, w, s, c)
	if err != nil {
		return err
	}
	err = d.Run(ctx, func(ctx context.Context) (apply.Job, error) { return goingBack(ctx, d, c.String("release")) })
	if err == nil && !c.Bool("promote") && !s.DryRun {
		s.Say("note: the app's current release was not moved; `svc-run promote` moves it for the whole fleet")
	}
	return err
}

// goingBack is the job of a rollback: as many instances as run now, of the
// stable release.
func goingBack(ctx context.Context, d *here.Deploy, asked string) (apply.Job, error) {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return apply.Job{}, err
	}
	var images []string
	for _, i := range list {
		if i.State == fleet.Running {
			images = append(images, i.Image)
		}
	}
	release, err := stable(ctx, d, asked, images)
	if err != nil {
		return apply.Job{}, err
	}
	return apply.ResolveRelease(ctx, d.Consul, d.Site, release, d.Service, max(len(images), 1))
}

func stable(ctx context.Context, d *here.Deploy, asked string, running []string) (fleet.Release, error) {
	if asked != "" {
		return d.Consul.Release(ctx, d.App, asked)
	}
	list, bad, err := d.Consul.Releases(ctx, d.App)
	if err != nil {
		return fleet.Release{}, err
	}
	if r, ok := apply.LastStable(list, running); ok {
		return r, nil
	}
	e := fault.New(fault.NotFound, "app %s has no stable release other than what runs here", d.App)
	e.Detail = bad
	return fleet.Release{}, fault.WithHint(e, "svc-run releases %s lists them; --release names one", d.App)
}

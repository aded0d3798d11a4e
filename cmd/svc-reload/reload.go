package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/source"
	"svckit/lib/tool"
)

func reloadCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Usage:     "bring new code and config into a running service, verified, without losing a request",
		ArgsUsage: "[APP/]SERVICE",
		Description: `Reloads every instance of the service on this node that has something new to load, one at a time: code on the
node's volume (--source puts it there), files and secrets rendered again from Consul. It decides for each between

  signal    gunicorn replaces its workers on HUP; each ends its request first
  chain     uwsgi with lazy-apps replaces one worker after the other
  aside     out of DNS by Consul's maintenance, HUP, proof, in again: for masters that let nobody in while they load
  replace   a new container through the gate, as svc-run up does: changed image, spec or variables, no master, preload

and says why; --dry-run prints it. Before a master is told anything, a process beside it loads the new code: what
does not load is refused (17) and touches nothing. Afterwards it is proven that the container and the master are the
same, that every worker from before is gone, and that as many new ones serve well. An app that shows its generation
in the header Svc-Generation of its health check must show the new one.

It ends with 15 when the signal was sent and the old workers still serve, with 16 when the new version is not well
(what was before is brought back, or the instance is left out of DNS for a while), with 3 when only some instances
were reloaded. The state of every instance is printed in any case.`,
		Flags: append(sharedFlags(),
			&cli.StringFlag{Name: "source", Usage: "put the code in `DIR` on the node's volume first, and make it current when it is known to load"},
			&cli.BoolFlag{Name: "force", Usage: "reload also what has nothing new to load"},
		),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			r := here.Reload{Force: c.Bool("force"), Floor: floor(c), Patience: c.Duration("wait-floor")}
			if c.IsSet("source") {
				var err error
				if r.Source, err = filepath.Abs(c.String("source")); err != nil {
					return err
				}
				if r.Skip, err = source.Ignored(r.Source, ".svcignore", ".dockerignore"); err != nil {
					return err
				}
			}
			return reload(ctx, w, s, c, r)
		}),
	}
}

func rollbackCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "rollback",
		Usage:     "make the code from before current again on this node, and reload",
		ArgsUsage: "[APP/]SERVICE",
		Description: `Code on the node's volume is kept in versions; the one that was current before the last switch becomes current
again, through the same preflight and proof. Twice is there and back. A release goes back by svc-run rollback.`,
		Flags:        sharedFlags(),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return reload(ctx, w, s, c, here.Reload{Back: true, Floor: floor(c), Patience: c.Duration("wait-floor")})
		}),
	}
}

// sharedFlags are those of both ways of reloading.
func sharedFlags() []cli.Flag {
	return []cli.Flag{
		tool.DryRun(),
		&cli.IntFlag{Name: "floor", DefaultText: "half of them, at least 1", Usage: "`N` instances of the fleet must pass beside one that is taken out of DNS; 0 accepts that clients wait"},
		&cli.DurationFlag{Name: "wait-floor", Value: here.FleetPatience, Usage: "wait up to `TIME` for those others before it is refused"},
		&cli.DurationFlag{Name: "wait-lock", Usage: "wait up to `TIME` for the lock instead of ending with exit 14"},
	}
}

func floor(c *cli.Context) int {
	if c.IsSet("floor") {
		return c.Int("floor")
	}
	return -1
}

// reload does the work and prints what each instance was left in, also after a failure.
func reload(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context, r here.Reload) error {
	if c.IsSet("floor") && c.Int("floor") < 0 {
		return fault.New(fault.Usage, "--floor %d: expected 0 or more", c.Int("floor"))
	}
	d, err := here.Open(ctx, w, s)
	if err != nil {
		return err
	}
	d.Wait = c.Duration("wait-lock")
	o, err := d.Reload(ctx, r)
	if err != nil && len(o.Instances) == 0 {
		return err
	}
	return errors.Join(err, s.Result(o, o.Text))
}

func serviceNames(w *here.Node) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		return w.ServiceNames(ctx, c.String("config"), want)
	})
}

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

func upCommand(w *world) *cli.Command {
	return &cli.Command{
		Name:      "up",
		Usage:     "bring a service on this node to its release and config, start first, without losing a request",
		ArgsUsage: "[APP/]SERVICE",
		Description: "Takes the lock, resolves the release by digest, merges config from Consul, plans, and walks the plan:\n" +
			"new containers are started, gated by their check, registered and found by DNS before old ones are drained\n" +
			"and stopped. When the new version does not become well, the old one keeps serving (exit 16).\n" +
			"Running it twice changes nothing the second time.",
		Flags: append(deployFlags(),
			&cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "move this node to `RELEASE` (default: the app's current one, else the newest)"},
			&cli.IntFlag{Name: "instances", Value: 1, Usage: "run `N` instances on this node"},
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

func up(ctx context.Context, w *world, s *tool.Session, c *cli.Context) error {
	if c.IsSet("image") || c.IsSet("env-file") || c.IsSet("file") {
		return fault.WithHint(fault.New(fault.Usage, "--file, --image and --env-file need --local"), "otherwise releases and config come from Consul")
	}
	d, err := openDeploy(ctx, w, s)
	if err != nil {
		return err
	}
	return d.run(ctx, c, func(ctx context.Context) (apply.Job, error) {
		return apply.Resolve(ctx, d.consul, d.site, apply.Request{App: d.app, Service: d.service, Release: c.String("release"), Count: c.Int("instances")})
	})
}

// outcome is what up, down and rollback print.
type outcome struct {
	App       string     `json:"app"`
	Service   string     `json:"service"`
	Release   string     `json:"release,omitempty"`
	Image     string     `json:"image,omitempty"`
	DNS       string     `json:"dns"`
	FoundBy   string     `json:"found_by"` // SRV: clients need the port of the answer; A: an address is enough; "": it has no port
	Changed   bool       `json:"changed"`
	DryRun    bool       `json:"dry_run,omitempty"`
	Promoted  bool       `json:"promoted,omitempty"`
	Steps     []planStep `json:"steps"`
	Notes     []string   `json:"notes,omitempty"`
	Instances []live     `json:"instances"`
}

type planStep = rollout.Step

// live is one instance as a result shows it.
type live struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Release string `json:"release"`
	State   string `json:"state"`
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// text prints the outcome for people: the plan when it is a dry run, else what runs now.
func (o outcome) text(w io.Writer) {
	if o.DryRun {
		for n, s := range o.Steps {
			fmt.Fprintf(w, "%d. %s\n", n+1, s)
		}
		for _, n := range o.Notes {
			fmt.Fprintf(w, "note: %s\n", n)
		}
		if len(o.Steps) == 0 {
			fmt.Fprintf(w, "%s/%s: nothing to do\n", o.App, o.Service)
		}
		return
	}
	if !o.Changed {
		fmt.Fprintf(w, "%s/%s: nothing to do\n", o.App, o.Service)
	}
	for _, i := range o.Instances {
		at := ""
		if i.Port > 0 {
			at = fmt.Sprintf(" at %s:%d", i.Address, i.Port)
		}
		fmt.Fprintf(w, "%s/%s: %s runs release %s%s, found as %s%s\n", o.App, o.Service, i.Name, i.Release, at, o.DNS, by(o.FoundBy))
	}
	if len(o.Instances) == 0 {
		fmt.Fprintf(w, "%s/%s: nothing runs on this node\n", o.App, o.Service)
	}
}

// by renders how clients find a service, for a line of text.
func by(found string) string {
	if found == "" {
		return ""
	}
	return " by " + found
}

package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func psCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "ps", Usage: "show the instances of services on this node", ArgsUsage: "[APP[/SERVICE]]",
		Description: `Shows each container of a service with what Consul says of it. A ghost is a
registration whose container is gone; "unregistered" is a container that Consul
does not know. The next "up" of the service mends both.
With --fleet it shows the instances on all nodes, as Consul's catalog has them.`,
		Flags:        []cli.Flag{&cli.BoolFlag{Name: "fleet", Usage: "show all nodes, by zone"}},
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			var t here.Target
			if arg := c.Args().First(); arg != "" {
				var err error
				if t, _, err = w.Target(arg); err != nil {
					return err
				}
			}
			if c.Bool("fleet") {
				return psFleet(ctx, w, s, t)
			}
			return psNode(ctx, w, s, t)
		}),
	}
}

func psNode(ctx context.Context, w *here.Node, s *tool.Session, t here.Target) error {
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return err
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	seen, err := lookNode(ctx, engine, client, t)
	if err != nil {
		return err
	}
	seen.prefix = settings.Prefix
	list := nodeList(seen, t, w.Now())
	if err := s.Result(list, func(out io.Writer) { list.write(out, s) }); err != nil {
		return err
	}
	return seen.consul // what is known was shown
}

// nodeEngine and nodeAgent are what ps asks on a node.
type nodeEngine interface {
	Instances(ctx context.Context, app, service string) ([]fleet.Instance, error)
	Info(ctx context.Context) (fleet.Engine, error)
}

type nodeAgent interface {
	Registrations(ctx context.Context) ([]fleet.Registration, error)
	Self(ctx context.Context) (fleet.Agent, error)
}

// seenNode is a snapshot of a node.
type seenNode struct {
	prefix        string
	engine        fleet.Engine
	agent         fleet.Agent
	instances     []fleet.Instance
	registrations []fleet.Registration
	consul        error // why health is not known
}

// lookNode takes a snapshot. Consul may be away: then the containers alone are seen.
func lookNode(ctx context.Context, engine nodeEngine, agent nodeAgent, t here.Target) (seenNode, error) {
	var seen seenNode
	var err error
	// First the registrations: what is registered afterwards must not look like one without a container.
	if seen.agent, seen.consul = agent.Self(ctx); seen.consul == nil {
		seen.registrations, seen.consul = agent.Registrations(ctx)
	}
	if seen.instances, err = engine.Instances(ctx, t.App, t.Service); err != nil {
		return seen, err
	}
	if seen.engine, err = engine.Info(ctx); err != nil {
		return seen, err
	}
	if ctx.Err() != nil {
		return seen, ctx.Err()
	}
	return seen, nil
}

// catalog is what ps --fleet asks.
type catalog interface {
	Apps(ctx context.Context) ([]string, error)
	Releases(ctx context.Context, app string) ([]fleet.Release, []string, error)
	Current(ctx context.Context, app string) (fleet.Current, error)
	Service(ctx context.Context, name string) ([]fleet.Registration, error)
}

func psFleet(ctx context.Context, w *here.Node, s *tool.Session, t here.Target) error {
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	agent, err := client.Self(ctx)
	if err != nil {
		return err
	}
	found, err := lookFleet(ctx, client, t)
	if err != nil {
		return err
	}
	list := fleetList(found, agent)
	return s.Result(list, func(out io.Writer) { list.write(out, s) })
}

// lookFleet finds the instances of every service that the apps' releases name.
func lookFleet(ctx context.Context, c catalog, t here.Target) ([]fleet.Registration, error) {
	apps := []string{t.App}
	if t.App == "" {
		var err error
		if apps, err = c.Apps(ctx); err != nil {
			return nil, err
		}
	}
	var found []fleet.Registration
	for _, app := range apps {
		names, err := consulNames(ctx, c, app, t.Service)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			list, err := c.Service(ctx, name)
			if err != nil {
				return nil, err
			}
			for _, r := range list {
				if r.Meta[fleet.MetaOwner] != "" && r.Meta[fleet.MetaApp] == app {
					found = append(found, r)
				}
			}
		}
	}
	return found, nil
}

// consulNames are the names under which an app's services may be registered:
// those of the releases that run now, and of the newest one.
func consulNames(ctx context.Context, c catalog, app, service string) ([]string, error) {
	releases, _, err := c.Releases(ctx, app)
	if err != nil {
		return nil, err
	}
	current, err := c.Current(ctx, app)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, p := range current.Services {
		wanted[p.Release], wanted[p.Previous] = true, true
	}
	var names []string
	for i, r := range releases {
		if i > 0 && !wanted[r.Name] {
			continue
		}
		decoded, _ := spec.Decode(r.Name, []byte(r.Spec))
		for _, s := range decoded.Services {
			if service == "" || s.Key == service {
				names = append(names, s.Name)
			}
		}
	}
	return sorted(names), nil
}

package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/monitor"
	"svckit/lib/node"
	"svckit/lib/nodeagent"
	"svckit/lib/spec"
	"svckit/lib/systemd"
	"svckit/lib/tool"
)

// nodePort is where samples are served when nobody says otherwise.
const nodePort = 9654

func nodeCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:  "node",
		Usage: "watch the services of this node, serve what they do, and bring them to what the planner wants",
		Description: `Reads once a second what the services of this node do: busy workers by mark files
(docs/marks.md), the stats of uwsgi, the listen queue of their port, CPU and memory of their containers, queues of
Redis and RabbitMQ. Serves the rates and means of 1, 10 and 60 seconds at /v1/sample (JSON) and /metrics
(Prometheus), and registers itself in Consul as svckit-scaled-node, where the planner finds it.
Beyond the loopback it answers only clients that are known, by a token or by a certificate. While the engine, Consul
or a queue's server is away, what was known of them stays.

Follows what the planner wants of this node and brings it there, each service by itself: containers as svc-run up and
down do, workers by telling gunicorn (TTIN, TTOU) and uWSGI (master-fifo, with cheaper-algo = manual) one by one. The
weight in Consul is the number of ready workers. The last wish is kept on disk; without Consul it stays in force,
what crashed comes back and nothing is lowered. Services that no wish names are left alone.

Starts the runs of services of kind cron that this node may run, each tick once in the whole fleet (docs/cron.md).`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch-only", Usage: "change nothing on this node: wishes of the planner are not carried out"},
			&cli.StringFlag{Name: "listen", Usage: "serve at `IP:PORT` (default: scaled_listen, else port 9654 of this node where clients are known, else of 127.0.0.1)"},
			&cli.StringFlag{Name: "token-file", Usage: "answer clients that show the token in `FILE` (default: scaled_token_file)"},
			&cli.StringFlag{Name: "tls-cert", Usage: "serve HTTPS with the certificate in `FILE` (default: scaled_cert)"},
			&cli.StringFlag{Name: "tls-key", Usage: "the key of the certificate is in `FILE` (default: scaled_key)"},
			&cli.StringFlag{Name: "tls-ca", Usage: "answer clients with a certificate of the CA in `FILE` (default: scaled_ca)"},
		},
		Action: tool.Daemon(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			a, err := newAgent(ctx, w, s, c)
			if err != nil {
				return err
			}
			return a.Run(ctx)
		}),
	}
}

// newAgent opens this node and puts the parts of its agent together.
func newAgent(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) (*nodeagent.Agent, error) {
	n, err := w.Settings(s)
	if err != nil {
		return nil, err
	}
	unit, err := systemd.Open()
	if err != nil {
		return nil, err
	}
	asked, may := n.ScaledListen, access(c, n)
	if c.IsSet("listen") {
		asked = c.String("listen")
	}
	if _, err := reachable(asked, "", may); err != nil { // what is wrong for sure is told before Consul is asked
		return nil, err
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	who, err := whoIs(ctx, s, client, n, func() fleet.Agent { return before(ctx, w, s, n.StateDir) })
	if err != nil {
		return nil, err
	}
	at, err := reachable(asked, who.Address, may)
	if err != nil {
		return nil, err
	}
	a := &nodeagent.Agent{Node: who.Node, Prefix: n.Prefix, Log: s.Log, Manager: unit, Pulse: unit.Every}
	if a.Serve, err = serving(may, at); err != nil {
		return nil, err
	}
	a.Serve.Metrics = metricsOf(a)
	a.Book = nodeagent.NewRegistration(client, who.Node, at, may.Scheme())
	if a.World, err = worldOf(ctx, w, s, client); err != nil {
		return nil, err
	}
	if c.Bool("watch-only") {
		return a, nil
	}
	if err := handed(ctx, w, s, a); err != nil {
		return nil, err
	}
	return a, timed(ctx, w, s, a)
}

// access is by what clients are known: flags, else settings.
func access(c *cli.Context, n node.Settings) nodeagent.Access {
	flag := func(name, setting string) string {
		if c.IsSet(name) {
			return c.String(name)
		}
		return setting
	}
	return nodeagent.Access{
		TokenFile: flag("token-file", n.ScaledToken), Cert: flag("tls-cert", n.ScaledCert), Key: flag("tls-key", n.ScaledKey), CA: flag("tls-ca", n.ScaledCA),
	}
}

// listenAt is where samples are served.
func listenAt(asked, address string, known bool) (netip.AddrPort, error) {
	if asked == "" {
		at := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if own, err := netip.ParseAddr(address); err == nil && known {
			at = own
		}
		return netip.AddrPortFrom(at, nodePort), nil
	}
	at, err := netip.ParseAddrPort(asked)
	if err != nil || at.Port() == 0 || at.Addr().IsUnspecified() {
		return at, fault.New(fault.Usage, "listen at %s: expected an IP address of this node and a port such as 10.0.0.5:%d, since Consul is told of it", asked, nodePort)
	}
	return at, nil
}

// reachable is listenAt, if its clients may be answered there.
func reachable(asked, address string, may nodeagent.Access) (netip.AddrPort, error) {
	at, err := listenAt(asked, address, may.Known())
	if err != nil {
		return at, err
	}
	return at, may.Check(at)
}

func serving(may nodeagent.Access, at netip.AddrPort) (out nodeagent.Serving, err error) {
	out.Listen = at.String()
	if out.TLS, err = may.TLS(); err != nil {
		return out, err
	}
	out.Token, err = may.Token()
	return out, err
}

// whoIs is this node: what is set wins over what the agent says. While the agent is
// away it is who it was when it last had a wish; else it waits, since nobody could
// find this node before the agent is back.
func whoIs(ctx context.Context, s *tool.Session, client *consul.Client, n node.Settings, last func() fleet.Agent) (fleet.Agent, error) {
	for told := false; ; told = true {
		if n.Name != "" && n.Address != "" {
			return fleet.Agent{Node: n.Name, Address: n.Address}, nil
		}
		agent, err := client.Self(ctx)
		if err == nil {
			if n.Name != "" {
				agent.Node = n.Name
			}
			if n.Address != "" {
				agent.Address = n.Address
			}
			return agent, nil
		}
		if fault.KindOf(err) != fault.Unreachable {
			return fleet.Agent{}, err
		}
		if was := last(); was.Node != "" {
			s.Log.Warn("consul is away: this node keeps its name from before", "name", was.Node, "error", err)
			return was, nil
		}
		if !told {
			s.Log.Warn("waiting for consul, to learn this node's name (SVC_NODE and SVC_ADDRESS spare that)", "error", err)
		}
		select {
		case <-ctx.Done():
			return fleet.Agent{}, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// worldOf is the node as its agent sees it.
func worldOf(ctx context.Context, w *here.Node, s *tool.Session, client *consul.Client) (nodeagent.World, error) {
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return nodeagent.World{}, err
	}
	masters := here.MastersOf(engine)
	m, err := monitor.Open(func(ctx context.Context, t monitor.Target) (fleet.Served, error) {
		return masters.Served(ctx, t.Master.PID, t.Stats)
	})
	if err != nil {
		return nodeagent.World{}, err
	}
	return nodeagent.World{
		Instances: engine.InstancesSince, Masters: masters, Read: m.Read, Now: w.Now, Queue: queuesOf(client, s.Hide),
		Spec: func(ctx context.Context, app, release string) (spec.App, error) {
			r, err := client.Release(ctx, app, release)
			if err != nil {
				return spec.App{}, err
			}
			return apply.SpecOf(r)
		},
	}, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/dnsd"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/follow"
	"svckit/lib/link"
	"svckit/lib/node"
	"svckit/lib/systemd"
	"svckit/lib/tool"
)

const linkName = "svcdns0"

func serveCommand(w *world) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "answer questions until told to stop",
		Description: `Sockets come from systemd if it passes some, else from a svc-dns that runs
already, which then ends, else they are opened here. Names of Consul are answered
from memory; the last good answers stay in force while the agent is away, also
over a restart of svc-dns.`,
		Flags: serveFlags(),
		Action: tool.Daemon(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			n, err := w.settings(s)
			if err != nil {
				return err
			}
			o, err := readOptions(c, n)
			if err != nil {
				return err
			}
			return serve(ctx, w, s, n, o, c.Bool("any-zone"))
		}),
	}
}

// serving is one running server with what it is made of.
type serving struct {
	s       *tool.Session
	o       options
	node    node.Settings
	unit    *systemd.Unit
	keeper  *follow.Keeper
	server  *dnsd.Server
	sockets dnsd.Sockets
	own     []string
	handed  atomic.Bool // the sockets and the interface belong to the next server now
	lent    bool        // the sockets are the service manager's, and stay open at the interface's address
}

func serve(ctx context.Context, w *world, s *tool.Session, n node.Settings, o options, anyZone bool) error {
	client, err := w.consul(s, n)
	if err != nil {
		return err
	}
	for _, dir := range []string{runDir(n), n.StateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fault.New(fault.Failed, "make folder: %w", err)
		}
	}
	agent, err := whoIs(ctx, s, client, n)
	if err != nil {
		return err
	}
	o.know(agent, anyZone)
	unit, err := systemd.Open()
	if err != nil {
		return err
	}
	v := &serving{s: s, o: o, node: n, unit: unit}
	if o.link.IsValid() {
		remove, err := link.Make(linkName, o.link)
		if err != nil {
			return err
		}
		defer func() {
			if !v.handed.Load() && !v.lent {
				if err := remove(); err != nil {
					s.Log.Warn("address not removed", "error", err)
				}
			}
		}()
	}
	v.keeper = follow.New(o.follow, client, probe, w.now, s.Log)
	if err := v.build(w); err != nil {
		return err
	}
	return v.run(ctx)
}

// whoIs asks the agent who it is. When it is away, what it said last time counts.
func whoIs(ctx context.Context, s *tool.Session, client *consul.Client, n node.Settings) (fleet.Agent, error) {
	file := filepath.Join(n.StateDir, "svc-dns-agent.json")
	for {
		agent, err := client.Self(ctx)
		if err == nil {
			agent.Meta = map[string]string{fleet.MetaZone: agent.Meta[fleet.MetaZone]}
			if text, err := json.Marshal(agent); err == nil {
				if err := os.WriteFile(file+".new", text, 0o644); err != nil || os.Rename(file+".new", file) != nil {
					s.Log.Warn("what the agent says of itself is not kept", "file", file, "error", err)
				}
			}
			return agent, nil
		}
		if text, readErr := os.ReadFile(file); readErr == nil {
			if json.Unmarshal(text, &agent) == nil && agent.Datacenter != "" {
				s.Log.Warn("consul does not say who it is: its datacenter and domain are those of last time", "error", err, "hint", fault.HintOf(err))
				return agent, nil
			}
		}
		if fault.KindOf(err) != fault.Unreachable {
			return fleet.Agent{}, err
		}
		s.Log.Warn("consul does not answer, and nothing is known of it yet: waiting for it", "error", err)
		select {
		case <-ctx.Done():
			return fleet.Agent{}, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

func probe(ctx context.Context, address string, port int) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (v *serving) build(w *world) error {
	clients, err := dnsd.NewClients(v.o.allow, v.o.rate)
	if err != nil {
		return fault.New(fault.Failed, "read interfaces: %w", err)
	}
	skip := func() []string { return v.own }
	v.server = &dnsd.Server{
		Table: v.keeper, Answerer: v.keeper, Policy: v.o.follow.Policy, Clients: clients, One: v.o.one, Log: v.s.Log.Named("dns"),
		System: &dnsd.Forwarder{Servers: v.upstreams(), Skip: skip, Limit: v.o.cache, Now: w.now},
	}
	if v.o.agentDNS != "" {
		v.server.Agent = &dnsd.Forwarder{Servers: func() []string { return []string{v.o.agentDNS} }, Skip: skip, Now: w.now}
	}
	return nil
}

// upstreams are the servers for names outside Consul, read again when resolv.conf has changed.
func (v *serving) upstreams() func() []string {
	if len(v.o.upstreams) > 0 {
		return func() []string { return v.o.upstreams }
	}
	var known atomic.Pointer[[]string]
	var readAt atomic.Int64
	return func() []string {
		now := time.Now().Unix()
		if last := readAt.Load(); known.Load() == nil || now-last > 5 && readAt.CompareAndSwap(last, now) {
			list, err := dnsd.SystemServers("/etc/resolv.conf")
			if err != nil {
				v.s.Log.Debug("read resolv.conf", "error", err)
			}
			if err == nil || known.Load() == nil {
				known.Store(&list)
			}
		}
		return *known.Load()
	}
}

// open finds the sockets: systemd's, a running server's, else new ones.
func (v *serving) open() (ready func() error, err error) {
	ready = func() error { return nil }
	if files := activation.Files(true); len(files) > 0 {
		v.lent = true
		v.sockets, err = dnsd.Adopt(files)
		return ready, err
	}
	v.sockets, ready, err = dnsd.Take(handoverPath(v.node))
	if err != nil || len(v.sockets.UDP) > 0 {
		return ready, err
	}
	loops := v.o.loops
	if loops == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	v.sockets, err = dnsd.Listen(v.o.listen, loops)
	return ready, err
}

func (v *serving) run(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	kept := make(chan struct{})
	go func() { defer close(kept); v.keeper.Run(ctx) }()
	ready, err := v.open()
	if err != nil {
		return err
	}
	defer v.sockets.Close()
	v.own = v.sockets.Addresses()
	served := make(chan error, 1)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go func() { served <- v.server.Serve(reading, v.sockets) }()
	if err := ready(); err != nil {
		v.s.Log.Warn("the server before this one did not stop in time", "error", err)
	}
	closeControl, err := v.control(ctx)
	if err != nil {
		return err
	}
	defer closeControl()
	v.s.Log.Info("answering", "at", v.own, "domain", v.o.follow.Policy.Domain, "datacenter", v.o.follow.Policy.Datacenter, "zone", v.o.follow.Policy.Zone)
	given := make(chan error, 1)
	go func() {
		given <- dnsd.Give(ctx, handoverPath(v.node), v.sockets, func() { v.handed.Store(true); stopReading() })
	}()
	v.told(v.unit.Ready("answering"))
	go v.look(ctx)
	select {
	case err = <-served:
	case err = <-given:
		if err != nil && ctx.Err() == nil {
			v.s.Log.Warn("no handover possible", "error", err)
			err = nil
		}
		if ctx.Err() != nil {
			err = nil
		}
		if serr := <-served; err == nil {
			err = serr
		}
	}
	v.told(v.unit.Stopping())
	cancel()
	<-kept
	if err == nil && parent.Err() != nil {
		err = context.Cause(parent)
	}
	if v.handed.Load() {
		v.s.Log.Info("handed over")
	}
	return err
}

// look sees after the machine's interfaces, and tells the service manager that the server lives.
func (v *serving) look(ctx context.Context) {
	every := 5 * time.Second
	if v.unit.Every > 0 {
		every = min(every, v.unit.Every)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := v.server.Clients.Refresh(); err != nil {
				v.s.Log.Debug("read interfaces", "error", err)
			}
			if err := v.alive(ctx); err != nil {
				v.s.Log.Error("no answer from our own sockets", "error", err)
				continue
			}
			v.told(v.unit.Alive())
		}
	}
}

// told notes that the service manager could not be told.
func (v *serving) told(err error) {
	if err != nil {
		v.s.Log.Debug("service manager not told", "error", err)
	}
}

// alive asks the server one question that it must know, over its own socket.
func (v *serving) alive(ctx context.Context) error {
	if len(v.own) == 0 {
		return errors.New("it has no sockets")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := dnsd.Ping(ctx, v.own[0], "7f000001.addr."+v.o.follow.Policy.Domain); err != nil {
		return fmt.Errorf("ping %s: %w", v.own[0], err)
	}
	return nil
}

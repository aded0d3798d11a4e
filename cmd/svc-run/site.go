package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"svckit/lib/apply"
	"svckit/lib/delivery"
	"svckit/lib/dnsd"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/probe"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

// openDeploy opens everything that changing a service on this node needs, and
// asks the agent and the engine who they are.
func openDeploy(ctx context.Context, w *world, s *tool.Session) (*deploy, error) {
	of, err := w.service(s.Args)
	if err != nil {
		return nil, err
	}
	return openService(ctx, w, s, of)
}

// openService is openDeploy for a service that is known.
func openService(ctx context.Context, w *world, s *tool.Session, of target) (*deploy, error) {
	d, err := openEngine(ctx, w, s, of)
	if err != nil {
		return nil, err
	}
	if d.consul, err = w.Consul(s); err != nil {
		return nil, err
	}
	if d.agent, err = d.consul.Self(ctx); err != nil {
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	d.world.Registrar = d.consul
	if server := d.dnsServer(); server != "" {
		d.world.Resolve = resolver(server)
	}
	return d, nil
}

// openEngine opens the settings and the container engine, which local mode needs too.
func openEngine(ctx context.Context, w *world, s *tool.Session, of target) (*deploy, error) {
	settings, err := w.Settings(s)
	if err != nil {
		return nil, err
	}
	// The run folder is made ready first: what is locked there must not be hidden by a mount.
	if _, err := delivery.Open(settings.RunDir); err != nil {
		return nil, err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return nil, err
	}
	d := &deploy{w: w, s: s, app: of.App, service: of.Service, settings: settings, engine: engine, plan: apply.Plan}
	d.world = apply.World{
		Containers: d.images(), Views: engine, Tuner: engine, Images: d.images(), Files: delivery.Folders{},
		Probe: probe.Once, Log: s.Log, Guard: d.guard, PortFree: portFree, Random: rand.Uint32,
	}
	return d, nil
}

// images is the engine, with this node's mirrors.
func (d *deploy) images() mirrored { return mirrored{d.engine, d.settings.Registries} }

// settle fills the site from settings, agent and engine: what is set wins over what is asked.
func (d *deploy) settle(ctx context.Context) error {
	info, err := d.engine.Info(ctx)
	if err != nil {
		return err
	}
	s := d.settings
	d.site = apply.Site{
		Trusted: d.site.Trusted,
		Node: rollout.Node{
			Name: first(s.Name, d.agent.Node), Zone: first(s.Zone, d.agent.Meta["zone"]),
			Address: first(s.Address, d.agent.Address), DNS: s.ContainerDNS, Prefix: s.Prefix, Engine: info.ID,
		},
		Ports: [2]int{s.Ports.First, s.Ports.Last}, RunDir: s.RunDir, Cores: info.CPUs, Memory: info.Memory,
		Margin: s.DNSMargin, HostPaths: s.HostPaths, Domain: first(d.agent.Domain, "consul"),
	}
	if d.site.Address == "" {
		return fault.WithHint(fault.New(fault.Invalid, "this node's address is not known"), "set address in the node's settings (SVC_ADDRESS)")
	}
	return nil
}

// dnsServer is the server that is asked whether DNS shows an instance; "" asks none.
func (d *deploy) dnsServer() string {
	if d.settings.DNS == "off" {
		return ""
	}
	return first(d.settings.DNS, d.agent.DNS)
}

func resolver(server string) apply.Resolver {
	return func(ctx context.Context, name string) ([]fleet.Endpoint, time.Duration, error) {
		a, err := dnsd.Lookup(ctx, server, name)
		return a.Endpoints, a.TTL, err
	}
}

// guardLimit bounds the wait for another run on this node that chooses ports and cores.
const guardLimit = 30 * time.Second

// guard is held by at most one process of this node.
func (d *deploy) guard(ctx context.Context) (func(), error) {
	return holdFile(ctx, filepath.Join(d.settings.RunDir, "node.lock"), guardLimit)
}

// holdFile locks a file, for this process alone, within a limit.
func holdFile(ctx context.Context, path string, limit time.Duration) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	lock := flock.New(path)
	ok, err := lock.TryLockContext(ctx, 50*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.New(fault.Conflict, "another run on this node holds %s", path)
	}
	if err != nil || !ok {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// portFree reports whether a TCP port can be bound on this node's address now.
func portFree(address string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// locked runs f while the lock of this service on this node is held. Its context
// ends with apply.ErrLockLost when the lock is lost.
//
// The lock is per node: batches of nodes deploy side by side. What must happen
// once in the whole fleet takes the key above it.
func (d *deploy) locked(ctx context.Context, wait time.Duration, f func(context.Context) error) error {
	if d.consul == nil {
		free, err := holdFile(ctx, filepath.Join(d.settings.RunDir, "locks", d.app+"."+d.service), max(wait, 100*time.Millisecond))
		if err != nil {
			return err
		}
		defer free()
		return f(ctx)
	}
	h, err := node.Holder(node.Who(d.w.getenv), d.site.Name, d.s.Program+" "+d.s.Command, time.Now())
	if err != nil {
		return err
	}
	lock, err := d.consul.Lock(ctx, "locks/"+d.app+"/"+d.service+"/"+d.site.Name, h, wait)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := lock.Release(end); err != nil {
			d.s.Log.Warn("lock not released: it ends by itself", "error", err)
		}
	}()
	held, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-lock.Lost():
			cancel(apply.ErrLockLost)
		case <-held.Done():
		}
	}()
	return f(held)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

package here

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
	"svckit/lib/code"
	"svckit/lib/delivery"
	"svckit/lib/dnsd"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/master"
	"svckit/lib/node"
	"svckit/lib/probe"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

// Open opens everything that changing a service on this node needs, and
// asks the agent and the engine who they are.
func Open(ctx context.Context, w *Node, s *tool.Session) (*Deploy, error) {
	of, err := w.Service(s.Args)
	if err != nil {
		return nil, err
	}
	return OpenService(ctx, w, s, of)
}

// OpenService is Open for a service that is known.
func OpenService(ctx context.Context, w *Node, s *tool.Session, of Target) (*Deploy, error) {
	d, err := OpenEngine(ctx, w, s, of)
	if err != nil {
		return nil, err
	}
	if d.Consul, err = w.Consul(s); err != nil {
		return nil, err
	}
	if d.Agent, err = d.Consul.Self(ctx); err != nil {
		return nil, err
	}
	if err := d.Settle(ctx); err != nil {
		return nil, err
	}
	d.World.Registrar, d.World.Asides = d.Consul, d.Consul
	d.World.Resolve = d.Resolver()
	return d, nil
}

// OpenEngine opens the settings and the container engine, which local mode needs too.
func OpenEngine(ctx context.Context, w *Node, s *tool.Session, of Target) (*Deploy, error) {
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
	store, err := code.Open(settings.CodeDir)
	if err != nil {
		return nil, err
	}
	d := &Deploy{Node: w, Session: s, App: of.App, Service: of.Service, Settings: settings, Code: store, Engine: engine, Plan: apply.Plan}
	d.World = apply.World{
		Containers: d.Images(), Views: engine, Tuner: engine, Images: d.Images(), Files: delivery.Folders{}, Keeper: delivery.Folders{},
		Masters: MastersOf(engine), Volume: volume{store}, Loads: delivery.Loads{Dir: settings.StateDir},
		Probe: probe.Once, Shown: probe.Shown, Log: s.Log, Guard: d.guard, PortFree: portFree, Random: rand.Uint32,
	}
	return d, nil
}

// MastersOf are the masters in the containers of an engine of this node.
func MastersOf(engine *docker.Engine) master.Masters { return master.Masters{Engine: engine} }

// Images is the engine, with this node's mirrors.
func (d *Deploy) Images() Mirrored { return Mirrored{d.Engine, d.Settings.Registries} }

// Settle fills the site from settings, agent and engine: what is set wins over what is asked.
func (d *Deploy) Settle(ctx context.Context) error {
	info, err := d.Engine.Info(ctx)
	if err != nil {
		return err
	}
	s := d.Settings
	d.Site = apply.Site{
		Trusted: d.Site.Trusted,
		Node: rollout.Node{
			Name: first(s.Name, d.Agent.Node), Zone: first(s.Zone, d.Agent.Meta["zone"]),
			Address: first(s.Address, d.Agent.Address), DNS: s.ContainerDNS, Prefix: s.Prefix, Engine: info.ID, CodeDir: s.CodeDir,
		},
		Ports: [2]int{s.Ports.First, s.Ports.Last}, RunDir: s.RunDir, Cores: info.CPUs, Memory: info.Memory,
		Margin: s.DNSMargin, HostPaths: s.HostPaths, Domain: first(d.Agent.Domain, "consul"),
	}
	if d.Site.Address == "" {
		return fault.WithHint(fault.New(fault.Invalid, "this node's address is not known"), "set address in the node's settings (SVC_ADDRESS)")
	}
	return nil
}

// Resolver asks the server that knows whether DNS shows an instance; nil when none is to be asked.
func (d *Deploy) Resolver() apply.Resolver {
	server := first(d.Settings.DNS, d.Agent.DNS)
	if server == "" || server == "off" {
		return nil
	}
	return func(ctx context.Context, name string) ([]fleet.Endpoint, time.Duration, error) {
		a, err := dnsd.Lookup(ctx, server, name)
		return a.Endpoints, a.TTL, err
	}
}

// guardLimit bounds the wait for another run on this node that chooses ports and cores.
const guardLimit = 30 * time.Second

// guard is held by at most one process of this node.
func (d *Deploy) guard(ctx context.Context) (func(), error) {
	return HoldFile(ctx, filepath.Join(d.Settings.RunDir, "node.lock"), guardLimit)
}

// HoldFile locks a file, for this process alone, within a limit.
func HoldFile(ctx context.Context, path string, limit time.Duration) (func(), error) {
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

// fleetWait is how long another node is waited for that takes instances of the same service out.
const fleetWait = 5 * time.Minute

// Locked runs f while the lock of this service on this node is held. Its context
// ends with apply.ErrLockLost when the lock is lost.
//
// The lock is per node: batches of nodes deploy side by side. What must happen
// once in the whole fleet takes the key above it.
func (d *Deploy) Locked(ctx context.Context, wait time.Duration, f func(context.Context) error) error {
	if d.Consul == nil {
		free, err := HoldFile(ctx, filepath.Join(d.Settings.RunDir, "locks", d.App+"."+d.Service), max(wait, 100*time.Millisecond))
		if err != nil {
			return err
		}
		defer free()
		return f(ctx)
	}
	return d.holding(ctx, "locks/"+d.App+"/"+d.Service+"/"+d.Site.Name, wait, f)
}

// holding runs f while a key is held as a lock.
func (d *Deploy) holding(ctx context.Context, key string, wait time.Duration, f func(context.Context) error) error {
	h, err := node.Holder(node.Who(d.Node.Getenv), d.Site.Name, d.Session.Program+" "+d.Session.Command, time.Now())
	if err != nil {
		return err
	}
	lock, err := d.Consul.Lock(ctx, key, h, wait)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := lock.Release(end); err != nil {
			d.Session.Log.Warn("lock not released: it ends by itself", "error", err)
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

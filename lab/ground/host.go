package ground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	hostLink = "eth0"
	agentURL = "http://127.0.0.1:8500" // of each host's agent, from the host itself
)

// Host is one machine of a fleet: a network of its own, in it a Consul agent and, if it has one, a Docker engine. Both
// listen where they do on a real machine. It is not safe for concurrent use.
type Host struct {
	Place
	Name        string // of the Consul node
	DC          string // its datacenter
	Addr        string // its address on the bridge; the agent's API and DNS answer there too, at 8500 and 8600
	Zone, Pool  string // in the node's meta
	Server      bool   // the agent is a server
	hcl         string
	wantsEngine bool
	engine      *Engine
	consul      *daemon
	detour      *detour // where it is slowed down
	planted     bool    // the engine has the base image from a seed
	boots       bool    // it is a machine: see Datacenter
	machine     *machine
	fleet       *Fleet
}

// HasEngine is true for hosts with a Docker engine.
func (h *Host) HasEngine() bool { return h.wantsEngine }

// IsMachine is true for hosts with a systemd, files and processes of their own.
func (h *Host) IsMachine() bool { return h.boots }

// build makes the place and brings the host up for the first time. Without a seed the engine pulls the base image once base is closed.
func (h *Host) build(ctx context.Context, base <-chan struct{}) error {
	if err := makePlace(ctx, h.Place); err != nil {
		return err
	}
	if err := h.fleet.plug(ctx, h.Place, hostLink, h.Addr, h.Name); err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil || !h.wantsEngine || h.planted {
		return err
	}
	select {
	case <-base:
		return h.pullBase(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start starts agent and engine, as a boot does, and waits until they answer. It
// does not wait for the cluster, which may have no leader.
func (h *Host) Start(ctx context.Context) error {
	if h.consul != nil || h.machine != nil {
		return fmt.Errorf("start host %s: it is running", h.Name)
	}
	if h.boots {
		_, err := h.plant(ctx, h.fleet.parts.Seed, h.fleet.Registry)
		if err == nil {
			err = h.boot(ctx)
		}
		if err != nil {
			return fmt.Errorf("start host %s: %w", h.Name, err)
		}
		return nil
	}
	if err := h.makeRoom(); err != nil {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.startAgent(ctx) })
	if h.wantsEngine {
		group.Go(func() error {
			h.engine = &Engine{Place: h.Place}
			var err error
			if h.planted, err = h.plant(ctx, h.fleet.parts.Seed, h.fleet.Registry); err != nil {
				return err
			}
			return h.engine.start(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	return nil
}

// Kill is a power cut: every process of the host ends at once, containers too, and what it kept in memory is lost (its
// /run). Disks stay: images, stopped containers, code, the agent's data. Start is the boot after it.
func (h *Host) Kill(ctx context.Context) error {
	if _, err := killAll(ctx, func(pid int) bool { return livesIn(pid, h.Place) }); err != nil {
		return fmt.Errorf("kill host %s: %w", h.Name, err)
	}
	h.consul, h.engine, h.machine = nil, nil, nil
	removeShimSockets(h.Place)
	if err := removeCgroups(ctx, filepath.Base(h.Namespace())); err != nil {
		return fmt.Errorf("kill host %s: %w", h.Name, err)
	}
	for _, dir := range []string{h.Data(), h.Run()} {
		if err := unmountInside(dir); err != nil {
			return fmt.Errorf("kill host %s: %w", h.Name, err)
		}
	}
	entries, err := os.ReadDir(h.Run())
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".log") { // for whoever looks into a failure
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.Run(), e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("kill host %s: %w", h.Name, err)
	}
	return nil
}

// unmountInside detaches what is mounted below a folder, and leaves what is mounted on it.
func unmountInside(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := unmountBelow(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// AwaitJoined waits until Joined is nil.
func (h *Host) AwaitJoined(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := h.Joined(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log := ""
			if h.consul != nil {
				log = tail(h.consul.log, 15)
			}
			return fmt.Errorf("host %s joins the cluster: not in %s: %w\n%s", h.Name, limit, err, log)
		case <-tick.C:
		}
	}
}

// Env is what a program of ours finds in its environment on this host: its
// agent, its engine, and its settings, which name folders of the host's own.
func (h *Host) Env() []string {
	if h.boots {
		return nil // everything is where it is on any machine
	}
	env := []string{"CONSUL_HTTP_ADDR=" + agentURL, "SVC_CONFIG=" + h.Run() + "/node.yaml"}
	if h.wantsEngine {
		env = append(env, "DOCKER_HOST="+h.Host(), "DOCKER_CONFIG="+h.Run()+"/docker-config")
	}
	return env
}

// Command is a program on this host: in its network, with Env in place of what
// this process knows of another agent, engine and settings.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	argv := slices.Concat(h.Inside(), []string{name}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return foreign(v) && !strings.HasPrefix(v, "SVCKIT_")
	}), h.Env()...)
	return cmd
}

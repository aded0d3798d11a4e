package ground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Datacenter says how many hosts a datacenter of a fleet has, and of what kind.
type Datacenter struct {
	Name    string   // "" is dc1, dc2 … by its place in the fleet
	Hosts   int      // named node1, node2 …; from the second datacenter on dc2-node1 …
	Servers int      // hosts srv1, srv2 … with a Consul server and nothing else; 0 makes the first host's agent the server
	Zones   []string // the first host is in the first zone, and so on around
	Pool    string
	Bare    bool // hosts without a Docker engine
	// Machines have a systemd, files and processes of their own, and nothing is running there but sshd: a playbook does the rest.
	Machines bool
	Consul   string // more HCL for every agent
}

// FleetParts are files that a fleet is made of.
type FleetParts struct {
	Consul, Registry string // programs
	BaseImage
	Machine string // folder with the Debian that machines boot, read only
	Token   string // what the fleet asks its own agents with, where they have ACLs
}

// Fleet is a number of hosts on one bridge, with a registry. The first address of its network is the lab's own.
type Fleet struct {
	Hosts    []*Host // all datacenters' hosts, in order
	Servers  []*Host // all datacenters' hosts with a server alone, in order
	Registry string  // host:port, from every host and from the lab's network, without TLS
	Base     string  // the base image by its digest in the registry; "" where no host has an engine
	number   int
	lock     *os.File // held as long as the fleet is
	lab      Place
	wire     Place
	parts    FleetParts
	dcs      []Datacenter
}

// StartFleet makes a fleet in a lab's network and waits until its agents are one
// cluster and its engines hold the base image. Hosts are places of the lab, so
// the lab's end is theirs; Stop ends them before. On an error nothing is left.
func StartFleet(ctx context.Context, lab Place, parts FleetParts, dcs ...Datacenter) (*Fleet, error) {
	f := &Fleet{lab: lab, parts: parts, dcs: slices.Clone(dcs)}
	if err := f.takeNumber(); err != nil {
		return nil, err
	}
	err := f.layOut()
	if err == nil {
		err = f.sweep(ctx) // what a killed process left of a fleet of that number
	}
	if err == nil {
		err = f.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return f, nil
}

// Stop removes the fleet and everything on its hosts.
func (f *Fleet) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range f.All() {
		if h.detour != nil {
			h.detour.close()
		}
	}
	err := f.sweep(ctx)
	return errors.Join(err, f.lock.Close())
}

// takeNumber takes the first number that no other fleet of the lab has. The
// kernel frees it when this process ends, however it ends.
func (f *Fleet) takeNumber() error {
	for f.number = range 100 {
		file, err := os.OpenFile(fmt.Sprintf("%s/fleet%d.lock", f.lab.Run(), f.number), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("number fleet: %w", err)
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			f.lock = file
			return nil
		}
		file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("number fleet: %w", err)
		}
	}
	return errors.New("number fleet: there are 100 already")
}

// layOut gives each host its name, place and address, without making anything.
func (f *Fleet) layOut() error {
	var err error
	if f.wire, err = f.place("net"); err != nil {
		return err
	}
	f.Registry = f.address(1) + ":5000"
	for n := range f.dcs {
		dc, mark := &f.dcs[n], ""
		if dc.Name == "" {
			dc.Name = fmt.Sprintf("dc%d", n+1)
		}
		if n > 0 {
			mark = dc.Name + "-"
		}
		for i := range dc.Servers {
			h, err := f.newHost(dc, fmt.Sprintf("%ssrv%d", mark, i+1), 20*n+2+i)
			if err != nil {
				return err
			}
			h.Server, h.Pool = true, "" // no place for services
			f.Servers = append(f.Servers, h)
		}
		for i := range dc.Hosts {
			h, err := f.newHost(dc, fmt.Sprintf("%snode%d", mark, i+1), 20*n+10+i)
			if err != nil {
				return err
			}
			h.Server, h.wantsEngine = dc.Servers == 0 && i == 0, !dc.Bare && !dc.Machines
			if len(dc.Zones) > 0 {
				h.Zone = dc.Zones[i%len(dc.Zones)]
			}
			f.Hosts = append(f.Hosts, h)
		}
		if dc.Servers > 7 || dc.Hosts > 12 || dc.Servers+dc.Hosts == 0 || n > 9 {
			return fmt.Errorf("lay out fleet: %s: want 1 to 12 hosts and at most 7 servers, in at most 10 datacenters", dc.Name)
		}
	}
	return nil
}

func (f *Fleet) newHost(dc *Datacenter, name string, address int) (*Host, error) {
	p, err := f.place(strings.ReplaceAll(name, "-", ""))
	return &Host{Place: p, Name: name, DC: dc.Name, Addr: f.address(address), Pool: dc.Pool, hcl: dc.Consul, boots: dc.Machines, fleet: f}, err
}

// place is one of the fleet's places; its number is part of the name.
func (f *Fleet) place(name string) (Place, error) {
	return NewPlace(fmt.Sprintf("%s.f%d%s", f.lab, f.number, name))
}

// All are the servers and the hosts.
func (f *Fleet) All() []*Host { return slices.Concat(f.Servers, f.Hosts) }

// servers are the addresses of a datacenter's servers.
func (f *Fleet) servers(dc string) (out []string) {
	for _, h := range f.All() {
		if h.DC == dc && h.Server {
			out = append(out, h.Addr)
		}
	}
	return out
}

// gates are the first servers of each datacenter; gossip tells the others.
func (f *Fleet) gates() (out []string) {
	if len(f.dcs) < 2 {
		return []string{}
	}
	for _, dc := range f.dcs {
		out = append(out, f.servers(dc.Name)[0])
	}
	return out
}

func (f *Fleet) start(ctx context.Context) error {
	if err := makePlace(ctx, f.wire); err != nil {
		return err
	}
	if err := f.plugSwitch(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(f.All(), func(h *Host) bool { return h.boots }) {
		if err := f.writeKeys(ctx); err != nil {
			return err
		}
	}
	base, err := plantRegistry(f.parts.Seed, f.wire.Data()+"/registry")
	if err != nil {
		return err
	}
	if base != "" {
		f.Base = f.Registry + "/" + base
	}
	if err := f.startRegistry(ctx); err != nil {
		return err
	}
	group, each := errgroup.WithContext(ctx)
	ready := make(chan struct{})
	if f.Base == "" && slices.ContainsFunc(f.All(), func(h *Host) bool { return h.wantsEngine || h.boots }) {
		group.Go(func() (err error) {
			if f.Base, err = f.putBase(each); err == nil {
				close(ready)
			}
			return err
		})
	}
	for _, h := range f.All() {
		group.Go(func() error { return h.build(each, ready) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, h := range f.All() {
		if h.boots {
			continue // nothing runs there that could join
		}
		if err := h.AwaitJoined(ctx, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// startRegistry starts a registry on the bridge.
func (f *Fleet) startRegistry(ctx context.Context) error {
	config := f.wire.Run() + "/registry.yml"
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s/registry}\n  delete: {enabled: true}\nhttp: {addr: %q}\n", f.wire.Data(), f.Registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write registry config: %w", err)
	}
	_, err := startDaemon(ctx, f.wire, f.parts.Registry, func(ctx context.Context) error { return f.wire.listens(ctx, f.Registry) }, "serve", config)
	return err
}

// sweep removes what there is of a fleet of this number.
func (f *Fleet) sweep(ctx context.Context) error {
	all, err := Places()
	if err != nil {
		return err
	}
	mine := regexp.MustCompile(fmt.Sprintf(`^%s\.f%d[a-z]`, regexp.QuoteMeta(f.lab.String()), f.number))
	_, err = sweepPlaces(ctx, slices.DeleteFunc(all, func(p Place) bool { return !mine.MatchString(filepath.Base(p.String())) }), nil)
	return err
}

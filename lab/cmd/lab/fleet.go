package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"svckit/lab"
	"svckit/lab/ground"
	"svckit/lab/inventory"
	"svckit/lab/setup"
	"svckit/lib/fault"
)

// fleet runs one of the subcommands that know a fleet made by hand.
func fleet(ctx context.Context, say *setup.Teller, verb string, args []string) (int, error) {
	flags := flag.NewFlagSet("lab "+verb, flag.ContinueOnError)
	name := flags.String("name", "fleet", "name of the lab")
	var hosts, servers, zones, far int
	var machines bool
	var ansible string
	if verb == "fleet" {
		flags.IntVar(&hosts, "hosts", 4, "hosts with an engine")
		flags.IntVar(&servers, "servers", 3, "Consul servers on hosts of their own")
		flags.IntVar(&zones, "zones", 2, "zones that the hosts are spread over")
		flags.IntVar(&far, "far", 0, "hosts of a second datacenter")
		flags.BoolVar(&machines, "machines", false, "hosts with a systemd, files and processes of their own, on which only sshd runs")
		flags.StringVar(&ansible, "ansible", "", "with --machines: `folder` for an inventory, and play, which runs a playbook on them")
	}
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	var place ground.Place
	if err == nil {
		place, err = ground.NewPlace(*name)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		return int(fault.OK), nil
	case err != nil:
		return int(fault.Usage), err
	case strings.Contains(*name, "."), (verb == "fleet" || verb == "down") && flags.NArg() > 0, (verb == "on" || verb == "host") && flags.NArg() == 0, ansible != "" && !machines:
		fmt.Fprint(os.Stderr, usage)
		return int(fault.Usage), nil
	}
	switch verb {
	case "fleet":
		dcs := []lab.Datacenter{{Servers: servers, Hosts: hosts, Pool: "production", Machines: machines}}
		for n := range min(max(zones, 1), 26) {
			dcs[0].Zones = append(dcs[0].Zones, string(rune('a'+n)))
		}
		if far > 0 {
			dcs = append(dcs, lab.Datacenter{Hosts: far, Zones: []string{"far"}, Pool: "production", Machines: machines})
		}
		return codeOf(keep(ctx, say, place, ansible, dcs))
	case "on":
		return codeOf(enter(place, flags.Arg(0), flags.Args()[1:]))
	case "host":
		return codeOf(tellHost(ctx, place, flags.Args()))
	}
	return codeOf(down(ctx, say, place))
}

// keep makes a fleet and keeps it until ctx ends; with a folder for Ansible its playbooks can be run on it.
func keep(ctx context.Context, say *setup.Teller, p ground.Place, ansible string, dcs []lab.Datacenter) error {
	parts, err := lab.FleetParts()
	if err != nil {
		return err
	}
	lock, err := acquire(ctx, say, p, "lab fleet", 0)
	if err != nil {
		return err
	}
	defer leave(say, p, lock)
	start := time.Now()
	say.Line("%s: starting a fleet (usually 4 s)", p)
	if err := ground.Make(ctx, p); err != nil {
		return err
	}
	f, err := ground.StartFleet(ctx, p, parts, dcs...)
	if err != nil {
		return err
	}
	say.Line("%s: up in %s", p, time.Since(start).Round(100*time.Millisecond))
	if ansible != "" {
		if err := writeInventory(ansible, p, f, parts.Consul); err != nil {
			return err
		}
	}
	fmt.Print(describe(p, f))
	if ansible != "" {
		fmt.Printf("playbooks    %s site\n", filepath.Join(ansible, "play"))
	}
	return f.Serve(ctx)
}

// writeInventory writes it with the collection and the programs of the project that this program was built in.
func writeInventory(dir string, p ground.Place, f *ground.Fleet, consul string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	bin := filepath.Dir(self)
	out := inventory.Fleet{
		SSHConfig: f.SSHConfig(), Registry: f.Registry, Collection: filepath.Join(filepath.Dir(bin), "ansible"), Programs: bin, Consul: consul, Inside: p.Inside(),
	}
	for _, h := range f.Hosts {
		out.Hosts = append(out.Hosts, inventory.Host{Name: h.Name, Addr: h.Addr, DC: h.DC, Zone: h.Zone})
	}
	return inventory.Write(dir, out, nil)
}

// describe says how to look into each host.
func describe(p ground.Place, f *ground.Fleet) string {
	var b strings.Builder
	self, named := os.Args[0], ""
	if p.String() != "fleet" {
		named = " --name " + p.String()
	}
	for _, h := range f.All() {
		kind := "Consul server"
		switch {
		case h.IsMachine():
			kind = "machine"
		case h.HasEngine():
			kind = "engine"
		}
		fmt.Fprintf(&b, "\n%s  %s  %s zone=%s pool=%s  %s\n", h.Name, h.Addr, h.DC, h.Zone, h.Pool, kind)
		if h.IsMachine() {
			fmt.Fprintf(&b, "  %s ssh -F %s %s\n", strings.Join(p.Inside(), " "), f.SSHConfig(), h.Name)
			continue
		}
		fmt.Fprintf(&b, "  %s env %s sh\n", strings.Join(h.Inside(), " "), strings.Join(h.Env(), " "))
	}
	fmt.Fprintf(&b, "\nregistry     %s (without TLS)\nbase image   %s\n", f.Registry, f.Base)
	fmt.Fprintf(&b, "a shell      %s on%s %s\n", self, named, f.Hosts[0].Name)
	fmt.Fprintf(&b, "a cable out  %s host%s %s cut     (join, kill, start, slow 100ms)\n", self, named, f.Hosts[0].Name)
	fmt.Fprintf(&b, "the end      Ctrl-C, or %s down%s\n", self, named)
	return b.String()
}

// enter becomes a command on a host.
func enter(p ground.Place, host string, command []string) error {
	h, err := ground.FindHost(p, host)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		command = []string{"bash"}
		if shell := os.Getenv("SHELL"); shell != "" {
			command[0] = shell
		}
	}
	cmd := h.Command(context.Background(), command[0], command[1:]...)
	cmd.Env = append(cmd.Env, "PS1="+host+"# ")
	path, err := exec.LookPath(cmd.Args[0])
	if err != nil {
		return fmt.Errorf("enter %s: %w", host, err)
	}
	return fmt.Errorf("enter %s: %w", host, syscall.Exec(path, cmd.Args, cmd.Env))
}

// tellHost asks the process that keeps the fleet to do something to a host.
func tellHost(ctx context.Context, p ground.Place, words []string) error {
	err := ground.Tell(ctx, p, words)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fault.New(fault.NotFound, "no fleet %s is running: start one with lab fleet", p)
	}
	return err
}

// down asks the process that keeps the fleet to end it, ends that process when it does not, and removes what is left.
func down(ctx context.Context, say *setup.Teller, p ground.Place) error {
	var holder ground.Holder
	lock, err := ground.Acquire(ctx, p.String(), "lab down", 40*time.Second, func(h ground.Holder) {
		holder = h
		say.Line("%s: asking process %d (%s) to end", p, h.PID, h.Command)
		_ = syscall.Kill(h.PID, syscall.SIGTERM)
	})
	if errors.Is(err, ground.ErrHeld) && holder.PID > 1 {
		say.Line("%s: process %d does not end: killing it", p, holder.PID)
		_ = syscall.Kill(holder.PID, syscall.SIGKILL)
		lock, err = ground.Acquire(ctx, p.String(), "lab down", 10*time.Second, func(ground.Holder) {})
	}
	if err != nil {
		return err
	}
	if lock.Before != nil {
		lock.Cookie = lock.Before.Cookie
	}
	leave(say, p, lock)
	return nil
}

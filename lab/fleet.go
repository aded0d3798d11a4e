package lab

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"svckit/lab/ground"
	"svckit/lab/setup"
)

// Datacenter says what hosts a fleet has: lab.Datacenter{Servers: 3, Hosts: 2, Zones: []string{"a", "b"}}.
type Datacenter = ground.Datacenter

// Fleet is a number of hosts of a test's own, on one bridge. The test reaches them by their addresses.
type Fleet struct {
	ssh      string
	Hosts    []*Host // with Docker engines, unless they are bare; those of all datacenters, in order
	Servers  []*Host // with a Consul server alone
	Registry string  // host:port of a registry that every host and the test reach
	Base     string  // BaseImage by its digest in that registry, for a release; every engine holds it
}

// Host is one machine of a Fleet. Its agent's API is at 127.0.0.1:8500 on the host and at Consul() from the test.
type Host struct{ host *ground.Host }

// NewFleet makes hosts with their agents joined and their engines holding BaseImage, and removes them after the test. Two
// hosts and three servers take some 4 s. An image gets onto a host by way of the registry: AppImage(t, f.Registry, …).
func NewFleet(t testing.TB, dcs ...Datacenter) *Fleet {
	t.Helper()
	lab := os.Getenv(ground.NameVar)
	if lab == "" {
		t.Fatal("no lab: run `make test`, or bin/lab run -- go test -tags real …")
	}
	place, err := ground.NewPlace(lab)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := FleetParts()
	if err != nil {
		t.Fatal(err)
	}
	f, err := ground.StartFleet(t.Context(), place, parts, dcs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	out := &Fleet{ssh: f.SSHConfig(), Registry: f.Registry, Base: f.Base}
	for _, h := range f.Hosts {
		out.Hosts = append(out.Hosts, &Host{h})
	}
	for _, h := range f.Servers {
		out.Servers = append(out.Servers, &Host{h})
	}
	return out
}

// SSHConfig is a file for `ssh -F` that knows the machines of the fleet by their names.
func (f *Fleet) SSHConfig() string { return f.ssh }

// FleetParts are the set-up's files that a fleet is made of.
func FleetParts() (ground.FleetParts, error) {
	parts, err := setup.Find()
	if err == nil {
		err = parts.Missing()
	}
	return ground.FleetParts{
		Consul: parts.Consul, Registry: parts.Registry, BaseImage: parts.BaseImage(), Machine: parts.Machine, Token: RootToken,
	}, err
}

// Name is the host's name in Consul.
func (h *Host) Name() string { return h.host.Name }

// DC is the name of its datacenter.
func (h *Host) DC() string { return h.host.DC }

// Zone is its zone, as its node meta says.
func (h *Host) Zone() string { return h.host.Zone }

// Addr is its IP address on the bridge.
func (h *Host) Addr() string { return h.host.Addr }

// Consul is the address of its agent's API, from the test and from other hosts.
func (h *Host) Consul() string { return "http://" + h.host.Addr + ":8500" }

// DNS is host:port of its agent's DNS, from the test and from other hosts.
func (h *Host) DNS() string { return h.host.Addr + ":8600" }

// Docker is the address of its engine, from everywhere, whatever has become of its network.
func (h *Host) Docker() string { return h.host.Engine() }

// RunDir is where programs on the host keep what is lost with a power cut, as its settings say.
func (h *Host) RunDir() string { return h.host.Run() + "/run" }

// StateDir is where programs on the host keep their state, as its settings say.
func (h *Host) StateDir() string { return h.host.Data() + "/state" }

// CodeDir is where code on volumes lies, as the host's settings say.
func (h *Host) CodeDir() string { return h.host.Data() + "/code" }

// File is where a file of a machine is for the test; it is good until the machine is killed.
func (h *Host) File(path string) string { return h.host.File(path) }

// Command is a program on the host, with its agent, engine and settings in its environment; it is killed when the test ends or is killed.
func (h *Host) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := h.host.Command(t.Context(), name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Client speaks HTTP as a program on the host does, also while it is cut off.
func (h *Host) Client() *http.Client { return h.host.Client() }

// Dial connects as a program on the host does, also while it is cut off.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.host.Dial(ctx, network, address)
}

// CutOff takes the host's cable out: it runs on, alone.
func (h *Host) CutOff(t testing.TB) { h.do(t, h.host.CutOff) }

// Rejoin puts the cable back in.
func (h *Host) Rejoin(t testing.TB) { h.do(t, h.host.Rejoin) }

// Kill is a power cut: every process of the host ends at once, its memory is lost, its disks stay.
func (h *Host) Kill(t testing.TB) { h.do(t, h.host.Kill) }

// Start is the boot after Kill: agent and engine answer when it returns, and containers come back as their restart policy says.
func (h *Host) Start(t testing.TB) { h.do(t, h.host.Start) }

// AwaitJoined waits until the servers take the host for alive.
func (h *Host) AwaitJoined(t testing.TB) {
	h.do(t, func(ctx context.Context) error { return h.host.AwaitJoined(ctx, time.Minute) })
}

// Slow delays everything that the host is sent and sends, each way; 0 ends it.
func (h *Host) Slow(t testing.TB, delay time.Duration) {
	h.do(t, func(ctx context.Context) error { return h.host.Slow(ctx, delay) })
}

func (h *Host) do(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatal(err)
	}
}

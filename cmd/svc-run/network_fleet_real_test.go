//go:build real

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/dnsd"
	"svckit/lib/here"
)

// kindsSpec is an app with a service of each kind of network.
const kindsSpec = `
app: %s
build: {image: %s}
services:
  ranged: {port: 8000, CHECK}
  fixed: {port: 8000, publish: 8090, CHECK}
  hosted: {port: 8091, network: host, CHECK}
  own: {port: 8000, network: "macvlan:lan", CHECK}
`

// TestEachKindOfNetworkIsFoundAndReachedFromAnotherHost runs all of them on one
// host and asks from the other, by the DNS of its own agent.
func TestEachKindOfNetworkIsFoundAndReachedFromAnotherHost(t *testing.T) {
	f := newDeployFleet(t, lab.Datacenter{Servers: 1, Hosts: 2})
	at, there := f.Hosts[0], f.Hosts[1]
	own := ownAddresses(t, at)
	check := "check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 60s}, stop: {timeout: 5s, drain: 0s}"
	f.release("r1", "good", strings.ReplaceAll(kindsSpec, "CHECK", check))
	for _, row := range []struct {
		service, foundBy string
		port             int // 0: from the node's range, told by SRV
		address          func(string) bool
	}{
		{"ranged", "SRV", 0, func(a string) bool { return a == at.Addr() }},
		{"fixed", "A", 8090, func(a string) bool { return a == at.Addr() }},
		{"hosted", "A", 8091, func(a string) bool { return a == at.Addr() }},
		{"own", "A", 8000, func(a string) bool { return own.Contains(net.ParseIP(a)) }},
	} {
		got := decode[here.Outcome](t, f.must(0, "up", f.app+"/"+row.service, "--release", "r1", "--json").stdout)
		if got.FoundBy != row.foundBy {
			t.Errorf("%s is found by %q, want %s", row.service, got.FoundBy, row.foundBy)
		}
		name := f.app + "-" + row.service + ".service.consul"
		address, port := lookedUp(t, there, name, row.port)
		if !row.address(address) {
			t.Errorf("%s has the address %s", row.service, address)
		}
		if said, err := getFrom(there, net.JoinHostPort(address, strconv.Itoa(port))); err != nil || said != "r1\n" {
			t.Errorf("%s at %s:%d says %q to another host, %v", row.service, address, port, said, err)
		}
	}
}

// ownAddresses makes the network "lan" on the cable of a host, whose containers
// have addresses in the fleet's network, and gives the host a way to them.
func ownAddresses(t *testing.T, h *lab.Host) *net.IPNet {
	t.Helper()
	four := net.ParseIP(h.Addr()).To4()
	subnet := fmt.Sprintf("%d.%d.%d.", four[0], four[1], four[2])
	for _, args := range [][]string{
		{"ip", "link", "add", "shim", "link", "eth0", "type", "macvlan", "mode", "bridge"},
		{"ip", "addr", "add", subnet + "223/32", "dev", "shim"},
		{"ip", "link", "set", "shim", "up"},
		{"ip", "route", "add", subnet + "192/27", "dev", "shim"},
		{
			"docker", "network", "create", "--driver", "macvlan", "--subnet", subnet + "0/24", "--gateway", subnet + "1",
			"--ip-range", subnet + "192/27", "--aux-address", "host=" + subnet + "223", "--opt", "parent=eth0", "lan",
		},
	} {
		if out, err := h.Command(t, args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", strings.Join(args, " "), err, out)
		}
	}
	_, own, err := net.ParseCIDR(subnet + "192/27")
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// lookedUp is where the agent of a host says that a service is: by SRV, or by A for a port that is known.
func lookedUp(t *testing.T, h *lab.Host, name string, port int) (string, int) {
	t.Helper()
	if port == 0 {
		a, err := load.Resolved(func() (dnsd.Answer, error) { return dnsd.Lookup(t.Context(), h.DNS(), name) })
		if err != nil || len(a.Endpoints) != 1 {
			t.Fatalf("%s by SRV: %+v, %v", name, a, err)
		}
		return a.Endpoints[0].Address, a.Endpoints[0].Port
	}
	found, err := load.Resolved(func() ([]netip.Addr, error) { return dnsd.LookupA(t.Context(), h.DNS(), name) })
	if err != nil || len(found) != 1 {
		t.Fatalf("%s by A: %v, %v", name, found, err)
	}
	return found[0].String(), port
}

// getFrom asks as a program on a host does.
func getFrom(h *lab.Host, at string) (string, error) {
	res, err := h.Client().Get("http://" + at + "/")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 100))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s", res.Status)
	}
	return string(text), err
}

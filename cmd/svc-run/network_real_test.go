//go:build real

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/dnsd"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

// byAddress asks DNS for plain addresses, as most clients do.
func (r *rig) byAddress() []string {
	r.t.Helper()
	found, err := load.Resolved(func() ([]netip.Addr, error) { return dnsd.LookupA(r.t.Context(), r.agent.DNS, r.dns()) })
	if err != nil {
		r.t.Fatal(err)
	}
	out := make([]string, len(found))
	for k, a := range found {
		out[k] = a.String()
	}
	return out
}

// plainGet asks the service as a client that knows its name and port only.
func (r *rig) plainGet(port int) string {
	r.t.Helper()
	res, err := load.PlainClient(r.agent.DNS, false).Get(fmt.Sprintf("http://%s:%d/", r.dns(), port))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatal(res.Status)
	}
	var text [64]byte
	n, _ := res.Body.Read(text[:])
	return string(text[:n])
}

func actions(steps []rollout.Step) (out []string) {
	for _, s := range steps {
		out = append(out, string(s.Action))
	}
	return out
}

var stopFirstActions = []string{"withdraw", "drain", "stop", "create", "start", "gate", "register", "await", "remove"}

// onePort is what a service does that holds one port of the node: network host, or a fixed `publish`.
func onePort(t *testing.T, section string, port int, reason string) {
	r := newRig(t)
	text := strings.Replace(plainSpec, "port: 8000", section, 1)
	r.release("r1", "good", text)
	first := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout)
	if i := first.Instances[0]; first.FoundBy != "A" || i.Port != port || i.Address != "127.0.0.1" {
		t.Errorf("found by %s at %s:%d", first.FoundBy, i.Address, i.Port)
	}
	if got := r.byAddress(); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("A answers %q", got)
	}
	if e := r.endpoints(); len(e) != 1 || e[0].Port != port {
		t.Errorf("SRV answers %+v", e)
	}
	if got := r.plainGet(port); got != "r1\n" {
		t.Errorf("answers %q", got)
	}
	r.release("r2", "good", text)
	plan := decode[here.Outcome](t, r.must("up", r.service(), "--release", "r2", "--dry-run", "--json").stdout)
	if got := actions(plan.Steps); !slices.Equal(got[len(got)-len(stopFirstActions):], stopFirstActions) {
		t.Errorf("steps %q", got)
	}
	if got := r.must("up", r.service(), "--release", "r2"); !strings.Contains(got.stderr, "stops before the new one starts ("+reason) {
		t.Errorf("no note:\n%s", got.stderr)
	}
	if got := r.plainGet(port); got != "r2\n" {
		t.Errorf("after the replacement it answers %q", got)
	}
	r.release("r3", "bad", strings.Replace(text, "deadline: 20s", "deadline: 5s", 1))
	if got := r.run("up", r.service(), "--release", "r3"); got.code != int(fault.Unhealthy) {
		t.Errorf("a bad release: exit %d\n%s", got.code, got.stderr)
	}
	if got := r.plainGet(port); got != "r2\n" {
		t.Errorf("after the bad release it answers %q", got)
	}
	if got := r.run("up", r.service(), "--instances", "2"); got.code != int(fault.Invalid) || !strings.Contains(got.stderr, reason) {
		t.Errorf("two instances: exit %d\n%s", got.code, got.stderr)
	}
	if containers, entries := r.state(); !slices.Equal(containers, []string{"r2 running"}) || entries != 1 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
}

func TestAFixedPortIsFoundByPlainAddressesAndReplacedStopFirst(t *testing.T) {
	port := lab.FreePorts(t, 1)[0]
	onePort(t, fmt.Sprintf("port: 8000\n    publish: %d", port), port, fmt.Sprintf("port %d of the node can be held by one container only", port))
}

func TestTheHostsNetworkIsFoundByPlainAddressesAndReplacedStopFirst(t *testing.T) {
	port := lab.FreePorts(t, 1)[0]
	onePort(t, fmt.Sprintf("port: %d\n    network: host", port), port, fmt.Sprintf("on the host network port %d can be held by one container only", port))
}

// macvlan makes a network whose containers have addresses of their own, on a veth
// pair, and gives this host a way to them: a parent never talks to its own macvlans.
func macvlan(t *testing.T, r *rig) (network string) {
	t.Helper()
	link := "m" + r.app[1:]
	parent, shim := link+"a", link+"s"
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", strings.Join(args, " "), err, out)
		}
	}
	ip("link", "add", parent, "type", "veth", "peer", "name", link+"b")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", parent).Run() }) // the shim and the peer go with it
	ip("link", "set", parent, "up")
	ip("link", "set", link+"b", "up")
	ip("link", "add", shim, "link", parent, "type", "macvlan", "mode", "bridge")
	ip("addr", "add", "198.18.79.254/24", "dev", shim)
	ip("link", "set", shim, "up")
	r.docker("network", "create", "--driver", "macvlan", "--subnet", "198.18.79.0/24", "--ip-range", "198.18.79.64/27",
		"--gateway", "198.18.79.1", "--aux-address", "host=198.18.79.254", "--opt", "parent="+parent, link)
	t.Cleanup(func() {
		r.clean()
		r.docker("network", "rm", link)
	})
	return link
}

func (r *rig) docker(args ...string) string {
	r.t.Helper()
	out, err := exec.CommandContext(context.Background(), "docker", args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("docker %s: %v %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAMacvlanServiceHasPlainNamesAndIsReplacedUnderLoadWithoutAFailure(t *testing.T) {
	r := newRigAlone(t)
	text := strings.Replace(plainSpec, "port: 8000", "port: 8000\n    network: macvlan:"+macvlan(t, r), 1)
	r.release("r1", "good", text)
	first := decode[here.Outcome](t, r.must("up", r.service(), "--instances", "2", "--json").stdout)
	if first.FoundBy != "A" || len(first.Instances) != 2 {
		t.Fatalf("%+v", first)
	}
	want := []string{first.Instances[0].Address, first.Instances[1].Address}
	slices.Sort(want)
	if got := r.byAddress(); !slices.Equal(got, want) || want[0] == want[1] || !strings.HasPrefix(want[0], "198.18.79.") {
		t.Errorf("A answers %q, the instances have %q", got, want)
	}
	url := "http://" + r.dns() + ":8000/"
	l := load.Start(url, load.PlainClient(r.agent.DNS, false), load.PlainClient(r.agent.DNS, true), load.PlainClient(r.agent.DNS, true))
	defer l.Stop()
	n := 2
	for ; n < 40 && (n <= 4 || l.Done.Load() < 5_000); n++ {
		name := fmt.Sprintf("r%d", n)
		r.release(name, "good", text)
		got := decode[here.Outcome](t, r.must("up", r.service(), "--instances", "2", "--release", name, "--json").stdout)
		if len(got.Notes) != 0 || slices.Index(actions(got.Steps), "create") > slices.Index(actions(got.Steps), "stop") {
			t.Errorf("not start-first: %q %q", got.Notes, actions(got.Steps))
		}
	}
	l.Stop()
	t.Logf("%d requests answered, %d failed", l.Done.Load(), l.Failed.Load())
	if l.Failed.Load() != 0 || l.Done.Load() < 5_000 {
		t.Errorf("%d of %d failed: %v", l.Failed.Load(), l.Done.Load()+l.Failed.Load(), l.Errors())
	}
	last := fmt.Sprintf("r%d", n-1)
	if containers, entries := r.state(); !slices.Equal(containers, []string{last + " running", last + " running"}) || entries != 2 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
}

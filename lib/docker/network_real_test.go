//go:build real

package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"

	"svckit/lab"
	"svckit/lib/fleet"
)

// macvlanParent makes a veth pair whose one end carries a macvlan, and removes it after the test.
func macvlanParent(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("svk%d", os.Getpid()%100_000)
	onHost(t, "ip", "link", "add", name+"a", "type", "veth", "peer", "name", name+"b")
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "del", name+"a").CombinedOutput(); err != nil {
			t.Errorf("remove veth: %v %s", err, out)
		}
	})
	onHost(t, "ip", "link", "set", name+"a", "up")
	onHost(t, "ip", "link", "set", name+"b", "up")
	return name + "a"
}

func TestAContainerOnAMacvlanHasItsOwnAddress(t *testing.T) {
	parent := macvlanParent(t) // removed last: after the network
	e, name := testEngine(t)
	made, err := e.api.NetworkCreate(t.Context(), name, network.CreateOptions{
		Driver: "macvlan", Options: map[string]string{"parent": parent, "macvlan_mode": "bridge"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "198.18.77.0/24", Gateway: "198.18.77.1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		clearAway(t, e, name)
		if err := e.api.NetworkRemove(context.Background(), made.ID); err != nil {
			t.Errorf("remove network: %v", err)
		}
	})
	with := func(suffix string) string {
		c := plain(name+suffix, "python3", "-m", "http.server", "8000")
		c.Network = name
		c.Labels[fleet.LabelPort] = "8000"
		return startNew(t, e, c)
	}
	first, second := with("-a"), with("-b")
	var at [2]fleet.Instance
	for i, id := range []string{first, second} {
		if at[i], err = e.Instance(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		ip, err := netip.ParseAddr(at[i].Address)
		if err != nil || !netip.MustParsePrefix("198.18.77.0/24").Contains(ip) || at[i].Port != 8000 || at[i].Network != name {
			t.Errorf("%s:%d on %s, %v", at[i].Address, at[i].Port, at[i].Network, err)
		}
	}
	if at[0].Address == at[1].Address {
		t.Errorf("both have %s", at[0].Address)
	}
	ask := fmt.Sprintf("import urllib.request; print(urllib.request.urlopen('http://%s/', timeout=10).status)", net.JoinHostPort(at[1].Address, "8000"))
	eventually(t, time.Minute, "answer from the neighbour", func() bool {
		out, code := execIn(t, e, first, "", "python3", "-c", ask)
		return code == 0 && out == "200"
	})
	if err := e.Stop(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if in, err := e.Instance(t.Context(), first); err != nil || in.Address != "" {
		t.Errorf("address of a stopped container %q, %v", in.Address, err)
	}
	third := with("-c")
	if in, err := e.Instance(t.Context(), third); err != nil || in.Address == at[0].Address || in.Address == at[1].Address {
		t.Errorf("a third has %q, %v; the others have %s and %s", in.Address, err, at[0].Address, at[1].Address)
	}
	if err := e.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if in, err := e.Instance(t.Context(), first); err != nil || in.Address != at[0].Address {
		t.Errorf("started again it has %q, %v; want %s", in.Address, err, at[0].Address)
	}
}

func TestAContainerOnTheHostsNetworkListensThere(t *testing.T) {
	e, name := testEngine(t)
	port := fmt.Sprint(lab.FreePorts(t, 1)[0])
	c := plain(name, "python3", "-m", "http.server", "--bind", "127.0.0.1", port)
	c.Network, c.DNS = "host", []string{"192.0.2.53"}
	c.Labels[fleet.LabelAddress], c.Labels[fleet.LabelPort] = "127.0.0.1", port
	id := startNew(t, e, c)
	in, err := e.Instance(t.Context(), id)
	if err != nil || in.Network != "host" || in.Address != "127.0.0.1" {
		t.Errorf("%+v, %v", in, err)
	}
	eventually(t, time.Minute, "answer", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if out, _ := execIn(t, e, id, "", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 192.0.2.53") {
		t.Errorf("resolv.conf %q", out)
	}
}

func TestLogsOfContainersAreRotated(t *testing.T) {
	e, name := testEngine(t)
	id, err := e.Create(t.Context(), plain(name))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.api.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got := raw.HostConfig.LogConfig
	if got.Type != "json-file" || got.Config["max-size"] != "10m" || got.Config["max-file"] != "3" {
		t.Errorf("%+v", got)
	}
	if raw.HostConfig.Init == nil || !*raw.HostConfig.Init {
		t.Error("no init")
	}
}

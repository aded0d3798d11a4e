//go:build real

package link

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"svckit/lib/fault"
)

// place is a name and an address that no other test has.
func place(t *testing.T) (string, netip.Addr) {
	t.Helper()
	n := rand.IntN(1 << 16)
	name := fmt.Sprintf("svct%04x", n)
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
	return name, netip.AddrFrom4([4]byte{169, 254, 1 + byte(n>>8)%250, 1 + byte(n)%250})
}

// answers reports whether a packet to the address arrives at a socket there.
func answers(address netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
	if err != nil {
		return err
	}
	defer c.Close()
	from, err := net.DialUDP("udp", nil, c.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := from.Write([]byte("x")); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestTheAddressIsThereUntilItIsRemoved(t *testing.T) {
	for _, row := range []struct {
		name  string
		kinds []string
		on    []string // types of the interface that it may be on
	}{
		{"as svc-dns makes it", []string{"dummy", "bridge"}, []string{"dummy", "bridge"}},
		{"on a bridge", []string{"bridge"}, []string{"bridge"}},
		{"where the first kind is unknown to the kernel", []string{"svct-none", "bridge"}, []string{"bridge"}},
		{"where no kind is known", []string{"svct-none"}, []string{"device"}}, // loopback
	} {
		t.Run(row.name, func(t *testing.T) {
			name, address := place(t)
			remove, err := create(name, address, row.kinds)
			if err != nil {
				t.Fatal(err)
			}
			if err := answers(address); err != nil {
				t.Error(err)
			}
			if on := carrier(t, address); !slices.Contains(row.on, on.Type()) {
				t.Errorf("it is on %s of type %s, want %v", on.Attrs().Name, on.Type(), row.on)
			}
			again, err := create(name, address, row.kinds) // as a svc-dns that takes over
			if err != nil {
				t.Fatal(err)
			}
			if err := again(); err != nil {
				t.Error(err)
			}
			if err := answers(address); err != nil {
				t.Errorf("who found it has taken it away: %v", err)
			}
			if err := remove(); err != nil {
				t.Error(err)
			}
			if err := answers(address); err == nil {
				t.Error("it is still there")
			}
			if _, err := netlink.LinkByName(name); err == nil {
				t.Errorf("%s is still there", name)
			}
		})
	}
}

// carrier is the interface that has an address.
func carrier(t *testing.T, address netip.Addr) netlink.Link {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.String() == address.String() }) {
			return l
		}
	}
	t.Fatalf("no interface has %s", address)
	return nil
}

func TestAnInterfaceOfAnotherKindIsLeftAlone(t *testing.T) {
	name, address := place(t)
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(name, address); fault.KindOf(err) != fault.Refused {
		t.Errorf("error %v, want refused", err)
	}
}

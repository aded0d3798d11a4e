// Package link makes the network interface that carries svc-dns's own address.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"svckit/lib/fault"
)

// Make gives a machine an address of its own on a dummy interface, so that
// host and containers find the same server there, and returns what takes it away
// again. What is there already is used as it is, and then made is false.
func Make(name string, address netip.Addr) (remove func() error, made bool, err error) {
	prefix := netip.PrefixFrom(address, address.BitLen())
	found, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		made = true
		if err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, false, linkError(name, err)
		}
		if found, err = netlink.LinkByName(name); err != nil {
			return nil, false, linkError(name, err)
		}
	case err != nil:
		return nil, false, linkError(name, err)
	case found.Type() != "dummy":
		return nil, false, fault.New(fault.Refused, "make interface %s: there is one of this name, of type %s", name, found.Type())
	}
	a, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return nil, false, linkError(name, err)
	}
	if err := netlink.AddrReplace(found, a); err != nil {
		return nil, false, linkError(name, err)
	}
	if err := netlink.LinkSetUp(found); err != nil {
		return nil, false, linkError(name, err)
	}
	return func() error {
		if err := netlink.LinkDel(found); err != nil {
			return fmt.Errorf("remove interface %s: %w", name, err)
		}
		return nil
	}, made, nil
}

func linkError(name string, err error) error {
	e := fault.New(fault.Failed, "make interface %s: %w", name, err)
	if errors.Is(err, syscall.EPERM) {
		e.Hint = "this needs the capability CAP_NET_ADMIN: see examples/systemd, or make the interface by hand: ip link add " + name + " type dummy"
	}
	return e
}

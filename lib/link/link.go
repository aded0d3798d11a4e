// Package link gives this machine the address that svc-dns answers at.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"svckit/lib/fault"
)

const loopback = "lo"

// Make gives the machine an address of its own on a dummy interface, so that
// host and containers find the same server there, and returns what takes it away
// again; where the kernel has no dummy interfaces, on the loopback interface.
// What is there already is used as it is, and remove leaves it.
func Make(name string, address netip.Addr) (remove func() error, err error) {
	made, err := add(name)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		name, err = loopback, nil
	}
	if err != nil {
		return nil, linkError(name, err)
	}
	there, err := netlink.LinkByName(name)
	if err != nil {
		return nil, linkError(name, err)
	}
	if there.Type() != "dummy" && name != loopback {
		return nil, fault.New(fault.Refused, "make interface %s: there is one of this name, of type %s", name, there.Type())
	}
	a, err := netlink.ParseAddr(netip.PrefixFrom(address, address.BitLen()).String())
	if err != nil {
		return nil, linkError(name, err)
	}
	err = netlink.AddrAdd(there, a)
	given := err == nil
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, linkError(name, err)
	}
	if err := netlink.LinkSetUp(there); err != nil {
		return nil, linkError(name, err)
	}
	return func() error {
		switch {
		case made:
			err = netlink.LinkDel(there)
		case given:
			err = netlink.AddrDel(there, a)
		default:
			return nil
		}
		if err != nil {
			return fmt.Errorf("remove address %s from %s: %w", address, name, err)
		}
		return nil
	}, nil
}

// add makes the interface unless there is one.
func add(name string) (made bool, err error) {
	err = netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}})
	if errors.Is(err, syscall.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

func linkError(name string, err error) error {
	e := fault.New(fault.Failed, "make interface %s: %w", name, err)
	if errors.Is(err, syscall.EPERM) {
		e.Hint = "this needs the capability CAP_NET_ADMIN: see examples/systemd, or make the interface by hand: ip link add " + name + " type dummy"
	}
	return e
}

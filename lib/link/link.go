// Package link gives this machine the address that svc-dns answers at.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"svckit/lib/fault"
)

const loopback = "lo"

// Make gives the machine an address of its own on a dummy interface, so that
// host and containers find the same server there, and returns what takes it away
// again. Where the kernel has no dummy interfaces, a bridge without ports is as
// good for IPv4; where it has neither, the loopback interface gets the address.
// What is there already is used as it is, and remove leaves it.
func Make(name string, address netip.Addr) (remove func() error, err error) {
	kinds := []string{"dummy"}
	if address.Is4() { // an IPv6 address of a bridge without ports stays tentative: nothing tells that it is the only one
		kinds = append(kinds, "bridge")
	}
	return create(name, address, kinds)
}

// create tries the kinds of interfaces one after the other.
func create(name string, address netip.Addr, kinds []string) (remove func() error, err error) {
	made, err := add(name, kinds)
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
	if name != loopback && !slices.Contains(kinds, there.Type()) {
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

// add makes the interface unless there is one. With EOPNOTSUPP the kernel has none of these kinds.
func add(name string, kinds []string) (made bool, err error) {
	if _, err := netlink.LinkByName(name); err == nil {
		return false, nil
	}
	for _, kind := range kinds {
		err = netlink.LinkAdd(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: name}, LinkType: kind})
		if !errors.Is(err, syscall.EOPNOTSUPP) {
			break
		}
	}
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

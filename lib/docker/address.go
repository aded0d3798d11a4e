package docker

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"net/netip"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"svckit/lib/fault"
)

// The engine gives a container on a network of addresses a new one at every start:
// one that was just given up goes to the next container that starts (measured on
// 20.10), while the old registration and DNS answers still name it. So the address
// is chosen when the container is made and stays its own, as a host port does.

// endpoint is how a container is attached: with a fixed address where its network gives addresses of their own.
func (e *Engine) endpoint(ctx context.Context, name, container string) (*network.NetworkingConfig, error) {
	found, err := e.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if err != nil {
		return nil, e.wrap(err, "create container %s: network %s", container, name)
	}
	if found.Driver != "macvlan" && found.Driver != "ipvlan" {
		return nil, nil
	}
	taken, err := e.takenAddresses(ctx, found)
	if err != nil {
		return nil, e.wrap(err, "create container %s: look for a free address on %s", container, name)
	}
	ranges := 0
	for _, c := range found.IPAM.Config {
		address, ok := chooseAddress(c, taken, container)
		if ok {
			own := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: address.String()}}
			return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: own}}, nil
		}
		if p, err := netip.ParsePrefix(c.Subnet); err == nil && p.Addr().Is4() {
			ranges++
		}
	}
	if ranges == 0 {
		return nil, nil // IPv6 only: the engine chooses
	}
	return nil, fault.WithHint(fault.New(fault.Failed, "create container %s: every address of network %s is taken", container, name),
		"give the network a larger --ip-range, or remove containers that have ended")
}

// takenAddresses are those of containers that run, and those that stopped ones will come back with.
func (e *Engine) takenAddresses(ctx context.Context, n network.Inspect) (map[netip.Addr]bool, error) {
	taken := map[netip.Addr]bool{}
	take := func(text string) {
		if a, err := netip.ParseAddr(text); err == nil {
			taken[a] = true
		} else if p, err := netip.ParsePrefix(text); err == nil {
			taken[p.Addr()] = true
		}
	}
	for _, c := range n.Containers {
		take(c.IPv4Address)
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("network", n.ID))})
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.NetworkSettings == nil {
			continue
		}
		for _, at := range c.NetworkSettings.Networks {
			if at == nil || at.NetworkID != "" && at.NetworkID != n.ID {
				continue
			}
			take(at.IPAddress)
			if at.IPAMConfig != nil {
				take(at.IPAMConfig.IPv4Address)
			}
		}
	}
	return taken, nil
}

// maxAddresses bounds the search in a range.
const maxAddresses = 1 << 16

// chooseAddress picks a free address of a range. It begins at a place that depends
// on the container's name, so that an address that was just given up is not the next one given out.
func chooseAddress(c network.IPAMConfig, taken map[netip.Addr]bool, container string) (netip.Addr, bool) {
	subnet, err := netip.ParsePrefix(c.Subnet)
	if err != nil || !subnet.Addr().Is4() {
		return netip.Addr{}, false
	}
	within := subnet.Masked()
	if r, err := netip.ParsePrefix(c.IPRange); err == nil && r.Addr().Is4() && r.Bits() >= subnet.Bits() && subnet.Contains(r.Addr()) {
		within = r.Masked()
	}
	reserved := map[string]bool{c.Gateway: true}
	for _, a := range c.AuxAddress {
		reserved[a] = true
	}
	size := uint64(1) << (32 - within.Bits())
	h := fnv.New32a()
	_, _ = h.Write([]byte(container))
	at := uint64(h.Sum32()) % size
	for k := range min(size, maxAddresses) {
		a := offset(within.Addr(), (at+k)%size)
		if !taken[a] && !reserved[a.String()] && !edge(subnet, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// edge reports whether a names the subnet itself or everybody in it.
func edge(subnet netip.Prefix, a netip.Addr) bool {
	if subnet.Bits() >= 31 {
		return false
	}
	first := subnet.Masked().Addr()
	return a == first || a == offset(first, uint64(1)<<(32-subnet.Bits())-1)
}

func offset(a netip.Addr, by uint64) netip.Addr {
	four := a.As4()
	binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(four[:])+uint32(by))
	return netip.AddrFrom4(four)
}

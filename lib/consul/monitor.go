package consul

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Monitors returns the nodes that have a monitor, by name, whether it answers or
// not. A node with two of them counts once.
func (c *Client) Monitors(ctx context.Context) ([]fleet.Monitor, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	entries, meta, err := c.api.Health().Service(fleet.MonitorService, "", false, q)
	if err != nil {
		return nil, c.fault(ctx, "find the monitors", err)
	}
	if meta != nil && meta.ResultsFilteredByACLs {
		return nil, fault.WithHint(fault.New(fault.Failed, "find the monitors: not allowed: the Consul token hides services or nodes that are there"),
			`give the token the rules: service "%s" { policy = "read" } and node_prefix "" { policy = "read" }`, fleet.MonitorService)
	}
	var list []fleet.Monitor
	for _, e := range entries {
		if e == nil || e.Node == nil || e.Service == nil || !nodeName.MatchString(e.Node.Node) {
			continue
		}
		host := cmp.Or(e.Service.Address, e.Node.Address)
		m := fleet.Monitor{
			Node: e.Node.Node, Zone: clean(e.Node.Meta["zone"], 100), Pool: clean(e.Node.Meta["pool"], 100),
			Address: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)), Alive: true, Scheme: "http",
		}
		if e.Service.Meta["scheme"] == "https" {
			m.Scheme = "https"
		}
		for _, check := range e.Checks {
			if check.CheckID == "serfHealth" && check.Status == api.HealthCritical {
				m.Alive = false
			}
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b fleet.Monitor) int { return cmp.Compare(a.Node, b.Node) })
	return slices.CompactFunc(list, func(a, b fleet.Monitor) bool { return a.Node == b.Node }), nil
}

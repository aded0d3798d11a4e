package consul

import (
	"context"
	"strings"
)

// Leader returns the address of the servers' leader, "" when they have none.
func (c *Client) Leader(ctx context.Context) (string, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	leader, err := c.api.Status().LeaderWithQueryOptions(q)
	if err != nil && strings.Contains(err.Error(), "No known Consul servers") {
		return "", nil
	}
	return clean(leader, 255), c.fault(ctx, "ask for the leader", err)
}

// Leaves reports whether the agent leaves the cluster, with all that is
// registered on it, when it is terminated (leave_on_terminate); nil when it does not tell.
func (c *Client) Leaves(ctx context.Context) (*bool, error) {
	var out struct{ DebugConfig struct{ LeaveOnTerm *bool } }
	q, cancel := c.reading(ctx)
	defer cancel()
	if _, err := c.api.Raw().Query("/v1/agent/self", &out, q); err != nil {
		return nil, c.fault(ctx, "ask the agent about itself", err)
	}
	return out.DebugConfig.LeaveOnTerm, nil
}

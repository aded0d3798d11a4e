package consul

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"svckit/lib/planner"
)

// FollowFreezes calls tell with every freeze there is, over or not: at the first
// answer and after each change, or with the error that keeps them from being
// read (then those from before stay in force). One that cannot be read forbids
// lowering, as in Orders. It returns when ctx ends, or with an error that asking
// again does not change. A leader has made a key to wait on; until there was one,
// it looks at most once a second, since a query on a prefix without a key wakes
// with every write of the cluster.
func (c *Client) FollowFreezes(ctx context.Context, tell func([]planner.Freeze, error)) error {
	last, failures := "none", 0
	return c.watch(ctx, "follow "+c.keys.freeze(), func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		pairs, meta, err := c.api.KV().List(c.keys.freeze(), q)
		if err != nil {
			if failures++; failures == sureFailures && ctx.Err() == nil {
				tell(nil, c.fault(ctx, "follow "+c.keys.freeze(), err))
				last = "none"
			}
			return meta, false, err
		}
		failures = 0
		list, mark := c.freezes(pairs)
		if mark != last {
			last = mark
			tell(list, nil)
		}
		if len(pairs) == 0 {
			sleep(ctx, emptyPause)
		}
		return meta, false, nil
	})
}

// seedFreeze makes the key of a freeze of everything, thawed, where there is none,
// so that nodes have one to wait on. They may not write it themselves.
func (c *Client) seedFreeze(ctx context.Context) {
	pair, err := c.get(ctx, c.keys.freeze())
	if err == nil && pair != nil {
		return
	}
	var value []byte
	if err == nil {
		value, err = encode(freezeDoc{Schema: schema})
	}
	if err == nil {
		err = c.swap(ctx, c.keys.freeze(), value, 0)
	}
	if err != nil {
		c.log.Debug("key of freezes not made", "error", err)
	}
}

// freezes reads pairs, and gives what tells one answer from another.
func (c *Client) freezes(pairs []*api.KVPair) (list []planner.Freeze, mark string) {
	o := planner.Orders{}
	for _, p := range pairs {
		if p == nil || p.Key != c.keys.freeze() && !strings.HasPrefix(p.Key, c.keys.freeze()+"/") || strings.HasSuffix(p.Key, "/") {
			continue
		}
		mark += fmt.Sprintf("%s@%d\n", p.Key, p.ModifyIndex)
		if err := c.readFreeze(&o, p); err != nil {
			c.log.Warn("a freeze cannot be read: it forbids lowering", "key", shown(p.Key), "error", err)
		}
	}
	return o.Freezes, mark
}

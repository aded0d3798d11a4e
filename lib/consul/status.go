package consul

import (
	"context"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
)

// maxStatus bounds what is kept of one service, in bytes.
const maxStatus = 64 << 10

type statusDoc struct {
	Schema int `json:"schema"`
	planner.Status
}

// Statuses returns what the planner says of all services, by name, and for every
// key that is not readable "key: reason".
func (c *Client) Statuses(ctx context.Context) (list []planner.Status, bad map[string]string, err error) {
	pairs, err := c.listAll(ctx, c.keys.statuses())
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]string{}
	for _, p := range pairs {
		s, err := c.readStatus(p)
		if err != nil {
			bad[shown(p.Key)] = err.Error()
			continue
		}
		list = append(list, s)
	}
	return list, bad, nil
}

// Status returns what the planner says of one service; fleet.ErrNotFound where it has said nothing.
func (c *Client) Status(ctx context.Context, name string) (planner.Status, error) {
	key, err := c.keys.status(name)
	if err != nil {
		return planner.Status{}, err
	}
	pair, err := c.get(ctx, key)
	switch {
	case err != nil:
		return planner.Status{}, err
	case pair == nil:
		return planner.Status{}, fault.New(fault.NotFound, "read %s: %w", key, fleet.ErrNotFound)
	}
	s, err := c.readStatus(pair)
	if err != nil {
		return planner.Status{}, unreadable(key, err)
	}
	return s, nil
}

func (c *Client) readStatus(p *api.KVPair) (planner.Status, error) {
	name, ok := serviceOf(c.keys.statuses(), p.Key)
	if !ok || len(p.Value) > maxStatus {
		return planner.Status{}, fault.New(fault.Invalid, "not a service, or too long")
	}
	var d statusDoc
	if err := decode(p.Value, &d); err != nil {
		return planner.Status{}, err
	}
	d.Name, d.Index = name, p.ModifyIndex
	d.Words, d.Held = clean(d.Words, 2000), clean(d.Held, 2000)
	for i := range d.Last {
		d.Last[i].Words = clean(d.Last[i].Words, 2000)
	}
	return d.Status, d.Check()
}

// SetStatuses writes what the planner says of services, as SetWants does wishes.
func (l *Lease) SetStatuses(ctx context.Context, list []planner.Status) (fleet.Written, error) {
	var ops []*api.KVTxnOp
	for _, s := range list {
		key, err := l.client.keys.status(s.Name)
		if err == nil {
			err = s.Check()
		}
		if err != nil {
			return fleet.Written{}, err
		}
		value, err := encode(statusDoc{Schema: schema, Status: s})
		if err != nil {
			return fleet.Written{}, err
		}
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: value, Index: s.Index})
	}
	return l.write(ctx, l.client.keys.statuses(), ops)
}

// SetPools writes pools, as SetWants does wishes.
func (l *Lease) SetPools(ctx context.Context, list []planner.Membership) (fleet.Written, error) {
	var ops []*api.KVTxnOp
	for _, m := range list {
		key, value, err := l.client.encodePool(m)
		if err != nil {
			return fleet.Written{}, err
		}
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: value, Index: m.Index})
	}
	return l.write(ctx, l.client.keys.pools(), ops)
}

package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
)

// maxLearned bounds what is kept of the demand of one service, in bytes: 28 days have 12 KiB.
const maxLearned = 16 << 10

type learnedDoc struct {
	Schema int `json:"schema"`
	planner.Learned
}

// Learned returns what planners before saw of the demand of services, by name,
// and for every key that is not readable "key: reason".
func (c *Client) Learned(ctx context.Context) (list []planner.Learned, bad map[string]string, err error) {
	pairs, err := c.listAll(ctx, c.keys.demands())
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]string{}
	for _, p := range pairs {
		l, err := c.readLearned(p)
		if err != nil {
			bad[shown(p.Key)] = err.Error()
			continue
		}
		list = append(list, l)
	}
	return list, bad, nil
}

func (c *Client) readLearned(p *api.KVPair) (planner.Learned, error) {
	name, ok := serviceOf(c.keys.demands(), p.Key)
	if !ok || len(p.Value) > maxLearned {
		return planner.Learned{}, fault.New(fault.Invalid, "not a service, or too long")
	}
	var d learnedDoc
	if err := decode(p.Value, &d); err != nil {
		return planner.Learned{}, err
	}
	d.Name, d.Index = name, p.ModifyIndex
	return d.Learned, d.Check(time.Now().Unix())
}

// SetLearned writes what was seen of demand, as SetWants does wishes. What is Gone is
// deleted, if nobody wrote it since its Index.
func (l *Lease) SetLearned(ctx context.Context, list []planner.Learned) (fleet.Written, error) {
	var ops []*api.KVTxnOp
	for _, x := range list {
		key, err := l.client.keys.demand(x.Name)
		if err == nil && x.Gone {
			ops = append(ops, &api.KVTxnOp{Verb: api.KVDeleteCAS, Key: key, Index: x.Index})
			continue
		}
		if err == nil {
			err = x.Check(time.Now().Unix())
		}
		if err != nil {
			return fleet.Written{}, err
		}
		value, err := encode(learnedDoc{Schema: schema, Learned: x})
		if err != nil {
			return fleet.Written{}, err
		}
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: value, Index: x.Index})
	}
	return l.write(ctx, l.client.keys.demands(), ops)
}

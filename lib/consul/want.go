package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Bounds of what a wish may ask of a node.
const (
	maxAllotments = 5000
	maxCount      = 100_000
)

type wantDoc struct {
	Schema   int               `json:"schema"`
	Epoch    uint64            `json:"epoch"`
	Gen      uint64            `json:"gen"`
	At       time.Time         `json:"at"`
	Services []fleet.Allotment `json:"services"`
}

type haveDoc struct {
	Schema   int             `json:"schema"`
	Epoch    uint64          `json:"epoch"`
	Gen      uint64          `json:"gen"`
	At       time.Time       `json:"at"`
	Services []fleet.Reached `json:"services"`
}

// Want returns what a node should run; fleet.ErrNotFound when nobody has said
// it yet, a fault.Invalid when the value is not a wish.
func (c *Client) Want(ctx context.Context, node string) (fleet.Want, error) {
	key, err := c.keys.want(node)
	if err != nil {
		return fleet.Want{}, err
	}
	pair, err := c.get(ctx, key)
	if err != nil {
		return fleet.Want{}, err
	}
	return readWant(node, key, pair)
}

func readWant(node, key string, pair *api.KVPair) (fleet.Want, error) {
	if pair == nil {
		return fleet.Want{}, fault.New(fault.NotFound, "read %s: %w", key, fleet.ErrNotFound)
	}
	w, err := decodeWant(node, pair.Value)
	if err != nil {
		return fleet.Want{}, unreadable(key, err)
	}
	w.Index = pair.ModifyIndex
	return w, nil
}

// Wants returns the wishes of all nodes, by node, and for every key that is not
// a readable wish "key: reason".
func (c *Client) Wants(ctx context.Context) (list []fleet.Want, bad map[string]string, err error) {
	pairs, err := c.listAll(ctx, c.keys.wants())
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]string{}
	for _, p := range pairs {
		node := strings.TrimPrefix(p.Key, c.keys.wants())
		if !nodeName.MatchString(node) {
			bad[shown(p.Key)] = "not a name of a node"
			continue
		}
		w, err := decodeWant(node, p.Value)
		if err != nil {
			bad[p.Key] = err.Error()
			continue
		}
		w.Index = p.ModifyIndex
		list = append(list, w)
	}
	return list, bad, nil
}

// listAll is list, where a key that must not be read is an error.
func (c *Client) listAll(ctx context.Context, prefix string) ([]*api.KVPair, error) {
	pairs, hidden, err := c.list(ctx, prefix)
	if err == nil && hidden {
		err = notAllowed("read", prefix)
	}
	return pairs, err
}

// FollowWant calls tell with the wish of a node: at the first answer and after
// each change, or with the error that keeps it from being read (then the wish
// before stays in force). It returns when ctx ends, or with an error that asking
// again does not change.
func (c *Client) FollowWant(ctx context.Context, node string, tell func(fleet.Want, error)) error {
	key, err := c.keys.want(node)
	if err != nil {
		return err
	}
	const none = ^uint64(0)
	last := none
	failures := 0
	return c.watch(ctx, "follow "+key, func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		pair, meta, err := c.api.KV().Get(key, q)
		if err != nil {
			if failures++; failures == sureFailures && ctx.Err() == nil {
				tell(fleet.Want{}, c.fault(ctx, "follow "+key, err))
				last = none
			}
			return meta, false, err
		}
		failures = 0
		index := uint64(0)
		if pair != nil {
			index = pair.ModifyIndex
		}
		if index != last {
			last = index
			tell(readWant(node, key, pair))
		}
		return meta, false, nil
	})
}

// SetHave says what a node reached.
func (c *Client) SetHave(ctx context.Context, h fleet.Have) error {
	key, err := c.keys.have(h.Node)
	if err != nil {
		return err
	}
	h.Services = slices.Clone(h.Services) // they are the caller's
	for i := range h.Services {
		h.Services[i].Error = clean(h.Services[i].Error, 300)
	}
	if err := checkHave(h); err != nil {
		return fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	value, err := encode(haveDoc{Schema: schema, Epoch: h.Epoch, Gen: h.Gen, At: h.At.UTC(), Services: append([]fleet.Reached{}, h.Services...)})
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	q, cancel := c.writing(ctx)
	defer cancel()
	_, err = c.api.KV().Put(&api.KVPair{Key: key, Value: value}, q)
	return c.fault(ctx, "write "+key, err)
}

// Haves returns what all nodes reached, by node, and for every key that is not
// readable "key: reason".
func (c *Client) Haves(ctx context.Context) (list []fleet.Have, bad map[string]string, err error) {
	pairs, err := c.listAll(ctx, c.keys.haves())
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]string{}
	for _, p := range pairs {
		node := strings.TrimPrefix(p.Key, c.keys.haves())
		h, err := decodeHave(node, p.Value)
		if err != nil {
			bad[shown(p.Key)] = err.Error()
			continue
		}
		list = append(list, h)
	}
	return list, bad, nil
}

func decodeWant(node string, value []byte) (fleet.Want, error) {
	var d wantDoc
	if err := decode(value, &d); err != nil {
		return fleet.Want{}, err
	}
	w := fleet.Want{Node: node, Epoch: d.Epoch, Gen: d.Gen, At: d.At.UTC(), Services: d.Services}
	return w, checkWant(w)
}

func encodeWant(w fleet.Want) ([]byte, error) {
	if err := checkWant(w); err != nil {
		return nil, err
	}
	return encode(wantDoc{Schema: schema, Epoch: w.Epoch, Gen: w.Gen, At: w.At.UTC(), Services: append([]fleet.Allotment{}, w.Services...)})
}

// checkWant holds for both directions: what is refused when read is never written.
func checkWant(w fleet.Want) error {
	if len(w.Services) > maxAllotments {
		return tooMany("services", len(w.Services), maxAllotments)
	}
	if !sane(w.At) {
		return errors.New("at is not a time of this century")
	}
	for i, a := range w.Services {
		switch {
		case !isPair(a.Name):
			return fmt.Errorf("service %q: not app/service", clean(a.Name, 80))
		case i > 0 && w.Services[i-1].Name >= a.Name:
			return fmt.Errorf("service %s: not in the order of names, or there twice", a.Name)
		case a.Unit != "workers" && a.Unit != "instances":
			return fmt.Errorf("service %s: unit is neither workers nor instances", a.Name)
		case a.Count < 0 || a.Count > maxCount || a.Room < 0 || a.Room > maxCount:
			return fmt.Errorf("service %s: count or room is out of bounds", a.Name)
		case !line(a.Reason, 500):
			return fmt.Errorf("service %s: reason holds control characters or is too long", a.Name)
		}
	}
	return nil
}

func decodeHave(node string, value []byte) (fleet.Have, error) {
	if !nodeName.MatchString(node) {
		return fleet.Have{}, errors.New("not a name of a node")
	}
	var d haveDoc
	if err := decode(value, &d); err != nil {
		return fleet.Have{}, err
	}
	h := fleet.Have{Node: node, Epoch: d.Epoch, Gen: d.Gen, At: d.At.UTC(), Services: d.Services}
	return h, checkHave(h)
}

func checkHave(h fleet.Have) error {
	if len(h.Services) > maxAllotments {
		return tooMany("services", len(h.Services), maxAllotments)
	}
	if !sane(h.At) {
		return errors.New("at is not a time of this century")
	}
	if !slices.IsSortedFunc(h.Services, func(a, b fleet.Reached) int { return cmp.Compare(a.Name, b.Name) }) {
		return errors.New("services are not in the order of names")
	}
	for _, r := range h.Services {
		if !isPair(r.Name) || min(r.Ready, r.Starting, r.Want, r.Most) < 0 || max(r.Ready, r.Starting, r.Want, r.Most) > maxCount || !line(r.Error, 400) {
			return fmt.Errorf("service %q: a bad name, number or error", clean(r.Name, 80))
		}
	}
	return nil
}

func isPair(name string) bool {
	app, service, _ := strings.Cut(name, "/")
	return checkPair(app, service) == nil
}

package consul

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

type freezeDoc struct {
	Schema int              `json:"schema"`
	Mode   scale.FreezeMode `json:"mode"`
	Until  int64            `json:"until,omitempty"`
	Who    string           `json:"who,omitempty"`
	Why    string           `json:"why,omitempty"`
}

type announceDoc struct {
	Schema int `json:"schema"`
	scale.Announcement
}

type handDoc struct {
	Schema int `json:"schema"`
	scale.Hand
}

type poolDoc struct {
	Schema int `json:"schema"`
	planner.Membership
}

// Orders reads what people told the planner. A freeze that cannot be read counts
// as one that forbids lowering.
func (c *Client) Orders(ctx context.Context) (planner.Orders, error) {
	return c.orders(ctx, []orderPart{
		{c.keys.freeze(), c.readFreeze}, {c.keys.announcements(), c.readAnnouncement}, {c.keys.policies(), c.readHand}, {c.keys.pools(), c.readPool},
	})
}

// Limits reads those of the orders that say where and when something may be begun:
// freezes and pools.
func (c *Client) Limits(ctx context.Context) (planner.Orders, error) {
	return c.orders(ctx, []orderPart{{c.keys.freeze(), c.readFreeze}, {c.keys.pools(), c.readPool}})
}

// orderPart is one folder of orders.
type orderPart struct {
	prefix string
	read   func(o *planner.Orders, p *api.KVPair) error
}

func (c *Client) orders(ctx context.Context, parts []orderPart) (planner.Orders, error) {
	o := planner.Orders{Hands: map[string]scale.Hand{}, Bad: map[string]string{}}
	for _, part := range parts {
		pairs, err := c.listAll(ctx, part.prefix)
		if err != nil {
			return planner.Orders{}, err
		}
		for _, p := range pairs {
			if err := part.read(&o, p); err != nil {
				o.Bad[shown(p.Key)] = clean(err.Error(), 300)
			}
		}
	}
	return o, nil
}

func (c *Client) readFreeze(o *planner.Orders, p *api.KVPair) error {
	z := planner.Freeze{Scope: "all", Name: strings.TrimPrefix(strings.TrimPrefix(p.Key, c.keys.freeze()), "/")}
	switch {
	case strings.Contains(z.Name, "/"):
		z.Scope = "service"
	case z.Name != "":
		z.Scope = "pool"
	}
	var d freezeDoc
	err := decode(p.Value, &d)
	if err == nil {
		z.Freeze = scale.Freeze{Mode: d.Mode, Until: d.Until, Who: clean(d.Who, 200), Why: clean(d.Why, 300)}
		err = z.Check()
	}
	if _, bad := c.keys.frozen(z.Name); bad != nil {
		return bad // no freeze of ours
	}
	if err != nil {
		z.Freeze = scale.Freeze{Mode: scale.NoDown, Why: "a freeze that cannot be read"}
	}
	if z.Mode != scale.NotFrozen {
		o.Freezes = append(o.Freezes, z)
	}
	return err
}

func (c *Client) readAnnouncement(o *planner.Orders, p *api.KVPair) error {
	rest := strings.TrimPrefix(p.Key, c.keys.announcements())
	cutAt := strings.LastIndexByte(rest, '/')
	if cutAt < 0 || !isPair(rest[:cutAt]) {
		return errors.New("not a key of an announcement")
	}
	var d announceDoc
	if err := decode(p.Value, &d); err != nil {
		return err
	}
	d.ID, d.Who = rest[cutAt+1:], clean(d.Who, 200)
	a := planner.Announcement{Service: rest[:cutAt], Announcement: d.Announcement}
	if err := a.Check(); err != nil {
		return err
	}
	o.Announced = append(o.Announced, a)
	return nil
}

func (c *Client) readHand(o *planner.Orders, p *api.KVPair) error {
	_, name, _ := strings.Cut(strings.TrimPrefix(p.Key, c.keys.policies()), "/")
	if !isPair(name) {
		return errors.New("not a key of a policy")
	}
	var d handDoc
	err := decode(p.Value, &d)
	if err == nil {
		err = planner.CheckHand(d.Hand)
	}
	if err != nil {
		o.Blind = append(o.Blind, name)
		return err
	}
	d.Who, d.Why = clean(d.Who, 200), clean(d.Why, 300)
	o.Hands[name] = d.Hand
	return nil
}

func (c *Client) readPool(o *planner.Orders, p *api.KVPair) error {
	name := strings.TrimPrefix(p.Key, c.keys.pools())
	if !appName.MatchString(name) {
		return errors.New("not a name of a pool")
	}
	var d poolDoc
	if err := decode(p.Value, &d); err != nil {
		return err
	}
	d.Name, d.Index = name, p.ModifyIndex
	for i := range d.Nodes {
		n := &d.Nodes[i]
		n.Who, n.Why = clean(n.Who, 200), clean(n.Why, 300)
	}
	if err := d.Check(); err != nil {
		return err
	}
	o.Pools = append(o.Pools, d.Membership)
	return nil
}

// Freeze forbids changes of everything (name ""), of a pool, or of app/service.
func (c *Client) Freeze(ctx context.Context, name string, z scale.Freeze) error {
	key, err := c.keys.frozen(name)
	if err != nil {
		return err
	}
	value, err := encode(freezeDoc{Schema: schema, Mode: z.Mode, Until: z.Until, Who: clean(z.Who, 200), Why: clean(z.Why, 300)})
	if err != nil {
		return err
	}
	_, err = c.txn(ctx, "write "+key, &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: value})
	return err
}

// Thaw ends a freeze; false when there was none.
func (c *Client) Thaw(ctx context.Context, name string) (bool, error) {
	key, err := c.keys.frozen(name)
	if err != nil {
		return false, err
	}
	pair, err := c.get(ctx, key)
	if err != nil || pair == nil {
		return false, err
	}
	if name != "" {
		_, err = c.txn(ctx, "delete "+key, &api.KVTxnOp{Verb: api.KVDelete, Key: key})
		return err == nil, err
	}
	var d freezeDoc
	if err := decode(pair.Value, &d); err == nil && d.Mode == scale.NotFrozen {
		return false, nil
	}
	return true, c.Freeze(ctx, "", scale.Freeze{}) // stays, since nodes watch it
}

// Announce adds an announcement; fault.Conflict when its id is taken.
func (c *Client) Announce(ctx context.Context, a planner.Announcement) error {
	key, err := c.keys.announcement(a.Service, a.ID)
	if err != nil {
		return err
	}
	if err := a.Check(); err != nil {
		return fault.New(fault.Usage, "announce a load for %s: %w", a.Service, err)
	}
	a.Who = clean(a.Who, 200)
	value, err := encode(announceDoc{Schema: schema, Announcement: a.Announcement})
	if err != nil {
		return err
	}
	ok, err := c.txn(ctx, "write "+key, &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}, &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: value}, c.count(c.keys.announceRev()))
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "write %s: it is there already", key)
	}
	return err
}

// Cancel takes an announcement back; false when there is none.
func (c *Client) Cancel(ctx context.Context, service, id string) (bool, error) {
	key, err := c.keys.announcement(service, id)
	if err != nil {
		return false, err
	}
	pair, err := c.get(ctx, key)
	if err != nil || pair == nil {
		return false, err
	}
	_, err = c.txn(ctx, "delete "+key, &api.KVTxnOp{Verb: api.KVDelete, Key: key}, c.count(c.keys.announceRev()))
	return err == nil, err
}

// SetHand sets a size or bounds over those of the spec; nil takes that back. It
// reports false when nothing was there to take back.
func (c *Client) SetHand(ctx context.Context, service string, h *scale.Hand) (bool, error) {
	key, rev, err := c.keys.policy(service)
	if err != nil {
		return false, err
	}
	if h == nil {
		pair, err := c.get(ctx, key)
		if err != nil || pair == nil {
			return false, err
		}
		_, err = c.txn(ctx, "delete "+key, &api.KVTxnOp{Verb: api.KVDelete, Key: key}, c.count(rev))
		return err == nil, err
	}
	if err := planner.CheckHand(*h); err != nil {
		return false, fault.New(fault.Usage, "set %s: %w", service, err)
	}
	d := handDoc{Schema: schema, Hand: *h}
	d.Who, d.Why = clean(d.Who, 200), clean(d.Why, 300)
	value, err := encode(d)
	if err != nil {
		return false, err
	}
	_, err = c.txn(ctx, "write "+key, &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: value}, c.count(rev))
	return err == nil, err
}

// SetPool writes a pool if nobody changed it since it was read.
func (c *Client) SetPool(ctx context.Context, m planner.Membership) error {
	key, value, err := c.encodePool(m)
	if err != nil {
		return err
	}
	return c.swap(ctx, key, value, m.Index)
}

func (c *Client) encodePool(m planner.Membership) (key string, value []byte, err error) {
	if key, err = c.keys.pool(m.Name); err != nil {
		return "", nil, err
	}
	m.Nodes = slices.SortedFunc(slices.Values(m.Nodes), func(a, b planner.Member) int { return strings.Compare(a.Node, b.Node) })
	if err := m.Check(); err != nil {
		return "", nil, fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	value, err = encode(poolDoc{Schema: schema, Membership: m})
	return key, value, err
}

// count changes the key that followers of others wait on.
func (c *Client) count(key string) *api.KVTxnOp {
	return &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte(strconv.FormatInt(time.Now().UnixNano(), 10))}
}

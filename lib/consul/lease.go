package consul

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// leaseAgain is how soon a lease that was lost, or cannot be had, is tried again.
const leaseAgain = time.Second

// HoldLease holds the lease of a node until ctx ends, and tells when it has it, with
// the wish as it is since then, and when it has it no longer. It does not give it back
// at its end: it ends by itself, when whoever held it is gone for sure.
func (c *Client) HoldLease(ctx context.Context, node string, h fleet.Holder, tell func(held bool, w fleet.Want, err error)) error {
	key, err := c.keys.lease(node)
	if err != nil {
		return err
	}
	value, err := encode(shownHolder(h))
	if err != nil {
		return fault.New(fault.Invalid, "lock %s: %w", key, err)
	}
	for said := ""; ctx.Err() == nil; sleep(ctx, leaseAgain) {
		session, began, err := c.takeLease(ctx, key, value)
		if err != nil || session == "" {
			if err != nil && err.Error() != said && ctx.Err() == nil {
				said = err.Error()
				c.log.Warn("lease not taken", "key", key, "error", err)
			}
			continue
		}
		said = ""
		c.underLease(ctx, key, session, began, node, tell)
	}
	return ctx.Err()
}

// underLease reads the wish, tells it, and renews until the lease is lost.
func (c *Client) underLease(ctx context.Context, key, session string, began time.Time, node string, tell func(bool, fleet.Want, error)) {
	holding, stop := context.WithCancel(ctx)
	defer stop()
	lost := make(chan string, 1)
	l := &Lock{client: c, key: key, session: session}
	go func() { lost <- keep(holding, began, l.renew) }()
	for {
		w, err := c.Want(holding, node)
		if kind := fault.KindOf(err); err == nil || kind == fault.NotFound || kind == fault.Invalid {
			select {
			case why := <-lost: // it may have been long
				lost <- why
			default:
				tell(true, w, err)
			}
			break
		}
		select {
		case why := <-lost:
			lost <- why
		case <-time.After(leaseAgain):
			continue
		}
		break
	}
	if why := <-lost; why != "" {
		c.log.Warn("lease lost", "key", key, "reason", why)
		tell(false, fleet.Want{}, nil)
	}
}

// takeLease returns no session when somebody else has the lease. One of a process of
// this machine that died is taken over.
func (c *Client) takeLease(ctx context.Context, key string, value []byte) (session string, began time.Time, err error) {
	pair, err := c.get(ctx, key)
	if err != nil {
		return "", began, err
	}
	if pair != nil && pair.Session != "" {
		if h := readLock(pair); !h.known || c.Alive == nil || c.Alive(h.holder) {
			return "", began, nil
		}
		q, cancel := c.writing(ctx)
		defer cancel()
		_, err := c.api.Session().Destroy(pair.Session, q)
		return "", began, c.fault(ctx, "end session of "+key, err)
	}
	began = time.Now()
	q, cancel := c.writing(ctx)
	defer cancel()
	session, _, err = c.api.Session().Create(&api.SessionEntry{
		Name: key, TTL: fleet.LeaseTTL.String(), LockDelay: time.Millisecond, Behavior: api.SessionBehaviorRelease,
	}, q)
	if err != nil {
		return "", began, c.fault(ctx, "create session for "+key, err)
	}
	ok, _, err := c.api.KV().Acquire(&api.KVPair{Key: key, Value: value, Session: session}, q)
	if err == nil && ok {
		return session, began, nil
	}
	_, _ = c.api.Session().Destroy(session, q) // else it ends by itself
	return "", began, c.fault(ctx, "lock "+key, err)
}

// Leases returns the leases of all nodes that ever had one.
func (c *Client) Leases(ctx context.Context) (map[string]fleet.Lease, error) {
	pairs, err := c.listAll(ctx, c.keys.leases())
	if err != nil {
		return nil, err
	}
	out := map[string]fleet.Lease{}
	for _, p := range pairs {
		out[strings.TrimPrefix(p.Key, c.keys.leases())] = fleet.Lease{Held: p.Session != "", Count: p.LockIndex}
	}
	return out, nil
}

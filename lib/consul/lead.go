package consul

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// ErrFenced is the cause of a write that was refused because the writer leads no longer.
var ErrFenced = errors.New("another planner leads")

// A transaction may hold 128 operations and 512 KiB; 64 of them are the fastest
// (scaling.md §5), one of which is the check of the leader.
const (
	writeOps   = 63
	writeBytes = 300 << 10 // of values, which travel in base64
)

// Lease is the leadership of one planner. Only with it wishes are written.
type Lease struct {
	*Lock
	Epoch uint64 // above that of every wish there is
	doc   leaderDoc
}

// leaderDoc is the value of ctl/leader: a holder of a lock, with what only a leader has.
type leaderDoc struct {
	fleet.Holder
	Epoch uint64 `json:"epoch"`
	ID    string `json:"id"`
	URL   string `json:"url,omitempty"`
}

// Lead makes this process the leader: it takes the lock, and then an epoch above
// that of every wish, and of every wish that a node reached, so that nodes tell its
// wishes from those of any leader before. wait is as for Lock.
func (c *Client) Lead(ctx context.Context, h fleet.Holder, url string, wait time.Duration) (*Lease, error) {
	lock, err := c.Lock(ctx, c.keys.leader(), h, wait)
	if err != nil {
		return nil, err
	}
	l := &Lease{Lock: lock, doc: leaderDoc{Holder: shownHolder(h), ID: lock.session, URL: clean(url, 300)}}
	if err := l.rise(ctx); err != nil {
		return nil, errors.Join(err, lock.Release(ctx))
	}
	c.seedFreeze(ctx)
	return l, nil
}

// rise takes an epoch above all others. Nodes may know a higher one than Consul
// does, when that was restored from a backup.
func (l *Lease) rise(ctx context.Context) error {
	wants, _, err := l.client.Wants(ctx)
	if err != nil {
		return err
	}
	haves, _, err := l.client.Haves(ctx)
	if err != nil {
		return err
	}
	seen := uint64(0)
	for _, w := range wants {
		seen = max(seen, w.Epoch)
	}
	for _, h := range haves {
		seen = max(seen, h.Epoch)
	}
	l.Epoch = seen + 1
	l.doc.Epoch = l.Epoch
	value, err := encode(l.doc)
	if err != nil {
		return err
	}
	ok, err := l.client.txn(ctx, "write "+l.key, l.check(), &api.KVTxnOp{Verb: api.KVLock, Key: l.key, Value: value, Session: l.session})
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "write %s: %w", l.key, ErrFenced)
	}
	return err
}

func (l *Lease) check() *api.KVTxnOp {
	return &api.KVTxnOp{Verb: api.KVCheckSession, Key: l.key, Session: l.session}
}

// Planner returns who plans for the fleet now; fleet.ErrNotFound when nobody does.
func (c *Client) Planner(ctx context.Context) (fleet.Leader, error) {
	key := c.keys.root + c.keys.leader()
	pair, err := c.get(ctx, key)
	if err != nil {
		return fleet.Leader{}, err
	}
	if pair == nil || pair.Session == "" {
		return fleet.Leader{}, fault.New(fault.NotFound, "read %s: nobody leads: %w", key, fleet.ErrNotFound)
	}
	var d leaderDoc
	if err := decode(pair.Value, &d); err != nil {
		return fleet.Leader{}, unreadable(key, err)
	}
	return fleet.Leader{Epoch: d.Epoch, ID: clean(d.ID, 40), Node: clean(d.Node, 255), URL: clean(d.URL, 300), Since: d.Since.UTC()}, nil
}

// SetWants writes wishes, in their order, each if nobody changed its key since
// its Index. The error wraps ErrFenced when this process leads no longer; what
// was written before stays.
func (l *Lease) SetWants(ctx context.Context, list []fleet.Want) (fleet.Written, error) {
	var ops []*api.KVTxnOp
	for _, w := range list {
		key, err := l.client.keys.want(w.Node)
		if err != nil {
			return fleet.Written{}, err
		}
		w.Epoch = l.Epoch
		value, err := encodeWant(w)
		if err != nil {
			return fleet.Written{}, fault.New(fault.Invalid, "write %s: %w", key, err)
		}
		ops = append(ops, &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: value, Index: w.Index})
	}
	return l.write(ctx, l.client.keys.wants(), ops)
}

// write does operations on keys below prefix in fenced batches. One whose check
// does not hold fails alone: the others of its batch are tried again without it.
func (l *Lease) write(ctx context.Context, prefix string, ops []*api.KVTxnOp) (fleet.Written, error) {
	out := fleet.Written{Index: map[string]uint64{}}
	for len(ops) > 0 {
		n := batch(ops)
		todo := ops[:n:n]
		ops = ops[n:]
		for len(todo) > 0 {
			bad, err := l.fenced(ctx, prefix, todo, out.Index)
			if err != nil {
				return out, err
			}
			if len(bad) == 0 {
				break
			}
			var rest []*api.KVTxnOp
			for i, op := range todo {
				if bad[i] {
					out.Conflicts = append(out.Conflicts, strings.TrimPrefix(op.Key, prefix))
				} else {
					rest = append(rest, op)
				}
			}
			todo = rest
		}
	}
	return out, nil
}

// batch is how many operations go into the next transaction.
func batch(ops []*api.KVTxnOp) int {
	size := 0
	for i, op := range ops {
		if size += len(op.Value); i > 0 && (i == writeOps || size > writeBytes) {
			return i
		}
	}
	return len(ops)
}

// fenced does one transaction that begins with the check of the leader, and notes
// the new indexes. It returns which operations did not hold; then none was done.
func (l *Lease) fenced(ctx context.Context, prefix string, ops []*api.KVTxnOp, index map[string]uint64) (map[int]bool, error) {
	all := api.TxnOps{&api.TxnOp{KV: l.check()}}
	for _, op := range ops {
		all = append(all, &api.TxnOp{KV: op})
	}
	select {
	case <-l.Lost():
		return nil, fault.New(fault.Conflict, "write wishes: %w", ErrFenced)
	default:
	}
	q, cancel := l.client.reading(ctx)
	defer cancel()
	ok, res, _, err := l.client.api.Txn().Txn(all, q)
	if err != nil {
		return nil, l.client.fault(ctx, "write wishes", err)
	}
	if ok {
		for _, r := range res.Results {
			if r == nil || r.KV == nil {
				continue
			}
			if name, ok := strings.CutPrefix(r.KV.Key, prefix); ok {
				index[name] = r.KV.ModifyIndex
			}
		}
		return nil, nil
	}
	bad := map[int]bool{}
	for _, e := range res.Errors {
		switch {
		case e == nil:
		case strings.Contains(e.What, "ermission denied"):
			return nil, forbidden("write wishes", clean(e.What, 300))
		case e.OpIndex == 0:
			return nil, fault.New(fault.Conflict, "write wishes: %w", ErrFenced)
		case e.OpIndex <= len(ops):
			bad[e.OpIndex-1] = true
		}
	}
	if len(bad) == 0 {
		return nil, fault.New(fault.Failed, "write wishes: consul at %s refused the transaction and did not say why", l.client.address)
	}
	return bad, nil
}

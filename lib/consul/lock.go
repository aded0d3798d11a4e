package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// The clock of a lock. Servers end a session between one and two TTLs after its
// last renewal; the holder believes itself out of it earlier than that.
const (
	lockTTL   = fleet.LeaseTTL // the least that Consul allows
	lockDelay = time.Second    // nobody gets the key that long after a session ended with it
	renewEach = 3 * time.Second
	renewSoon = time.Second      // after a renewal that failed
	selfFence = fleet.LeaseFence // without a renewal: Lost
	lookAgain = 2 * time.Second  // how often a waiter looks whether the holder still runs
)

// Lock is a key held by a session of this process.
type Lock struct {
	client  *Client
	key     string
	session string
	lost    chan struct{}
	stop    context.CancelFunc
	stopped chan struct{}
	once    sync.Once
}

// Lock takes the key below the prefix, e.g. "locks/shortener/web/node1", for h.
// With wait 0 a lock that is held is a fault.Conflict at once, else after wait;
// the message names the holder. A holder that Alive calls dead is relieved at
// once; one that died elsewhere loses the key by its session's TTL, after at
// most 21 s. A value at the key that is no lock of ours is left alone (fault.Refused).
//
// The session ends with the key deleted, so a key that is there is a lock that
// is held: nobody has to tell a free record from a taken one. It hangs on the
// node's serfHealth too, so a lost node frees its locks before the TTL.
//
// The end of ctx ends the waiting, not the holding: what is cleaned up after an
// interrupt still needs the lock. Release ends it, also with a ctx that ended.
func (c *Client) Lock(ctx context.Context, key string, h fleet.Holder, wait time.Duration) (*Lock, error) {
	path, err := c.keys.lock(key)
	if err != nil {
		return nil, err
	}
	value, err := encode(shownHolder(h))
	if err != nil {
		return nil, fault.New(fault.Invalid, "lock %s: %w", path, err)
	}
	w := waiter{path: path, value: value, deadline: time.Now().Add(wait), delayed: time.Now().Add(lockDelay + lockDelay/2)}
	for tries := 0; ; tries++ {
		l, err := c.take(ctx, w)
		if tries > 0 && fault.KindOf(err) == fault.Unreachable && time.Now().Before(w.deadline) && sleep(ctx, renewSoon) {
			continue // an outage while waiting is waited for, too
		}
		if l != nil || err != nil {
			return l, err
		}
	}
}

// shownHolder is a holder as others may be shown it.
func shownHolder(h fleet.Holder) fleet.Holder {
	h.Schema = schema
	h.Who, h.Node, h.Command = clean(h.Who, 200), clean(h.Node, 255), clean(h.Command, 1000)
	return h
}

// waiter is one call of Lock.
type waiter struct {
	path     string
	value    []byte
	deadline time.Time
	delayed  time.Time      // a key that nobody holds is tried until then at least
	also     []*api.KVTxnOp // done in the same transaction, or the lock is not taken
}

// take tries once, and waits for a change of the key when it is held; nil, nil asks for another try.
func (c *Client) take(ctx context.Context, w waiter) (*Lock, error) {
	pair, meta, err := c.lockPair(ctx, w.path, &api.QueryOptions{})
	if err != nil {
		return nil, err
	}
	held := readLock(pair)
	switch {
	case held.foreign != nil:
		return nil, notOverwritten(w.path, held.foreign)
	case held.session == "":
		l, err := c.acquire(ctx, w.path, w.value, pair, w.also...)
		if l != nil || err != nil {
			return l, err
		}
		if time.Now().After(later(w.deadline, w.delayed)) {
			return nil, fault.New(fault.Conflict, "lock %s: somebody else was faster", w.path)
		}
		if !sleep(ctx, 200*time.Millisecond) {
			return nil, c.fault(ctx, "lock "+w.path, ctx.Err())
		}
		return nil, nil
	case held.known && c.Alive != nil && !c.Alive(held.holder):
		c.log.Info("take over lock of a process that died", "key", w.path, "holder", describe(held))
		return nil, c.drop(ctx, w.path, held.session)
	}
	left := time.Until(w.deadline)
	if left <= 0 {
		return nil, conflict(w.path, held)
	}
	return nil, c.waitFor(ctx, w.path, meta.LastIndex, min(left, lookAgain))
}

// Lost is closed when the lock no longer is ours though nobody called Release:
// the session is gone, the key has another holder, or no renewal got through
// for 8 s. The holder must stop acting at once.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Release frees the key and ends the session, also when ctx has ended. It is
// nothing to release twice, or what was lost.
func (l *Lock) Release(ctx context.Context) (err error) {
	l.once.Do(func() {
		l.stop()
		<-l.stopped
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout/2)
		defer cancel()
		err = l.client.drop(ctx, l.key, l.session)
	})
	return err
}

// held is what the key of a lock says.
type held struct {
	session string       // "": nobody holds it
	known   bool         // holder could be read
	holder  fleet.Holder //
	foreign error        // why the value is not a lock's, where nobody holds it
}

func readLock(pair *api.KVPair) held {
	if pair == nil {
		return held{}
	}
	h, err := decodeHolder(pair.Value)
	if err != nil && pair.Session == "" {
		return held{foreign: err}
	}
	return held{session: pair.Session, known: err == nil, holder: h}
}

func describe(h held) string {
	if !h.known {
		return "an unknown holder (session " + clean(h.session, 40) + ")"
	}
	p := h.holder
	return fmt.Sprintf("%s on %s (pid %d, %s) since %s", p.Who, p.Node, p.PID, p.Command, p.Since.UTC().Format(time.RFC3339))
}

func conflict(key string, h held) error {
	return fault.WithHint(fault.New(fault.Conflict, "lock %s: held by %s", key, describe(h)),
		"wait for it with --wait-lock 1m; the lock of a process that died ends by itself within %s", 2*lockTTL+lockDelay)
}

func (c *Client) lockPair(ctx context.Context, key string, opts *api.QueryOptions) (*api.KVPair, *api.QueryMeta, error) {
	ctx2, cancel := context.WithTimeout(ctx, callTimeout+opts.WaitTime)
	defer cancel()
	pair, meta, err := c.api.KV().Get(key, opts.WithContext(ctx2))
	return pair, meta, c.fault(ctx, "read "+key, err)
}

// waitFor blocks until the key changes or wait is over; that Consul does not answer is for the next read to say.
func (c *Client) waitFor(ctx context.Context, key string, index uint64, wait time.Duration) error {
	_, _, err := c.lockPair(ctx, key, &api.QueryOptions{WaitIndex: max(index, 1), WaitTime: wait})
	if fault.KindOf(err) == fault.Unreachable {
		return nil
	}
	return err
}

// acquire returns nil, nil when the key went to somebody else or still is in its lock-delay.
func (c *Client) acquire(ctx context.Context, key string, value []byte, pair *api.KVPair, also ...*api.KVTxnOp) (*Lock, error) {
	began := time.Now()
	q, cancel := c.writing(ctx)
	session, _, err := c.api.Session().Create(&api.SessionEntry{
		Name: key, TTL: lockTTL.String(), LockDelay: lockDelay, Behavior: api.SessionBehaviorDelete,
	}, q)
	cancel()
	if err != nil {
		return nil, c.fault(ctx, "create session for "+key, err)
	}
	free := &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}
	if pair != nil {
		free = &api.KVTxnOp{Verb: api.KVCheckIndex, Key: key, Index: pair.ModifyIndex}
	}
	ops := append([]*api.KVTxnOp{free, {Verb: api.KVLock, Key: key, Value: value, Session: session}}, also...)
	ok, err := c.txn(ctx, "lock "+key, ops...)
	if err != nil || !ok {
		return nil, errors.Join(err, c.drop(context.WithoutCancel(ctx), "", session))
	}
	hold, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lock{client: c, key: key, session: session, lost: make(chan struct{}), stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(l.stopped)
		if why := keep(hold, began, l.renew); why != "" {
			c.log.Warn("lock lost", "key", key, "reason", why)
			close(l.lost)
		}
	}()
	return l, nil
}

// keep renews until ctx ends (""), or until the lock must be taken as lost, and says why.
func keep(ctx context.Context, last time.Time, renew func(context.Context) (gone bool, err error)) string {
	pause := renewEach
	for {
		left := time.Until(last.Add(selfFence))
		if !sleep(ctx, min(pause, max(left, 0))) {
			return ""
		}
		if left = time.Until(last.Add(selfFence)); left <= 0 {
			return "no renewal for " + selfFence.String()
		}
		began := time.Now()
		call, cancel := context.WithTimeout(ctx, min(left, renewEach))
		gone, err := renew(call)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ""
		case gone:
			return "the session is gone or the key is another's"
		case err == nil:
			last, pause = began, renewEach
		default:
			pause = renewSoon
		}
	}
}

// renew renews the session, and looks at the key: an operator may have deleted it.
func (l *Lock) renew(ctx context.Context) (gone bool, err error) {
	entry, _, err := l.client.api.Session().Renew(l.session, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		l.client.log.Debug("renew session", "key", l.key, "error", err)
		return false, err
	}
	if entry == nil {
		return true, nil
	}
	pair, _, err := l.client.api.KV().Get(l.key, (&api.QueryOptions{}).WithContext(ctx))
	return err == nil && (pair == nil || pair.Session != l.session), err
}

// drop deletes the key if the session holds it, then ends the session. In this
// order no lock-delay follows, which is for holders that may still be acting.
func (c *Client) drop(ctx context.Context, key, session string) error {
	if key != "" {
		_, err := c.txn(ctx, "release "+key,
			&api.KVTxnOp{Verb: api.KVCheckSession, Key: key, Session: session}, &api.KVTxnOp{Verb: api.KVDelete, Key: key})
		if err != nil {
			return err
		}
	}
	q, cancel := c.writing(ctx)
	defer cancel()
	_, err := c.api.Session().Destroy(session, q)
	return c.fault(ctx, "end session of "+key, err)
}

// txn reports false when a check of the transaction did not hold.
func (c *Client) txn(ctx context.Context, what string, ops ...*api.KVTxnOp) (bool, error) {
	var all api.TxnOps
	for _, op := range ops {
		all = append(all, &api.TxnOp{KV: op})
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	ok, res, _, err := c.api.Txn().Txn(all, q)
	if err != nil {
		return false, c.fault(ctx, what, err)
	}
	if !ok && res != nil {
		for _, e := range res.Errors {
			if e != nil && strings.Contains(e.What, "ermission denied") {
				return false, forbidden(what, clean(e.What, 300))
			}
		}
	}
	return ok, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

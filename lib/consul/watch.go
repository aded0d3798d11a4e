package consul

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/time/rate"

	"svckit/lib/fault"
)

const (
	maxWait   = 55 * time.Second      // one blocking query; proxies and load balancers cut at 60 s
	minPause  = 50 * time.Millisecond // doubled after each failure
	maxPause  = 5 * time.Second
	netMargin = 10 * time.Second // above what the server may add: a sixteenth of the wait
)

// watch asks again and again with a blocking query until ask says done, fails
// for good, or ctx ends; then it returns the last error of ask, or ctx's. It
// holds one connection of the 200 that an agent gives to a client address. A
// return of the query is not a change: ask compares.
func (c *Client) watch(ctx context.Context, what string, ask func(*api.QueryOptions) (*api.QueryMeta, bool, error)) error {
	var index uint64
	var pause time.Duration
	pace := rate.NewLimiter(10, 20) // a busy index must not become a busy loop; some changes at once are told at once
	for {
		meta, done, err := c.askOnce(ctx, index, ask)
		switch {
		case done && err == nil:
			return nil
		case err == nil:
			index, pause = nextIndex(index, meta.LastIndex), 0
			err = pace.Wait(ctx)
		case ctx.Err() == nil:
			if err = c.fault(ctx, what, err); fault.KindOf(err) != fault.Unreachable {
				return err
			}
			c.log.Debug("watch interrupted", "what", what, "error", err)
			index, pause = 0, min(2*max(pause, minPause), maxPause)
		}
		if ctx.Err() != nil || pause > 0 && !sleep(ctx, jitter(pause, rand.Float64())) {
			return c.fault(ctx, what, cmp.Or(err, ctx.Err()))
		}
	}
}

func (c *Client) askOnce(ctx context.Context, index uint64, ask func(*api.QueryOptions) (*api.QueryMeta, bool, error)) (*api.QueryMeta, bool, error) {
	wait := maxWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+netMargin)
	defer cancel()
	meta, done, err := ask((&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx))
	if err == nil && meta == nil {
		err = errors.New("answer without an index")
	}
	return meta, done, err
}

// nextIndex is the index to wait on after got was returned for last
// (developer.hashicorp.com/consul/api-docs/features/blocking): one that goes
// down, as after a restored snapshot, starts again; 0 would make a busy loop.
func nextIndex(last, got uint64) uint64 {
	switch {
	case got == 0:
		return 1
	case got < last:
		return 0
	}
	return got
}

// jitter spreads d over its upper half; r is in [0, 1).
func jitter(d time.Duration, r float64) time.Duration {
	return d/2 + time.Duration(r*float64(d/2))
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

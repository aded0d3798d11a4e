package consul

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
)

const (
	// maxTrees bounds the connections of a Follower: one each for this many apps. A
	// node with more follows all apps of the fleet with one.
	maxTrees     = 60
	refusedPause = 30 * time.Second // after an answer that asking again does not change, such as a missing right
	sureFailures = 2                // in a row: one query that is cut off is ordinary
)

// Follower follows the keys of config and secrets of apps: each app with one
// blocking query for the names of its keys, which an agent answers when any
// value below changes, and one for what all apps share. Values are not among what
// it gets: who is told reads them, and compares.
type Follower struct {
	c    *Client
	ctx  context.Context
	tell func(app string, err error)

	mu    sync.Mutex
	trees map[string]context.CancelFunc // by prefix
	all   sync.WaitGroup
}

// FollowKeys begins with what all apps share. From then on until ctx ends, tell is
// called when something below an app may have changed, "" meaning any app: at
// the first answer, after each later one (at least about once a minute), and with
// an error when Consul cannot be followed now. Following goes on by itself after
// an error. tell is called from many goroutines and must not block for long.
func (c *Client) FollowKeys(ctx context.Context, tell func(app string, err error)) *Follower {
	f := &Follower{c: c, ctx: ctx, tell: tell, trees: map[string]context.CancelFunc{}}
	f.Apps(nil)
	return f
}

// Apps says which apps are followed from now on. A name that is none is left out.
func (f *Follower) Apps(apps []string) {
	want := map[string]string{f.c.keys.shared(): ""}
	for _, app := range apps {
		if prefix, err := f.c.keys.app(app); err == nil {
			want[prefix] = app
		}
	}
	if len(want) > maxTrees {
		want = map[string]string{f.c.keys.shared(): "", f.c.keys.apps(): ""}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for prefix, end := range f.trees {
		if _, ok := want[prefix]; !ok {
			end()
			delete(f.trees, prefix)
		}
	}
	for prefix, app := range want {
		if f.trees[prefix] == nil && f.ctx.Err() == nil {
			ctx, end := context.WithCancel(f.ctx)
			f.trees[prefix] = end
			f.all.Go(func() { f.follow(ctx, prefix, app) })
		}
	}
}

// Wait returns when nothing is followed any more, after the end of FollowKeys's ctx.
func (f *Follower) Wait() { f.all.Wait() }

// follow watches one prefix until ctx ends.
func (f *Follower) follow(ctx context.Context, prefix, app string) {
	what, failures := "follow "+prefix, 0
	ask := func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		_, meta, err := f.c.api.KV().Keys(prefix, "", q)
		if err == nil {
			failures = 0
			f.tell(app, nil)
			return meta, false, nil
		}
		if failures++; failures == sureFailures && ctx.Err() == nil {
			if known := f.c.fault(ctx, what, err); fault.KindOf(known) == fault.Unreachable {
				f.tell(app, known)
			}
		}
		return meta, false, err
	}
	for {
		err := f.c.watch(ctx, what, ask)
		if ctx.Err() != nil {
			return
		}
		f.tell(app, err)
		if !sleep(ctx, jitter(refusedPause, rand.Float64())) {
			return
		}
	}
}

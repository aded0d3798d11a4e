//go:build real

package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"svckit/lab"
	"svckit/lib/fleet"
)

func TestTheQueueOfADaemonIsWatched(t *testing.T) {
	r := newNodeRig(t)
	at := lab.Redis(t)
	r.release(`  jobs: {kind: daemon, scale: {strategy: queue, queue: {from: QUEUE_URL, list: jobs, busy: "jobs:busy", done: "jobs:done"}}}` + "\n")
	r.start("jobs", programs(t), nil, "sleep", "600")
	r.watch()
	r.until(30*time.Second, "jobs", "it is told that the key is missing", func(s fleet.ServiceSample) bool {
		return s.Queue == nil && len(s.Errors) == 1 && strings.HasSuffix(s.Errors[0], "no config or secret key QUEUE_URL") && s.Ready == 1
	})
	r.config("QUEUE_URL", at)
	o, err := redis.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	// 20 a second come, 10 a second are done, each of them 0.1 s after it was taken.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			if c.LLen(ctx, "jobs:busy").Val() > 0 {
				c.RPop(ctx, "jobs:busy")
				c.Incr(ctx, "jobs:done")
			}
			c.LPush(ctx, "jobs", "a", "b")
			c.LMove(ctx, "jobs", "jobs:busy", "RIGHT", "LEFT")
		}
	}()
	s := r.until(5*time.Minute, "jobs", "in 20 ± 2, out 10 ± 1, one is worked on", func(s fleet.ServiceSample) bool {
		q := s.Queue
		return q != nil && q.Rates && q.In10 > 18 && q.In10 < 22 && q.Out10 > 9 && q.Out10 < 11 && q.Unacked == 1 && q.Ready > 20 && len(s.Errors) == 0
	})
	t.Logf("%+v", *s.Queue)
	text, err := json.Marshal(s)
	if err != nil || strings.Contains(string(text), lab.QueuePassword) || strings.Contains(r.log.String(), lab.QueuePassword) {
		t.Errorf("the password is shown: %s\n%s", text, r.log)
	}
}

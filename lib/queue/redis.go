package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"svckit/lib/sample"
	"svckit/lib/spec"
)

// onRedis is a list or a stream.
type onRedis struct {
	spec.Queue
	name   string // without credentials
	secret string
	client *redis.Client
}

const redisLimit = 2 * time.Second

func openRedis(q spec.Queue, at string) (Queue, error) {
	o, err := redis.ParseURL(at)
	if err != nil {
		return nil, fmt.Errorf("%s: expected a URL such as redis://HOST:6379/0", q.From)
	}
	// One connection that gives up soon: the next reading is a second away.
	o.PoolSize, o.MaxRetries = 1, -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = redisLimit, redisLimit, redisLimit
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	what := "list " + q.List
	if q.Stream != "" {
		what = "stream " + q.Stream + " group " + q.Group
	}
	place := fmt.Sprintf("redis://%s/%d", o.Addr, o.DB)
	if o.Network == "unix" {
		place = "unix://" + o.Addr
	}
	return &onRedis{Queue: q, name: place + " " + what, secret: o.Password, client: redis.NewClient(o)}, nil
}

func (q *onRedis) Every() time.Duration { return time.Second }

func (q *onRedis) Close() error { return q.client.Close() }

func (q *onRedis) Read(ctx context.Context) (out sample.Queue, err error) {
	if q.Stream != "" {
		out, err = q.stream(ctx)
	} else {
		out, err = q.list(ctx)
	}
	if err != nil {
		return sample.Queue{}, fmt.Errorf("read %s: %w", q.name, clean(err, q.secret))
	}
	out.Source = q.name
	return out, nil
}

// list reads a list in one transaction, so that a message that is moved is counted once.
func (q *onRedis) list(ctx context.Context) (sample.Queue, error) {
	var ready, busy *redis.IntCmd
	var done *redis.StringCmd
	_, err := q.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		ready = p.LLen(ctx, q.List)
		if q.Busy != "" {
			busy = p.LLen(ctx, q.Busy)
		}
		if q.Done != "" {
			done = p.Get(ctx, q.Done)
		}
		return nil
	})
	if err != nil && err != redis.Nil { //nolint:errorlint // Nil is returned as it is: nothing is done yet
		return sample.Queue{}, err
	}
	out := sample.Queue{Ready: float64(ready.Val())}
	if busy != nil {
		out.Unacked = float64(busy.Val())
	}
	if done == nil {
		return out, nil
	}
	out.Counted = true
	if done.Err() == nil {
		if out.Acked, err = done.Float64(); err != nil {
			return out, fmt.Errorf("%s is no counter", q.Done)
		}
	}
	out.Published = out.Acked + out.Ready + out.Unacked
	return out, nil
}

// stream reads a consumer group of a stream: what it has not been given is its
// lag, what was given and not acknowledged its pending list (Redis 7 and newer).
func (q *onRedis) stream(ctx context.Context) (sample.Queue, error) {
	var about *redis.XInfoStreamCmd
	var groups *redis.XInfoGroupsCmd
	_, err := q.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		about, groups = p.XInfoStream(ctx, q.Stream), p.XInfoGroups(ctx, q.Stream)
		return nil
	})
	if err != nil {
		return sample.Queue{}, err
	}
	for _, g := range groups.Val() {
		if g.Name != q.Group {
			continue
		}
		added := about.Val().EntriesAdded
		if g.Lag < 0 || added < g.Lag+g.Pending {
			return sample.Queue{}, fmt.Errorf("the lag of group %s is not known: the server is older than Redis 7, or entries were deleted", q.Group)
		}
		return sample.Queue{
			Ready: float64(g.Lag), Unacked: float64(g.Pending), Counted: true,
			Published: float64(added), Acked: float64(added - g.Lag - g.Pending),
		}, nil
	}
	var names []string
	for _, g := range groups.Val() {
		names = append(names, g.Name)
	}
	return sample.Queue{}, fmt.Errorf("it has no group %s (it has: %s)", q.Group, strings.Join(names, ", "))
}

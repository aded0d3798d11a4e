// Package queue reads how long queues are and how fast they move: lists and
// streams of Redis, queues of RabbitMQ. It only looks, and its errors and names
// hold no credentials.
package queue

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"svckit/lib/sample"
	"svckit/lib/spec"
)

// Queue is a queue that can be read.
type Queue interface {
	// Read reads it once; Mono of the result is not filled in.
	Read(ctx context.Context) (sample.Queue, error)
	// Every is how often its server has something new to tell.
	Every() time.Duration
	Close() error
}

// Open opens the queue that a service names, on the server at this URL. Redis:
// redis://, rediss:// or unix://. RabbitMQ: the URL of its management API, with
// the virtual host as path, or the amqp:// URL of its clients, whose host is
// asked at the management's usual port. Nothing is asked yet.
func Open(q spec.Queue, at string) (Queue, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("%s: not a URL", q.From) // the error would show it
	}
	if q.RabbitMQ != "" {
		return openRabbit(q, u)
	}
	return openRedis(q, at)
}

// leastSecret is the length below which hiding a password would garble ordinary text.
const leastSecret = 6

// clean keeps an error on one bounded line, without a secret of the URL.
func clean(err error, secret string) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(secret) >= leastSecret {
		text = strings.ReplaceAll(text, secret, "***")
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return errors.New(text)
}

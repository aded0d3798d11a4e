package notify

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
)

const (
	queued  = 64 // messages that wait; more are dropped, and that is logged
	senders = 4  // messages that are sent at a time, so that a receiver that hangs holds up few
)

// Queue sends for a daemon, in the background.
type Queue struct {
	sender *Sender
	log    hclog.Logger
	wait   chan letter
}

type letter struct {
	to []string
	m  Message
}

// Queue makes a queue; nothing is sent before Run.
func (s *Sender) Queue(log hclog.Logger) *Queue {
	return &Queue{sender: s, log: log, wait: make(chan letter, queued)}
}

// Put hands a message over and returns at once. Without a receiver it is nothing.
func (q *Queue) Put(to []string, m Message) {
	if len(to) == 0 {
		return
	}
	select {
	case q.wait <- letter{to, m}:
	default:
		q.log.Warn("message dropped: too many wait for their receivers", "event", m.Event, "app", m.App, "service", m.Service)
	}
}

// Run sends until ctx ends, and then what still waits, for at most Limit more.
func (q *Queue) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case l := <-q.wait:
					q.send(context.WithoutCancel(ctx), l)
				}
			}
		})
	}
	all.Wait()
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
	defer cancel()
	for range senders {
		all.Go(func() {
			for {
				select {
				case l := <-q.wait:
					q.send(rest, l)
				default:
					return
				}
			}
		})
	}
	all.Wait()
}

func (q *Queue) send(ctx context.Context, l letter) {
	if err := q.sender.Send(ctx, l.to, l.m); err != nil {
		q.log.Warn("receiver not told", "event", l.m.Event, "app", l.m.App, "service", l.m.Service, "error", err)
	}
}

package main

import (
	"context"
	"net/url"

	"svckit/lib/fault"
	"svckit/lib/nodeagent"
	"svckit/lib/queue"
	"svckit/lib/spec"
)

// layers is where the config of services is read.
type layers interface {
	Layers(ctx context.Context, app, service string) (spec.Layers, error)
}

// queuesOf opens queues by the URL that a service's config or secret holds.
// Passwords in it are hidden from everything that is written from then on.
func queuesOf(book layers, hide func(...string)) nodeagent.OpenQueue {
	return func(ctx context.Context, s spec.Service) (nodeagent.Queue, error) {
		l, err := book.Layers(ctx, s.App, s.Key)
		if err != nil {
			return nil, fault.New(fault.KindOf(err), "find the queue of %s/%s: %w", s.App, s.Key, err)
		}
		at := valueOf(l, s.Scale.Queue.From)
		if at == "" {
			return nil, fault.New(fault.NotFound, "find the queue of %s/%s: no config or secret key %s", s.App, s.Key, s.Scale.Queue.From)
		}
		if u, err := url.Parse(at); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				hide(password)
			}
		}
		return queue.Open(s.Scale.Queue, at)
	}
}

// valueOf is a key's value: secrets first, then config, the closest level first.
func valueOf(l spec.Layers, key string) string {
	for _, level := range []map[string]string{l.Secrets, l.Service, l.App, l.Shared} {
		if v := level[key]; v != "" {
			return v
		}
	}
	return ""
}

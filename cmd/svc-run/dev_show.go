package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"svckit/lib/docker"
	"svckit/lib/fault"
)

// lastWords is how long the output of a container that ended is waited for.
const lastWords = 2 * time.Second

// shows knows whose output is being shown: container id → closed at its end.
type shows struct {
	mu   sync.Mutex
	ends map[string]chan struct{}
}

func (s *shows) begin(id string) (end func()) {
	done := make(chan struct{})
	s.mu.Lock()
	s.ends[id] = done
	s.mu.Unlock()
	return func() { close(done) }
}

// wait waits until the output of a container that ended was shown.
func (s *shows) wait(id string) {
	s.mu.Lock()
	done := s.ends[id]
	s.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(lastWords):
	}
}

// show follows the output of a container that was started, to its end.
func (d *dev) show(id string) {
	end := d.shows.begin(id)
	go func() {
		defer end()
		ctx := context.Background() // it ends with the container
		i, err := d.base.Engine.Instance(ctx, id)
		if err != nil {
			return
		}
		lead := func() string { return i.Service + " | " }
		out, errs := d.out.led(lead), d.err.led(lead)
		err = errors.Join(
			d.base.Engine.Logs(ctx, id, docker.LogOptions{Follow: true, Since: i.StartedAt}, out, errs),
			out.Flush(), errs.Flush())
		if err != nil {
			d.s.Log.Debug("output not followed", "container", i.Name, "error", err)
		}
		select {
		case d.exits <- id:
		default: // nobody looks: it is ending
		}
	}()
}

// complain tells of what failed and goes on. The output of containers was shown already.
func (d *dev) complain(err error) {
	d.s.Say("%v", err)
	var detail []string
	hint := ""
	for at := err; at != nil; at = errors.Unwrap(at) {
		f, ok := at.(*fault.Error) //nolint:errorlint // each link of the chain is looked at by itself
		if !ok {
			continue
		}
		if len(detail) == 0 { // an outer error may repeat what an inner one has
			detail = f.Detail
		}
		if hint == "" {
			hint = f.Hint
		}
	}
	for _, line := range detail {
		if !strings.HasPrefix(line, "  | ") && !strings.HasPrefix(line, "its output ends with") {
			d.s.Say("  %s", line)
		}
	}
	if hint != "" {
		d.s.Say("  hint: %s", hint)
	}
}

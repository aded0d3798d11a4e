package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/notify"
	"svckit/lib/settle"
)

const (
	atOnce    = 4                // services that are worked on at a time
	actLimit  = 30 * time.Minute // of the work on one service
	stuckLook = 2 * time.Minute  // a looker without a step for so long hangs: each of its steps is shorter
)

// manager hears how the daemon is.
type manager interface {
	Ready(status string) error
	Status(status string) error
	Alive() error
	Stopping() error
}

// loop is the daemon's one place of decisions. Nothing in it blocks: looking and
// working are done beside it and report back.
type loop struct {
	book   *settle.Book
	looks  chan sight
	act    func(ctx context.Context, service string) acted
	tell   func(to []string, m notify.Message)
	unit   manager
	every  time.Duration // between two signs of life; 0: none is wanted
	beat   func() time.Time
	save   func(told map[string]string) error
	log    hclog.Logger
	chance func() float64

	done    chan acted
	working map[string]time.Time // service → since when it is worked on
	count   int                  // services here
	ready   bool
	away    error             // why nothing can be seen now
	refused map[string]string // service → what was logged about its keys
	status  string
}

// run goes round until ctx ends and nothing is being worked on any more.
func (l *loop) run(ctx context.Context) {
	l.done, l.working, l.refused = make(chan acted), map[string]time.Time{}, map[string]string{}
	l.show()
	var pulse <-chan time.Time
	if l.every > 0 {
		t := time.NewTicker(l.every)
		defer t.Stop()
		pulse = t.C
	}
	for ctx.Err() == nil {
		turn := l.start(ctx)
		select {
		case <-ctx.Done():
		case s := <-l.looks:
			l.saw(s)
		case a := <-l.done:
			l.ended(ctx, a)
		case <-turn.C:
		case <-pulse:
			if l.well(time.Now()) {
				l.warn(l.unit.Alive())
			}
		}
		turn.Stop()
		l.show()
	}
	l.warn(l.unit.Stopping())
	for len(l.working) > 0 {
		l.ended(ctx, <-l.done)
	}
}

// start begins the work on every service whose turn it is, and returns a timer
// for the next one's. While Consul or the engine is away nothing is begun.
func (l *loop) start(ctx context.Context) *time.Timer {
	now := time.Now()
	due, next := l.book.Due(now)
	for _, service := range due {
		if l.away != nil || len(l.working) == atOnce {
			break // a look or the end of some work comes first
		}
		l.book.Begin(service)
		l.working[service] = now
		go func() {
			limited, cancel := context.WithTimeout(ctx, actLimit)
			defer cancel()
			l.done <- l.act(limited, service)
		}()
	}
	wait := time.Hour
	if !next.IsZero() {
		wait = next.Sub(now)
	}
	return time.NewTimer(wait)
}

// saw takes in what the looker found.
func (l *loop) saw(s sight) {
	if s.away != nil {
		if l.away == nil {
			l.log.Warn("cannot look: nothing is changed until it answers", "error", s.away)
		}
		l.away = s.away
		return
	}
	if l.away != nil {
		l.log.Info("looking again")
	}
	l.away, l.count = nil, len(s.services)
	now := time.Now()
	for service, content := range s.content {
		l.book.Saw(service, content, now)
		delete(l.refused, service)
	}
	for service, err := range s.refused {
		if l.refused[service] != err.Error() {
			l.log.Warn("cannot read keys: the service stays as it is", "service", service, "error", err, "hint", fault.HintOf(err))
		}
		l.refused[service] = err.Error()
	}
	l.book.Keep(s.services)
	if !l.ready {
		l.ready, l.status = true, l.words()
		l.log.Info("watching", "services", l.count)
		l.warn(l.unit.Ready(l.status))
	}
}

// ended takes in how the work on a service ended.
func (l *loop) ended(ctx context.Context, a acted) {
	delete(l.working, a.service)
	if ctx.Err() != nil { // told to stop: a later run looks at everything again
		return
	}
	v := l.book.Done(a.service, fault.KindOf(a.err), a.problem, time.Now(), l.chance())
	switch {
	case a.err == nil && a.changed:
		l.log.Info("new config is in", "service", a.service, "differed", a.keys)
	case fault.KindOf(a.err) == fault.Conflict:
		l.log.Info("held by somebody else: trying later", "service", a.service, "error", a.err, "in", v.Retry)
	case a.err != nil:
		l.log.Warn("new config is not in", "service", a.service, "error", a.err, "detail", fault.DetailOf(a.err), "again_in", v.Retry)
	}
	if v.Tell {
		l.tell(a.to, a.message)
	}
	if err := l.save(l.book.Told()); err != nil {
		l.log.Warn("what was told is not remembered", "error", err)
	}
}

// well reports whether everything beside the loop still moves.
func (l *loop) well(now time.Time) bool {
	if now.Sub(l.beat()) > stuckLook {
		return false
	}
	for _, since := range l.working {
		if now.Sub(since) > actLimit+stuckLook+stuckLook {
			return false
		}
	}
	return true
}

// words is what the loop is about, in one line.
func (l *loop) words() string {
	about := fmt.Sprintf("%d services of this node are followed", l.count)
	switch {
	case l.away != nil:
		about = fmt.Sprintf("cannot look, nothing is changed: %v", l.away)
	case !l.ready:
		about = "looking for the first time"
	}
	if n := len(l.working); n > 0 {
		about += fmt.Sprintf("; %d worked on", n)
	}
	if n := l.book.Waiting(); n > 0 {
		about += fmt.Sprintf("; %d wait for their turn", n)
	}
	return about
}

func (l *loop) show() {
	if words := l.words(); words != l.status {
		l.status = words
		l.warn(l.unit.Status(words))
	}
}

func (l *loop) warn(err error) {
	if err != nil {
		l.log.Warn("the service manager does not hear", "error", err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"svckit/lib/atomicfile"
	"svckit/lib/consul"
	"svckit/lib/events"
	"svckit/lib/fault"
)

// teller writes the events of a stream, and keeps how far it came.
type teller struct {
	stream *events.Stream
	of     events.Of
	file   string // of the resume point; "" for none
	fresh  bool   // what is initial is left out
	out    io.Writer
	now    func() time.Time

	waiting []events.Event // of the first look, told in one piece
	unsaved bool
}

// look takes a part of the first look.
func (t *teller) look(n consul.PartNews) { t.waiting = append(t.waiting, t.take(n)...) }

// begin tells what the first look found.
func (t *teller) begin() error {
	list := append(t.waiting, t.stream.Tick(t.now())...)
	t.waiting = nil
	t.unsaved = true // a point is kept also when nothing changed
	return t.tell(append(list, t.stream.Ready(t.now())...))
}

func (t *teller) take(n consul.PartNews) []events.Event {
	if n.Err != nil {
		return t.stream.Trouble(n.Part, fault.KindOf(n.Err) == fault.Unreachable, n.Err.Error(), t.now())
	}
	return t.stream.Take(n.Part, n.Index, n.Facts, t.now())
}

// tell writes events, each on a line.
func (t *teller) tell(list []events.Event) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, x := range list {
		if x.Initial && t.fresh {
			continue
		}
		if err := e.Encode(x); err != nil {
			return fault.New(fault.Failed, "write event: %w", err)
		}
	}
	if len(list) > 0 {
		t.unsaved = true
	}
	_, err := t.out.Write(b.Bytes())
	return err
}

// follow tells what run tells of until ctx ends. The resume point is kept soon
// after what it covers was written, and at the end.
func (t *teller) follow(ctx context.Context, run func(ctx context.Context, tell func(consul.PartNews))) error {
	if err := t.save(); err != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	news, done := make(chan consul.PartNews), make(chan struct{})
	go func() {
		defer close(done)
		run(inner, func(n consul.PartNews) {
			select {
			case news <- n:
			case <-inner.Done():
			}
		})
	}()
	err := t.loop(ctx, news)
	stop()
	<-done
	if ctx.Err() != nil { // what could not be written is not to be taken for told
		err = errors.Join(err, t.save())
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (t *teller) loop(ctx context.Context, news <-chan consul.PartNews) error {
	var save <-chan time.Time
	for {
		if save == nil && t.unsaved && t.file != "" {
			save = time.After(saveEach)
		}
		var due <-chan time.Time
		if at := t.stream.Due(); !at.IsZero() {
			due = time.After(max(at.Sub(t.now()), 0))
		}
		var err error
		select {
		case <-ctx.Done():
			return nil
		case n := <-news:
			err = t.tell(t.take(n))
		case <-due:
			err = t.tell(t.stream.Tick(t.now()))
		case <-save:
			save, err = nil, t.save()
		}
		if err != nil {
			return err
		}
	}
}

// save keeps the resume point, whole or not at all.
func (t *teller) save() error {
	if t.file == "" || !t.unsaved {
		return nil
	}
	text, err := t.stream.Save(t.of, t.now())
	if err != nil {
		return err
	}
	if err := atomicfile.Write(t.file, text); err != nil {
		return fault.New(fault.Failed, "keep resume point: %w", err)
	}
	t.unsaved = false
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// fakeLogs is an engine with logs. Each run of an instance is a list of lines with their times.
type fakeLogs struct {
	mu        sync.Mutex
	instances []fleet.Instance
	err       error
	lines     map[string][]fakeLine
	stop      map[string]chan struct{} // closed when the run ends
	asked     []string
}

type fakeLine struct {
	at   time.Time
	text string
	err  bool
}

func (f *fakeLogs) Instances(context.Context, string, string) ([]fleet.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]fleet.Instance{}, f.instances...), f.err
}

func (f *fakeLogs) Logs(ctx context.Context, id string, o docker.LogOptions, stdout, stderr io.Writer) error {
	f.mu.Lock()
	lines, stop := f.lines[id], f.stop[id]
	since := ""
	if !o.Since.IsZero() {
		since = o.Since.Format("04:05")
	}
	f.asked = append(f.asked, fmt.Sprintf("%s tail=%d since=%s", id[:1], o.Tail, since))
	f.mu.Unlock()
	for _, l := range lines {
		if l.at.Before(o.Since) {
			continue
		}
		to, stamp := stdout, ""
		if l.err {
			to = stderr
		}
		if o.Timestamps {
			stamp = l.at.Format(time.RFC3339Nano) + " "
		}
		if _, err := io.WriteString(to, stamp+l.text+"\n"); err != nil {
			return err
		}
	}
	if o.Follow && stop != nil {
		select {
		case <-stop:
		case <-ctx.Done():
		}
	}
	return nil
}

func at(second int, text string) fakeLine {
	return fakeLine{at: now.Add(time.Duration(second) * time.Second), text: text}
}

func errAt(second int, text string) fakeLine {
	l := at(second, text)
	l.err = true
	return l
}

func TestOneInstanceKeepsItsStreamsApart(t *testing.T) {
	f := &fakeLogs{instances: []fleet.Instance{running(idA)}, lines: map[string][]fakeLine{idA: {at(1, "out"), errAt(2, "err")}}}
	var out, errs bytes.Buffer
	j := logsJob{engine: f, prefix: "svc", stdout: &out, stderr: &errs}
	if err := j.show(t.Context()); err != nil || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("%v, stdout %q, stderr %q", err, out.String(), errs.String())
	}
}

func TestManyInstancesAreMergedByTime(t *testing.T) {
	f := &fakeLogs{
		instances: []fleet.Instance{running(idA), running(idB)},
		lines:     map[string][]fakeLine{idA: {at(1, "a1"), at(4, "a4"), at(5, "a5")}, idB: {at(2, "b2"), errAt(3, "b3"), at(6, "b6")}},
	}
	var both bytes.Buffer
	j := logsJob{engine: f, prefix: "svc", stdout: &both, stderr: &both}
	if err := j.show(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "web/aaaaaaaa | a1\nweb/bbbbbbbb | b2\nweb/bbbbbbbb | b3\nweb/aaaaaaaa | a4\nweb/aaaaaaaa | a5\nweb/bbbbbbbb | b6\n"
	if both.String() != want {
		t.Errorf("merged\n%swant\n%s", both.String(), want)
	}
	both.Reset()
	j.timestamps = true
	if err := j.show(t.Context()); err != nil || !strings.HasPrefix(both.String(), "web/aaaaaaaa | 2026-03-01T12:00:01Z a1\n") {
		t.Errorf("%v, with times %q", err, both.String())
	}
}

func TestMergingEndsWhenNobodyReads(t *testing.T) {
	many := make([]fakeLine, 500)
	for i := range many {
		many[i] = at(i, "x")
	}
	f := &fakeLogs{instances: []fleet.Instance{running(idA), running(idB)}, lines: map[string][]fakeLine{idA: many, idB: many}}
	gone := errors.New("gone")
	j := logsJob{engine: f, prefix: "svc", stdout: failing{gone}, stderr: io.Discard}
	if err := j.show(t.Context()); !errors.Is(err, gone) {
		t.Errorf("ended with %v, want %v", err, gone)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestNoInstanceIsNotFound(t *testing.T) {
	foreign := running(idA)
	foreign.Prefix = "lab"
	j := logsJob{engine: &fakeLogs{instances: []fleet.Instance{foreign}}, prefix: "svc", target: here.Target{App: "shop", Service: "web"}}
	if err := j.show(t.Context()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("ended with %v, want not-found", err)
	}
}

func TestFollowingGoesOnWithTheNextInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := map[string]chan struct{}{idA: make(chan struct{}), idB: make(chan struct{})}
		f := &fakeLogs{
			instances: []fleet.Instance{running(idA)}, stop: stop,
			lines: map[string][]fakeLine{idA: {at(1, "old")}, idB: {at(2, "new")}},
		}
		var out bytes.Buffer
		j := logsJob{engine: f, prefix: "svc", stdout: &out, stderr: io.Discard, options: docker.LogOptions{Tail: 5}, every: time.Second, say: func(string, ...any) {}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- j.follow(ctx) }()
		set := func(change func()) {
			time.Sleep(1500 * time.Millisecond)
			f.mu.Lock()
			defer f.mu.Unlock()
			change()
		}
		set(func() { f.instances = append(f.instances, running(idB)) })
		set(func() { close(stop[idA]); f.instances[0].State = fleet.Exited })
		set(func() { // the engine starts the first one again
			f.instances[0].State, f.instances[0].StartedAt = fleet.Running, now.Add(3*time.Second)
			stop[idA] = make(chan struct{})
			f.lines[idA] = append(f.lines[idA], at(3, "again"))
		})
		set(func() { f.err = fault.New(fault.Unreachable, "docker is away") })
		set(func() { f.err = nil })
		time.Sleep(2 * time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if want := "old\nweb/bbbbbbbb | new\nweb/aaaaaaaa | again\n"; out.String() != want {
			t.Errorf("followed\n%swant\n%s", out.String(), want)
		}
		if got, want := strings.Join(f.asked, ", "), "a tail=5 since=, b tail=0 since=, a tail=0 since=00:03"; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	})
}

func TestFollowingNeedsAnEngineToBeginWith(t *testing.T) {
	f := &fakeLogs{err: fault.New(fault.Unreachable, "docker is away")}
	j := logsJob{engine: f, stdout: io.Discard, stderr: io.Discard, every: time.Second, say: func(string, ...any) {}}
	if err := j.follow(t.Context()); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("ended with %v, want unreachable", err)
	}
}

func TestLinesArePassedOnWhole(t *testing.T) {
	var got []string
	w := &lineWriter{put: func(line []byte) error { got = append(got, string(line)); return nil }}
	for _, part := range []string{"a", "b\nc", "\n\nd", strings.Repeat("x", maxLogLine), "y\nend"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := []string{"ab\n", "c\n", "\n", "d" + strings.Repeat("x", maxLogLine-1) + "\n", "xy\n", "end\n"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d lines %.80q, want %d", len(got), got, len(want))
	}
}

package main

import (
	"fmt"
	"slices"

	"svckit/lib/scale"
	"svckit/lib/simulate"
)

// watcher turns decisions into events: what begins and what ends, never what goes on.
type watcher struct {
	t      *simulate.Trace
	begin  int64
	alarms []scale.AlarmCode
	reason scale.Reason
}

func newWatcher(t *simulate.Trace) *watcher { return &watcher{t: t} }

// trace lists what the trace itself tells of.
func (w *watcher) trace() (out []event) {
	for _, a := range w.t.Announced {
		out = append(out, event{a.At, fmt.Sprintf("announced: %.0f requests/s for %d min", a.RPS, a.Hold/60)})
	}
	for s := 1; s < w.t.Len(); s++ {
		if a, b := w.t.NodesAt(s-1), w.t.NodesAt(s); a != b {
			out = append(out, event{s, fmt.Sprintf("nodes: %d, were %d", b, a)})
		}
	}
	return out
}

// decision lists what one decision begins or ends.
func (w *watcher) decision(in scale.Input, d scale.Decision) (out []event) {
	if w.begin == 0 {
		w.begin = in.At
	}
	say := func(format string, args ...any) {
		out = append(out, event{int(in.At - w.begin), fmt.Sprintf(format, args...)})
	}
	var now []scale.AlarmCode
	for _, a := range d.Alarms {
		now = append(now, a.Code)
		if !slices.Contains(w.alarms, a.Code) {
			text := "alarm: " + string(a.Code)
			if a.Missing > 0 {
				text += fmt.Sprintf(", %d missing", a.Missing)
			}
			say("%s", text)
		}
	}
	for _, code := range w.alarms {
		if !slices.Contains(now, code) {
			say("over: %s", code)
		}
	}
	w.alarms = now
	for _, notable := range []scale.Reason{scale.Blind, scale.Frozen} {
		switch {
		case d.Reason == notable && w.reason != notable:
			say("%s", notable)
		case d.Reason != notable && w.reason == notable:
			say("no more %s", notable)
		}
	}
	if d.Size >= d.From+max(3, d.From/4) {
		say("raise %d to %d: %s", d.From, d.Size, d.Proposals[0].Words())
	}
	w.reason = d.Reason
	return out
}

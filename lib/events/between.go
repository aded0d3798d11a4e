package events

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Schema is the version of an event.
const Schema = 1

// What is what happened to the subject of an event.
type What string

// What may happen.
const (
	New     What = "new"
	Gone    What = "gone"
	Changed What = "changed"

	Decided   What = "decided"    // scaling: a size
	Alarmed   What = "alarm"      // scaling: Why has the alarm
	AlarmOver What = "alarm-over" // scaling

	Ready   What = "ready"   // stream: all that is there was told
	Away    What = "away"    // stream: Consul cannot be asked; what was told stays
	Back    What = "back"    // stream
	Refused What = "refused" // stream: a part may not be read; what was told of it stays
	Allowed What = "allowed" // stream
)

// Event is one line of the stream.
type Event struct {
	Schema  int       `json:"schema"`
	ID      string    `json:"id"` // equal for an event that is told again, and for no other
	At      time.Time `json:"at"` // when it was noticed
	Kind    Kind      `json:"kind"`
	What    What      `json:"event"`
	Initial bool      `json:"initial,omitempty"` // it was there when the stream began
	Subject string    `json:"subject"`
	App     string    `json:"app,omitempty"`
	Service string    `json:"service,omitempty"`
	Node    string    `json:"node,omitempty"`
	Zone    string    `json:"zone,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Why     string    `json:"why,omitempty"`
	Changes []Change  `json:"changes,omitempty"`
	About

	index uint64 // of the fact, for the identity
}

// Between returns what leads from old to next, in order, and the facts that hold
// from then on: next's, and those of old that a value which cannot be read now
// held before. at is when next was seen.
func Between(old, next []Fact, at time.Time) (holds []Fact, told []Event) {
	old, holds = sorted(old), keep(old, next, at)
	type subject struct {
		kind Kind
		id   string
	}
	before := make(map[subject]Fact, len(old))
	for _, f := range old {
		before[subject{f.Kind, f.ID}] = f
	}
	for _, f := range holds {
		was, known := before[subject{f.Kind, f.ID}]
		delete(before, subject{f.Kind, f.ID})
		if !known {
			told = append(told, event(f, New, at))
			continue
		}
		told = append(told, changes(was, f, at)...)
	}
	for _, f := range before {
		e := event(f, Gone, at)
		if f.over(at) {
			e.Why = "its end has come"
		}
		told = append(told, e)
	}
	for i := range told {
		told[i].ID = told[i].identity()
	}
	slices.SortStableFunc(told, func(a, b Event) int {
		return cmp.Or(cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)), cmp.Compare(last(a), last(b)), cmp.Compare(a.Subject, b.Subject))
	})
	return holds, told
}

// last puts what is gone behind what came: who keeps a list of servers is never left without one that there is.
func last(e Event) int {
	if e.What == Gone {
		return 1
	}
	return 0
}

// keep returns the facts of next that are not over, with those of old whose value is unreadable now.
func keep(old, next []Fact, at time.Time) []Fact {
	bad := map[string]bool{}
	var out []Fact
	for _, f := range next {
		if f.Kind == Unreadable && f.Key != "" {
			bad[f.Key] = true
		}
	}
	for _, f := range old {
		if f.Kind != Unreadable && bad[f.Key] && !f.over(at) {
			out = append(out, f)
		}
	}
	for _, f := range next {
		if !f.over(at) && (f.Kind == Unreadable || !bad[f.Key]) {
			out = append(out, f)
		}
	}
	return sorted(out)
}

func event(f Fact, what What, at time.Time) Event {
	e := Event{
		Schema: Schema, At: at.UTC(), Kind: f.Kind, What: what, Subject: f.ID, App: f.App, Service: f.Service, Node: f.Node, Zone: f.Zone,
		About: f.About, index: f.Index,
	}
	if f.Scaling != nil { // the past is told once, as events
		short := *f.Scaling
		short.Decisions = nil
		e.Scaling = &short
	}
	switch {
	case f.Current != nil && what == New:
		e.To = f.Current.Release
	case f.Current != nil && what == Gone:
		e.From = f.Current.Release
	case f.Bad != nil:
		e.Why = f.Bad.Why
	}
	return e
}

// changes are the events between two facts of one subject.
func changes(was, is Fact, at time.Time) (out []Event) {
	if was.Scaling != nil && is.Scaling != nil {
		return scalings(was, is, at)
	}
	var list []Change
	before, now := was.fields(), is.fields()
	for i := range min(len(before), len(now)) {
		if before[i].value != now[i].value {
			list = append(list, Change{Field: now[i].name, From: before[i].value, To: now[i].value})
		}
	}
	if len(list) > 0 {
		e := event(is, Changed, at)
		e.Changes = list
		switch {
		case is.Current != nil && was.Current != nil:
			e.From, e.To = was.Current.Release, is.Current.Release
		case is.Deploy != nil && was.Deploy != nil:
			e.From, e.To, e.Why = was.Deploy.Phase, is.Deploy.Phase, is.Deploy.Why
		}
		out = append(out, e)
	}
	if was.Instance != nil && is.Instance != nil && was.Instance.Health != is.Instance.Health {
		e := event(is, Changed, at)
		e.Kind, e.From, e.To, e.Why = OfHealth, was.Instance.Health, is.Instance.Health, is.Instance.Why
		out = append(out, e)
	}
	return out
}

// scalings tells every decision that was not told yet, oldest first, also those
// that were taken back since: the planner keeps some.
func scalings(was, is Fact, at time.Time) (out []Event) {
	var newest time.Time
	for _, d := range was.Scaling.Decisions {
		if d.At.After(newest) {
			newest = d.At
		}
	}
	size := was.Scaling.Size
	for _, d := range slices.Backward(is.Scaling.Decisions) {
		if d.At.Before(newest) || slices.ContainsFunc(was.Scaling.Decisions, func(o Decision) bool { return o.At.Equal(d.At) && o.From == d.From && o.Size == d.Size }) {
			continue
		}
		e := event(is, Decided, at)
		e.From, e.To, e.Why = strconv.Itoa(d.From), strconv.Itoa(d.Size), cmp.Or(d.Words, d.Reason)
		e.Changes = []Change{{Field: "at", To: stamp(d.At)}} // two equal decisions are two events
		size, out = d.Size, append(out, e)
	}
	if is.Scaling.Size != size {
		e := event(is, Changed, at)
		e.From, e.To, e.Why = strconv.Itoa(size), strconv.Itoa(is.Scaling.Size), cmp.Or(is.Scaling.Words, is.Scaling.Reason)
		out = append(out, e)
	}
	if was.Scaling.Held != is.Scaling.Held {
		e := event(is, Changed, at)
		e.Changes = []Change{{Field: "held", From: was.Scaling.Held, To: is.Scaling.Held}}
		out = append(out, e)
	}
	for _, code := range is.Scaling.Alarms {
		if !slices.Contains(was.Scaling.Alarms, code) {
			e := event(is, Alarmed, at)
			e.Why = code
			out = append(out, e)
		}
	}
	for _, code := range was.Scaling.Alarms {
		if !slices.Contains(is.Scaling.Alarms, code) {
			e := event(is, AlarmOver, at)
			e.Why = code
			out = append(out, e)
		}
	}
	return out
}

// identity is the same for the same change of the same version of a subject.
func (e Event) identity() string {
	text, err := json.Marshal([]any{e.Kind, e.What, e.Subject, e.index, e.From, e.To, e.Changes, e.Why})
	if err != nil {
		text = fmt.Append(nil, e.Kind, e.What, e.Subject, e.index)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

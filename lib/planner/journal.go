package planner

import (
	"bytes"
	"encoding/json"
	"fmt"

	"svckit/lib/fault"
	"svckit/lib/place"
	"svckit/lib/scale"
)

// Line is one line of the journal: a decision with everything it depends on, so
// that it can be made again. A size is one service's; a place is the whole fleet's,
// since one service's place depends on the others'.
type Line struct {
	Schema int    `json:"schema"`
	Kind   string `json:"kind"` // size | place
	At     int64  `json:"at"`

	Service  *scale.Candidate `json:"service,omitempty"` // of a size
	Decision *scale.Decision  `json:"decision,omitempty"`

	Fleet *place.Input `json:"fleet,omitempty"` // of a place
	Plan  *place.Plan  `json:"plan,omitempty"`
}

// Lines renders the journal of a plan, one JSON document a line: the sizes that
// changed or alarm, or all of them, and the placement when it has something to do.
func Lines(s Snapshot, p Plan, all bool) ([]byte, error) {
	at := make(map[string]int, len(s.Services))
	for i := range s.Services {
		at[s.Services[i].Name] = i
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for i := range p.Services {
		x := &p.Services[i]
		if d := &x.Decision; !all && d.Size == d.From && len(d.Alarms) == 0 {
			continue
		}
		v := &s.Services[at[x.Name]]
		line := Line{Schema: Schema, Kind: "size", At: p.At, Decision: &x.Decision, Service: &scale.Candidate{Name: x.Name, Policy: v.Policy, State: v.State, Input: x.Input}}
		if err := e.Encode(line); err != nil {
			return nil, fmt.Errorf("write journal of %s: %w", x.Name, err)
		}
	}
	if len(p.Place.Waves)+len(p.Place.Loans) > 0 || all {
		if err := e.Encode(Line{Schema: Schema, Kind: "place", At: p.At, Fleet: &p.in, Plan: &p.Place}); err != nil {
			return nil, fmt.Errorf("write journal of the placement: %w", err)
		}
	}
	return out.Bytes(), nil
}

// Replay decides a line of the journal again and returns the line that this
// gives: the same bytes, unless the rules have changed since. A line that is none
// is a fault of kind Invalid.
func Replay(line []byte) ([]byte, error) {
	var l Line
	if err := strict(line, &l); err != nil {
		return nil, fault.New(fault.Invalid, "replay journal line: %w", plain(err))
	}
	switch {
	case l.Schema != Schema:
		return nil, fault.New(fault.Invalid, "replay journal line: schema %d, expected %d", l.Schema, Schema)
	case l.Kind == "size" && l.Service != nil:
		d, _ := scale.Decide(l.Service.Policy, l.Service.State, l.Service.Input)
		l.Decision = &d
	case l.Kind == "place" && l.Fleet != nil:
		p := place.Decide(*l.Fleet)
		l.Plan = &p
	default:
		return nil, fault.New(fault.Invalid, "replay journal line: kind %q, expected a size or a place with its input", l.Kind)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return nil, fmt.Errorf("replay journal line: %w", err)
	}
	return out.Bytes(), nil
}

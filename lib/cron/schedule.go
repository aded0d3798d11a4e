// Package cron decides when services of kind cron run: which tick is due, who may
// begin it, and what becomes of ticks that were missed or that find the run before
// still going on. It is pure: time, zone and the state of the fleet are arguments.
package cron

import (
	"time"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// Schedule is when a service ticks, by the clock of one zone.
//
// Where that clock is put forward, a tick of the hour that is left out comes when
// the hour would have begun to be missing: at the moment of the change. Where it is
// put back, a tick at fixed hours comes once, the first time its hour is there; one
// of every hour (the field of hours begins with *) goes on through both.
type Schedule struct {
	next   func(time.Time) time.Time // on a clock without a zone
	zone   *time.Location
	hourly bool // the field of hours begins with *
}

// New is a schedule of five cron fields in a zone.
func New(fields string, zone *time.Location) (Schedule, error) {
	next, ok := spec.Wall(fields)
	if !ok || zone == nil {
		return Schedule{}, fault.New(fault.Invalid, "read schedule %q: expected five cron fields and a zone", fields)
	}
	return Schedule{next: next, zone: zone, hourly: hourly(fields)}, nil
}

// hourly reports whether the second field, that of hours, begins with *.
func hourly(fields string) bool {
	n, word := 0, false
	for _, r := range fields {
		space := r == ' ' || r == '\t'
		if !space && !word {
			if n++; n == 2 {
				return r == '*'
			}
		}
		word = !space
	}
	return false
}

// Next is the first tick after t; the zero time when there is none within years.
func (s Schedule) Next(t time.Time) time.Time {
	if s.hourly {
		return s.nextHourly(t)
	}
	return s.nextFixed(t)
}

// wall is what the zone's clock shows at t, as a time without a zone.
func (s Schedule) wall(t time.Time) time.Time {
	_, offset := t.In(s.zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// change is the next moment after t at which the zone's clock is moved; zero: none.
func (s Schedule) change(t time.Time) time.Time {
	_, end := t.In(s.zone).ZoneBounds()
	return end
}

// nextHourly finds the first moment at which the clock shows a matching minute.
func (s Schedule) nextHourly(t time.Time) time.Time {
	for range maxChanges {
		_, offset := t.In(s.zone).Zone()
		at := s.next(s.wall(t))
		if at.IsZero() {
			return at
		}
		at = at.Add(-time.Duration(offset) * time.Second)
		change := s.change(t)
		if change.IsZero() || at.Before(change) {
			return at.UTC()
		}
		// The clock is moved before: it goes on from what it shows then.
		if at = s.next(s.wall(change).Add(-time.Second)); at.Equal(s.wall(change)) {
			return change.UTC()
		}
		t = change
	}
	return time.Time{}
}

// maxChanges bounds a search over changes of the clock: two a year for some years.
const maxChanges = 20

// nextFixed finds the first minute of the clock that comes after t.
func (s Schedule) nextFixed(t time.Time) time.Time {
	at := s.wall(t).Add(-widest)
	for range maxSteps {
		if at = s.next(at); at.IsZero() {
			return at
		}
		if m := s.moment(at); m.After(t) {
			return m.UTC()
		}
	}
	return time.Time{}
}

const (
	widest   = 3 * time.Hour // no clock is put forward or back by more at once, but for a few in history
	maxSteps = 8 * 60        // minutes of that, twice
)

// moment is when the clock first shows w; where it never does, the moment at
// which it is put forward over w.
func (s Schedule) moment(w time.Time) time.Time {
	_, before := w.Add(-30 * time.Hour).In(s.zone).Zone()
	_, after := w.Add(30 * time.Hour).In(s.zone).Zone()
	early, late := w.Add(-time.Duration(max(before, after))*time.Second), w.Add(-time.Duration(min(before, after))*time.Second)
	for _, m := range []time.Time{early, late} {
		if s.wall(m).Equal(w) {
			return m
		}
	}
	if change := s.change(early); !change.IsZero() {
		return change
	}
	return late
}

// Last is the newest tick after one time and not after another, and how many
// there are between them, at most most; the zero time: none.
func (s Schedule) Last(after, until time.Time) (tick time.Time, n int) {
	const day = 24 * time.Hour
	for _, back := range []time.Duration{time.Hour, day, 32 * day, 367 * day, 9 * 367 * day} {
		from := until.Add(-back)
		cut := from.After(after)
		if !cut {
			from = after
		}
		tick, n = time.Time{}, 0
		for t := s.Next(from); !t.IsZero() && !t.After(until); t = s.Next(t) {
			tick = t
			n++
		}
		if !cut {
			break
		}
		if n > 0 { // the newest is known, and some before it are not looked for
			return tick, s.count(after, until)
		}
	}
	return tick, min(n, most)
}

// most is how many missed ticks are counted.
const most = 1000

func (s Schedule) count(after, until time.Time) (n int) {
	for t := s.Next(after); !t.IsZero() && !t.After(until) && n < most; t = s.Next(t) {
		n++
	}
	return n
}

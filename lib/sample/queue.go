package sample

import (
	"slices"
	"time"

	"svckit/lib/fleet"
)

// queueGap is the longest time between two readings of a queue that is taken as one step.
const queueGap = 20 * time.Second

// queueSeries is a queue over time: its readings of the last minute, oldest first.
type queueSeries struct {
	points []Queue
	since  time.Time
}

// add takes in the last reading of the queue, which may be one that is known already.
func (s *queueSeries) add(at time.Time, q *Queue) {
	if q == nil || !good(*q) {
		return
	}
	p := *q
	if n := len(s.points); n > 0 {
		last := s.points[n-1]
		switch {
		case p.Source == last.Source && p.Mono <= last.Mono:
			return
		case p.Source != last.Source, p.Counted != last.Counted, p.Mono-last.Mono > queueGap, p.Counted && p.Acked < last.Acked:
			s.points = nil // another queue, a gap, or counters that were begun anew
		case p.Counted:
			// Published may be a sum of things that consumers change one after the other.
			p.Published = max(p.Published, last.Published)
		}
	}
	if len(s.points) == 0 {
		s.since = at
	}
	s.points = append(s.points, p)
	old := slices.IndexFunc(s.points, func(o Queue) bool { return o.Mono >= p.Mono-kept-queueGap/2 })
	s.points = slices.Delete(s.points, 0, max(old, 0))
}

// sample is nil where the queue could not be read for queueGap.
func (s *queueSeries) sample(now time.Duration) *fleet.Queue {
	n := len(s.points)
	if n == 0 || now-s.points[n-1].Mono > queueGap {
		return nil
	}
	last := s.points[n-1]
	out := &fleet.Queue{Source: last.Source, Since: s.since.Unix(), Ready: last.Ready, Unacked: last.Unacked, Rates: last.Counted && n > 1}
	out.In10, out.Out10 = s.rates(10 * time.Second)
	out.In60, out.Out60 = s.rates(time.Minute)
	return out
}

// rates are per second over a window that ends with the last reading, taken
// between the readings that are nearest to its ends.
func (s *queueSeries) rates(window time.Duration) (in, out float64) {
	last := s.points[len(s.points)-1]
	first, best := last, window
	for _, p := range s.points[:len(s.points)-1] {
		if off := (last.Mono - p.Mono - window).Abs(); off < best {
			first, best = p, off
		}
	}
	dt := (last.Mono - first.Mono).Seconds()
	if dt <= 0 {
		return 0, 0
	}
	if last.Counted {
		return (last.Published - first.Published) / dt, (last.Acked - first.Acked) / dt
	}
	grown := (last.Ready + last.Unacked - first.Ready - first.Unacked) / dt
	return max(grown, 0), max(-grown, 0)
}

func good(q Queue) bool {
	for _, f := range []float64{q.Ready, q.Unacked, q.Published, q.Acked} {
		if finite(f) != f {
			return false
		}
	}
	return true
}

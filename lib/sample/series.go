package sample

import (
	"math"
	"slices"
	"time"

	"svckit/lib/fleet"
)

// series is one service over time.
type series struct {
	ring    ring
	mono    time.Duration // of the last reading that counts
	whole   bool          // there is one
	since   time.Time     // since when there is no gap
	source  Source
	waited  float64           // at the last reading that counts
	workers map[string]Work   // instance/key → as read last
	lives   map[string]Source // instances of the last reading that counts
	cpu     map[string]*mark  // instance → its CPU
	use     ring              // of CPU: it is known also where requests are not
	now     Service           // the last reading, whole or not
	queue   queueSeries
}

// add takes in a reading of the service.
func (s *series) add(at time.Time, mono time.Duration, r Service) {
	s.now = r
	s.spent(mono, r)
	s.queue.add(at, r.Queue)
	for _, i := range r.Instances {
		if i.Missing {
			return // the next whole reading covers this time too
		}
	}
	source := speaking(r.Instances)
	dt := mono - s.mono
	fresh := !s.whole || dt > maxGap
	spoke := source != Silent && s.source == Silent && !fresh
	t := tick{end: mono, dt: dt}
	workers, lives := map[string]Work{}, map[string]Source{}
	for _, i := range r.Instances {
		lives[i.ID] = i.Source
		t.waiting += finite(i.Waiting)
		was, lived := s.lives[i.ID]
		for _, w := range i.Workers {
			key := i.ID + "/" + w.Key
			before, known := s.workers[key]
			// A worker that was not there when its instance was read last has
			// done all that it tells of since then.
			if known || lived && (was == i.Source || was == Silent) {
				t.count(w, before, i.Source)
			}
			workers[key] = w
			t.busy += float64(max(w.Active, 0)) * dt.Seconds()
		}
	}
	waited := s.waited
	s.workers, s.lives, s.mono, s.whole, s.source, s.waited = workers, lives, mono, true, source, t.waiting
	switch {
	case fresh:
		s.ring, s.since = ring{first: t.waiting}, at
		return
	case spoke: // the first requests ever: what they are is known, since there were none before
		s.ring, s.since = ring{first: waited}, at.Add(-dt)
	}
	s.ring.add(t)
}

// speaking is the worst source that a service's instances have. One that is
// silent does not count while it serves nobody, nor where another of its release
// speaks: then it has had no request yet.
func speaking(list []Instance) Source {
	told := map[string]bool{}
	for _, i := range list {
		told[i.Release] = told[i.Release] || i.Source != Silent
	}
	worst, any := Marks, false
	for _, i := range list {
		switch {
		case i.Source == Silent && i.Ready > 0 && !told[i.Release]:
			return Silent
		case i.Source != Silent:
			worst, any = min(worst, i.Source), true
		}
	}
	if !any {
		return Silent
	}
	return worst
}

// count adds what a worker did since it was read before. A counter that went
// down belongs to another life of the worker: nothing is known of this time then.
func (t *tick) count(w, before Work, source Source) {
	if w.Begun < before.Begun || w.Done < before.Done || w.Seconds < before.Seconds || !sound(w) {
		return
	}
	t.begun += w.Begun - before.Begun
	t.done += w.Done - before.Done
	t.seconds += w.Seconds - before.Seconds
	if source != Marks {
		// What it works on counts once it is done, or as often as somebody looks: see worked.
		return
	}
	t.timed += w.Done - before.Done
	t.timedSeconds += w.Seconds - before.Seconds
	t.squares += max(w.Squares-before.Squares, 0)
	t.work += max(w.Seconds+w.Elapsed-before.Seconds-before.Elapsed, 0)
}

// spent counts the CPU of the instances that could be read.
func (s *series) spent(mono time.Duration, r Service) {
	next := map[string]*mark{}
	var sum, dt float64
	for _, i := range r.Instances {
		m := s.cpu[i.ID]
		if m == nil {
			m = &mark{}
		}
		next[i.ID] = m
		if !i.Used {
			continue
		}
		if by, d, ok := m.step(mono, i.CPU); ok {
			sum += by / d.Seconds()
			dt = max(dt, d.Seconds())
		}
	}
	s.cpu = next
	if dt > 0 {
		d := time.Duration(dt * float64(time.Second))
		s.use.add(tick{end: mono, dt: d, cpu: sum * dt})
	}
}

func (s *series) sample(now time.Duration) fleet.ServiceSample {
	r := s.now
	out := fleet.ServiceSample{Name: r.Name, Release: r.Release, Instances: len(r.Instances), Settling: r.Settling, Errors: bounded(r.Errors)}
	for _, i := range r.Instances {
		out.Ready += i.Ready
		out.Starting += i.Starting
		out.MemoryIn += i.MemoryIn
	}
	if u := s.use.over(now, 10*time.Second); u.dt > 0 {
		out.CPU = u.cpu / u.dt.Seconds()
	}
	out.Requests = s.requests(now)
	out.Queue = s.queue.sample(now)
	return out
}

// requests is nil where nothing tells of requests, or nothing did for maxGap.
func (s *series) requests(now time.Duration) *fleet.Requests {
	if !s.whole || s.source == Silent || now-s.mono > maxGap || len(s.ring.ticks) == 0 {
		return nil
	}
	last := s.ring.ticks[len(s.ring.ticks)-1]
	q := &fleet.Requests{Since: s.since.Unix(), Marks: true, Slots: 1, Waiting: last.waiting}
	slots := 0.0
	for _, w := range s.workers {
		q.Busy += float64(max(w.Active, 0))
		slots += float64(min(max(w.Slots, 1), mostSlots))
	}
	if n := len(s.workers); n > 0 {
		q.Slots = slots / float64(n)
	}
	a, b, c := s.ring.over(now, time.Second), s.ring.over(now, 10*time.Second), s.ring.over(now, time.Minute)
	q.Rate1, q.Rate10, q.Rate60 = s.arrivals(now, a, time.Second), s.arrivals(now, b, 10*time.Second), s.arrivals(now, c, time.Minute)
	q.Done10, q.Done60 = b.done/b.dt.Seconds(), c.done/c.dt.Seconds()
	if c.done > 0 {
		q.Service = c.seconds / c.done
	}
	if c.timed > 1 && c.timedSeconds > 0 {
		mean := c.timedSeconds / c.timed
		q.CV2 = max(c.squares/c.timed/(mean*mean)-1, 0)
	}
	q.Busy10, q.Busy60 = s.worked(b, q.Service), s.worked(c, q.Service)
	return q
}

// arrivals per second: what workers have begun, and by how much more waits than
// at the beginning.
func (s *series) arrivals(now time.Duration, sum tick, window time.Duration) float64 {
	last := s.ring.ticks[len(s.ring.ticks)-1].waiting
	grown := last - s.ring.before(now, window)
	return max(sum.begun+grown, 0) / sum.dt.Seconds()
}

// mostSlots bounds what is believed of the threads of one worker.
const mostSlots = 10_000

// shortRequest is the service time below which completed requests tell better
// how busy workers were than one look a second.
const shortRequest = 1.0

// worked is the mean of busy workers. Marks tell it exactly.
func (s *series) worked(sum tick, service float64) float64 {
	switch {
	case s.source == Marks:
		return sum.work / sum.dt.Seconds()
	case service > 0 && service < shortRequest:
		return sum.seconds / sum.dt.Seconds()
	}
	return sum.busy / sum.dt.Seconds()
}

// sound reports whether the numbers of a worker are numbers.
func sound(w Work) bool {
	for _, f := range []float64{w.Begun, w.Done, w.Seconds, w.Elapsed, w.Squares} {
		if finite(f) != f {
			return false
		}
	}
	return true
}

// absurd is more than anything that is counted here.
const absurd = 1e15

// finite is f, or 0 where f is no sensible count.
func finite(f float64) float64 {
	if math.IsNaN(f) || f < 0 || f > absurd {
		return 0
	}
	return f
}

func bounded(errors []string) []string {
	if len(errors) > maxErrors {
		errors = errors[:maxErrors]
	}
	return slices.Clone(errors)
}

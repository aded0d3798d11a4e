package survey

import (
	"fmt"
	"math"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

// seen is what the samples tell of one service.
func seen(f Facts, v Service) planner.Seen {
	var out planner.Seen
	sum := sum{service: v, placed: map[string]int{}}
	for _, x := range f.Placed {
		if x.Name == v.Name {
			sum.placed[x.Node] += x.Count
		}
	}
	for _, m := range f.Monitors {
		r, ok := f.Reports[m.Node]
		sum.node(f, m, r, ok)
	}
	out.Ready, out.Starting, out.Settling = sum.ready, sum.starting, sum.settling
	out.Signals = sum.signals()
	return out
}

// sum adds up one service over its nodes.
type sum struct {
	service         Service
	placed          map[string]int
	ready, starting int
	settling        string

	load           *scale.Load
	queue          *scale.Backlog
	queueAt        int64
	growth         bool    // of the queue only how it grows is known
	done10, done60 float64 // what consumers say that they are done with
	told           bool    // they say so
	oldest         int64
	heard, unheard float64 // workers whose nodes reported, and those whose did not
	weighed, cv    float64 // for the means over nodes
	why            string  // the first error
}

func (s *sum) node(f Facts, m fleet.Monitor, r Report, ok bool) {
	if !m.Alive {
		return
	}
	fresh := ok && f.At-r.At <= freshFor && f.At >= r.At
	found := false
	for _, x := range r.Sample.Services {
		if x.Name != s.service.Name {
			continue
		}
		found = true
		if s.settling == "" {
			s.settling = x.Settling
		}
		if s.settling == "" && x.Instances > 0 && x.Release != s.service.Release && x.Release != "" && s.service.Release != "" {
			s.settling = fmt.Sprintf("%s runs release %s", m.Node, x.Release)
		}
		s.ready, s.starting = s.ready+x.Ready, s.starting+x.Starting
		workers := float64(max(x.Ready+x.Starting, 1))
		if !fresh {
			s.unheard += workers
			s.fail(m.Node + " is silent: " + r.Error)
			continue
		}
		s.requests(m.Node, x, r.At, workers)
		s.backlog(x, r.At)
	}
	if !found && s.placed[m.Node] > 0 && !fresh {
		s.unheard += float64(s.placed[m.Node])
		s.fail(m.Node + " is silent: " + r.Error)
	}
}

func (s *sum) fail(why string) {
	if s.why == "" {
		s.why = why
	}
}

// requests adds the traffic of one node; what cannot be true is not heard.
func (s *sum) requests(node string, x fleet.ServiceSample, at int64, workers float64) {
	q := x.Requests
	if q == nil {
		s.unheard += workers
		if len(x.Errors) > 0 {
			s.fail(node + ": " + x.Errors[0])
		}
		return
	}
	for _, n := range []float64{q.Rate1, q.Rate10, q.Rate60, q.Done10, q.Done60, q.Busy, q.Busy10, q.Busy60, q.Waiting, q.Service, q.CV2} {
		if math.IsNaN(n) || n < 0 || n > maxNumber {
			s.unheard += workers
			s.fail(fmt.Sprintf("%s says %g, which cannot be", node, n))
			return
		}
	}
	s.heard += workers
	if s.load == nil {
		s.load, s.oldest = &scale.Load{}, at
	}
	s.oldest = min(s.oldest, at)
	s.told, s.done10, s.done60 = true, s.done10+q.Done10, s.done60+q.Done60
	l := s.load
	l.Rate1, l.Rate10, l.Rate60 = l.Rate1+q.Rate1, l.Rate10+q.Rate10, l.Rate60+q.Rate60
	l.Done10, l.Done60 = l.Done10+q.Done10, l.Done60+q.Done60
	l.Waiting += q.Waiting
	// A worker with threads serves as many requests at a time as it has of them.
	each := max(q.Slots, 1)
	if q.Marks {
		l.Busy, l.Busy10, l.Busy60 = l.Busy+q.Busy/each, l.Busy10+q.Busy10/each, l.Busy60+q.Busy60/each
	}
	if q.Service > 0 && q.Done60 > 0 {
		s.weighed += q.Done60
		s.cv += q.Done60 * q.CV2
		l.Service += q.Done60 * q.Service / each
	}
}

// maxNumber bounds what one node may say of one service.
const maxNumber = 1e9

// backlog takes the newest sight of the queue, which all nodes share.
func (s *sum) backlog(x fleet.ServiceSample, at int64) {
	q := x.Queue
	if q == nil || at < s.queueAt {
		return
	}
	for _, n := range []float64{q.Ready, q.Unacked, q.In10, q.In60, q.Out10, q.Out60} {
		if math.IsNaN(n) || n < 0 || n > maxNumber {
			s.fail(fmt.Sprintf("the queue has %g, which cannot be", n))
			return
		}
	}
	if s.queue != nil && at == s.queueAt && q.Ready+q.Unacked <= s.queue.Ready+s.queue.Unacked {
		return // of two sights at one time the larger counts
	}
	s.queueAt, s.growth = at, !q.Rates
	s.queue = &scale.Backlog{Ready: q.Ready, Unacked: q.Unacked, In10: q.In10, In60: q.In60, Out10: q.Out10, Out60: q.Out60}
}

// rates finds what is taken from a queue of which only the growth is known: what
// consumers say that they are done with. Without that, the queue is not known.
func (s *sum) rates() {
	if s.queue == nil || !s.growth {
		return
	}
	if !s.told {
		s.queue = nil
		s.fail("the queue tells only how it grows, and its consumers do not mark what they do (docs/marks.md)")
		return
	}
	b := s.queue
	b.In10, b.Out10 = max(0, b.In10-b.Out10+s.done10), s.done10
	b.In60, b.Out60 = max(0, b.In60-b.Out60+s.done60), s.done60
}

func (s *sum) signals() (out []scale.Signal) {
	switch s.service.Spec.Scale.Strategy {
	case "busy_ratio", "rps_ratio":
		sig := scale.Signal{Name: Requests, At: s.oldest, Error: s.why, Load: s.load}
		if all := s.heard + s.unheard; all > 0 {
			sig.Coverage = s.heard / all
		}
		if s.load != nil && s.weighed > 0 {
			s.load.Service, s.load.CV2 = s.load.Service/s.weighed, s.cv/s.weighed
		}
		if s.heard > 0 || s.why != "" {
			out = append(out, sig)
		}
	case "queue":
		s.rates()
		sig := scale.Signal{Name: Queue, At: s.queueAt, Coverage: 1, Error: s.why, Backlog: s.queue}
		if s.queue != nil || s.why != "" {
			out = append(out, sig)
		}
	}
	return out
}

package sample

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"svckit/lib/fleet"
)

// node is a service of which the truth is known.
type node struct {
	mono, wall time.Duration
	workers    []Work
	waiting    float64
	ended      int // gives each process a name of its own
}

func (n *node) reading() Reading {
	work := append([]Work(nil), n.workers...)
	return Reading{
		At: time.Unix(1_800_000_000, 0).Add(n.wall), Mono: n.mono, Node: Node{Known: true, CPUs: 2, CPU: n.mono.Seconds()},
		Services: []Service{{Name: "a/web", Instances: []Instance{
			{ID: "i", Ready: len(work), Source: Marks, Workers: work, Waiting: n.waiting, Used: true, CPU: n.mono.Seconds() / 2},
		}}},
	}
}

func (n *node) replace(k int) {
	n.ended++
	n.workers[k] = Work{Key: string(rune('a'+k)) + "." + time.Duration(n.ended).String(), Slots: 1}
}

func newNode(workers int) *node {
	n := &node{workers: make([]Work, workers)}
	for k := range n.workers {
		n.replace(k)
	}
	return n
}

// second lets each worker complete so many requests of so many seconds.
func (n *node) second(requests, seconds float64) {
	n.mono += time.Second
	n.wall += time.Second
	for k := range n.workers {
		w := &n.workers[k]
		w.Begun += requests
		w.Done += requests
		w.Seconds += requests * seconds
		w.Squares += requests * seconds * seconds
	}
}

func requestsOf(t interface {
	Helper()
	Fatalf(string, ...any)
}, s fleet.Sample,
) fleet.Requests {
	t.Helper()
	if len(s.Services) != 1 || s.Services[0].Requests == nil {
		t.Fatalf("no requests in %+v", s)
	}
	return *s.Services[0].Requests
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*(1+math.Abs(b)) }

func TestASteadyLoadIsThatLoadWhateverReadingsAreMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, book := newNode(rapid.IntRange(1, 5).Draw(t, "workers")), New("n")
		requests := float64(rapid.IntRange(1, 50).Draw(t, "requests"))
		book.Add(n.reading())
		for range rapid.IntRange(3, 150).Draw(t, "seconds") {
			n.second(requests, 0.25/requests)
			if rapid.IntRange(0, 9).Draw(t, "clock") == 0 {
				n.wall += time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "jump")) * time.Second
			}
			r := n.reading()
			switch rapid.IntRange(0, 5).Draw(t, "reading") {
			case 0:
				continue // nobody read
			case 1:
				r.Services[0].Instances[0].Missing = true
				r.Services[0].Instances[0].Workers = nil
			}
			book.Add(r)
		}
		n.second(requests, 0.25/requests)
		book.Add(n.reading())
		n.second(requests, 0.25/requests)
		book.Add(n.reading()) // two in a row: a rate is known
		q := requestsOf(t, book.Sample(Applied{}))
		rate, busy := requests*float64(len(n.workers)), 0.25*float64(len(n.workers))
		for name, got := range map[string]float64{"rate1": q.Rate1, "rate10": q.Rate10, "rate60": q.Rate60, "done10": q.Done10, "done60": q.Done60} {
			if !near(got, rate) {
				t.Fatalf("%s %g, want %g", name, got, rate)
			}
		}
		if !near(q.Busy10, busy) || !near(q.Busy60, busy) || !near(q.Service, 0.25/requests) || q.CV2 > 1e-6 {
			t.Fatalf("%+v, want %g busy", q, busy)
		}
	})
}

func TestNoTrafficIsInventedByWorkersThatComeAndGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, book := newNode(rapid.IntRange(1, 4).Draw(t, "workers")), New("n")
		for k := range n.workers { // it has worked for long when the monitor starts
			n.workers[k].Begun, n.workers[k].Done, n.workers[k].Seconds = 1e6, 1e6, 1e5
		}
		most := 0.0
		for range rapid.IntRange(1, 120).Draw(t, "seconds") {
			requests := float64(rapid.IntRange(0, 30).Draw(t, "requests"))
			n.second(requests, 0.01)
			most = max(most, requests*float64(len(n.workers)))
			if rapid.IntRange(0, 4).Draw(t, "replace") == 0 {
				n.replace(rapid.IntRange(0, len(n.workers)-1).Draw(t, "which"))
			}
			switch rapid.IntRange(0, 9).Draw(t, "odd") {
			case 0:
				n.mono += time.Duration(rapid.IntRange(0, 20).Draw(t, "sleep")) * time.Second
			case 1:
				w := &n.workers[0] // its counters go down
				w.Done, w.Begun, w.Seconds = w.Done/2, w.Begun/2, w.Seconds/2
			case 2:
				n.wall = 0
			}
			book.Add(n.reading())
			s := book.Sample(Applied{})
			q := s.Services[0].Requests
			if q == nil {
				continue
			}
			for name, got := range map[string]float64{
				"rate1": q.Rate1, "rate10": q.Rate10, "rate60": q.Rate60, "done10": q.Done10, "done60": q.Done60,
				"busy10": q.Busy10, "busy60": q.Busy60, "service": q.Service, "cv2": q.CV2, "cpu": s.Services[0].CPU, "node": s.CPUUsed,
			} {
				if !(got >= 0) || math.IsInf(got, 0) {
					t.Fatalf("%s is %g", name, got)
				}
			}
			if got := max(q.Rate1, q.Rate10, q.Rate60, q.Done10, q.Done60); got > most*(1+1e-9) {
				t.Fatalf("%g a second, and the busiest second had %g: %+v", got, most, *q)
			}
		}
	})
}

func TestAnyReadingGivesASample(t *testing.T) {
	number := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, math.NaN(), math.Inf(1), -1}))
	work := rapid.Custom(func(t *rapid.T) Work {
		return Work{
			Key: rapid.StringN(0, 2, 2).Draw(t, "key"), Slots: rapid.Int().Draw(t, "slots"), Active: rapid.IntRange(-1, 5).Draw(t, "active"),
			Begun: number.Draw(t, "begun"), Done: number.Draw(t, "done"), Seconds: number.Draw(t, "seconds"), Elapsed: number.Draw(t, "elapsed"), Squares: number.Draw(t, "squares"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		book := New("n")
		for range rapid.IntRange(1, 20).Draw(t, "readings") {
			book.Add(Reading{Mono: time.Duration(rapid.Int64Range(0, 1e11).Draw(t, "mono")), Services: []Service{{
				Name: "a/web", Queue: &Queue{Ready: number.Draw(t, "ready"), Acked: number.Draw(t, "acked"), Counted: rapid.Bool().Draw(t, "counted"), Mono: time.Duration(rapid.Int64Range(0, 1e11).Draw(t, "read"))},
				Instances: []Instance{{ID: "i", Source: Source(rapid.IntRange(0, 2).Draw(t, "source")), Waiting: number.Draw(t, "waiting"), Workers: rapid.SliceOfN(work, 0, 4).Draw(t, "workers"), Used: true, CPU: number.Draw(t, "cpu")}},
			}}})
			for _, s := range book.Sample(Applied{}).Services {
				if q := s.Requests; q != nil {
					for _, f := range []float64{q.Rate1, q.Rate10, q.Rate60, q.Done10, q.Done60, q.Busy, q.Busy10, q.Busy60, q.Waiting, q.Service, q.CV2, q.Slots, s.CPU} {
						if !(f >= 0 && f < 1e20) {
							t.Fatalf("%+v, cpu %g", *q, s.CPU)
						}
					}
				}
				if q := s.Queue; q != nil && !(q.In10 >= 0 && q.Out10 >= 0 && q.In60 >= 0 && q.Out60 >= 0 && q.Ready >= 0) {
					t.Fatalf("%+v", *q)
				}
			}
		}
	})
}

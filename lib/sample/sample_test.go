package sample

import (
	"strings"
	"testing"
	"time"
)

// after plays so many seconds of a node into a new book.
func after(n *node, seconds int, each func(k int)) *Book {
	book := New("n")
	book.Add(n.reading())
	for k := range seconds {
		each(k)
		book.Add(n.reading())
	}
	return book
}

func TestWhatWaitsHasArrived(t *testing.T) {
	n := newNode(2)
	book := after(n, 20, func(int) {
		n.second(1, 1)
		n.waiting += 3
	})
	q := requestsOf(t, book.Sample(Applied{}))
	if q.Waiting != 60 || q.Rate1 != 5 || q.Rate10 != 5 || q.Done10 != 2 {
		t.Errorf("2 a second are done and 3 more wait: %+v", q)
	}
	n.waiting = 0 // they gave up
	n.second(1, 1)
	book.Add(n.reading())
	if q := requestsOf(t, book.Sample(Applied{})); q.Rate1 != 0 || q.Waiting != 0 {
		t.Errorf("a queue that is dropped is no traffic, and none is taken back: %+v", q)
	}
}

func TestBusyWorkersAreCountedBetweenLooks(t *testing.T) {
	// One request of 30 s, seen from its beginning.
	n := newNode(1)
	book := after(n, 20, func(k int) {
		n.mono, n.wall = n.mono+time.Second, n.wall+time.Second
		n.workers[0].Begun, n.workers[0].Active, n.workers[0].Elapsed = 1, 1, float64(k+1)
	})
	q := requestsOf(t, book.Sample(Applied{}))
	if q.Busy != 1 || !near(q.Busy10, 1) || q.Done60 != 0 || q.Service != 0 || !near(q.Rate60, 1.0/20) {
		t.Errorf("%+v", q)
	}
	// It ends: what was counted while it went on is not counted again.
	n.mono += time.Second
	n.workers[0] = Work{Key: n.workers[0].Key, Slots: 1, Begun: 1, Done: 1, Seconds: 20.5, Squares: 20.5 * 20.5}
	book.Add(n.reading())
	q = requestsOf(t, book.Sample(Applied{}))
	if q.Busy != 0 || !near(q.Busy60, 20.5/21) || q.Service != 20.5 {
		t.Errorf("%+v", q)
	}
}

func TestTheSpreadOfServiceTimesComesFromTheSums(t *testing.T) {
	n := newNode(1)
	book := after(n, 5, func(int) { // 1 s and 3 s by turns: mean 2, variance 1
		n.mono += 4 * time.Second
		w := &n.workers[0]
		w.Begun, w.Done, w.Seconds, w.Squares = w.Begun+2, w.Done+2, w.Seconds+4, w.Squares+10
	})
	if q := requestsOf(t, book.Sample(Applied{})); q.Service != 2 || !near(q.CV2, 0.25) {
		t.Errorf("%+v", q)
	}
}

func TestAGapBeginsAnewAndSaysSo(t *testing.T) {
	n := newNode(1)
	book := after(n, 30, func(int) { n.second(10, 0.01) })
	for range 6 {
		n.second(10, 0.01)
	}
	book.Add(n.reading())
	s := book.Sample(Applied{})
	if s.Services[0].Requests != nil {
		t.Errorf("after 6 s without a reading nothing is known: %+v", s.Services[0].Requests)
	}
	since := n.wall
	n.second(10, 0.01)
	book.Add(n.reading())
	if q := requestsOf(t, book.Sample(Applied{})); q.Rate60 != 10 || q.Since != 1_800_000_000+int64(since.Seconds()) {
		t.Errorf("%+v", q)
	}
}

func TestAnInstanceThatCannotBeReadIsNoFallOfTraffic(t *testing.T) {
	n := newNode(2)
	book := after(n, 10, func(int) { n.second(5, 0.01) })
	for range 4 {
		n.second(5, 0.01)
		r := n.reading()
		r.Services[0].Instances[0].Missing, r.Services[0].Instances[0].Workers = true, nil
		book.Add(r)
	}
	if q := requestsOf(t, book.Sample(Applied{})); q.Rate1 != 10 || q.Rate10 != 10 {
		t.Errorf("%+v", q)
	}
	for range 2 {
		n.second(5, 0.01)
		r := n.reading()
		r.Services[0].Instances[0].Missing = true
		book.Add(r)
	}
	if got := book.Sample(Applied{}).Services[0].Requests; got != nil {
		t.Errorf("not seen for 6 s: %+v", got)
	}
}

func TestWhatNothingTellsOfIsNotZero(t *testing.T) {
	silent := Instance{ID: "s", Release: "r1", Ready: 2}
	speaks := Instance{ID: "m", Release: "r1", Ready: 1, Source: Marks, Workers: []Work{{Key: "1", Slots: 4}}}
	other := silent
	other.Release = "r0"
	booting := other
	booting.Ready, booting.Starting = 0, 2
	for _, row := range []struct {
		name  string
		list  []Instance
		known bool
	}{
		{"nothing", nil, false},
		{"silent", []Instance{silent}, false},
		{"one of its release speaks: no request yet", []Instance{silent, speaks}, true},
		{"one of another release is silent", []Instance{other, speaks}, false},
		{"a silent one that serves nobody yet", []Instance{booting, speaks}, true},
	} {
		book := New("n")
		for k := range 3 {
			book.Add(Reading{At: time.Unix(int64(k), 0), Mono: time.Duration(k+1) * time.Second, Services: []Service{{Name: "a/web", Instances: row.list}}})
		}
		q := book.Sample(Applied{}).Services[0].Requests
		if (q != nil) != row.known || q != nil && q.Slots != 4 {
			t.Errorf("%s: %+v", row.name, q)
		}
	}
}

func TestTheFirstRequestsOfAllAreSeen(t *testing.T) {
	book := New("n")
	silent := Instance{ID: "i", Ready: 2}
	speaks := Instance{ID: "i", Ready: 2, Source: Marks, Waiting: 3, Workers: []Work{{Key: "1", Slots: 1, Begun: 1, Active: 1, Elapsed: 0.5}}}
	for k, i := range []Instance{silent, silent, speaks} {
		book.Add(Reading{At: time.Unix(int64(k), 0), Mono: time.Duration(k+1) * time.Second, Services: []Service{{Name: "a/web", Instances: []Instance{i}}}})
	}
	if q := requestsOf(t, book.Sample(Applied{})); q.Rate1 != 4 || q.Busy10 != 0.5 || q.Since != 1 {
		t.Errorf("one was taken and three wait: %+v", q)
	}
}

func TestAnotherSourceOfTheSameInstanceInventsNothing(t *testing.T) {
	book := New("n")
	for k, source := range []Source{Stats, Stats, Marks, Marks} {
		book.Add(Reading{At: time.Unix(int64(k), 0), Mono: time.Duration(k+1) * time.Second, Services: []Service{{Name: "a/web", Instances: []Instance{
			{ID: "i", Ready: 1, Source: source, Workers: []Work{{Key: []string{"", "w1", "p7"}[source], Begun: 5000, Done: 5000, Seconds: 50, Slots: 1}}},
		}}}})
	}
	if q := book.Sample(Applied{}).Services[0].Requests; q == nil || q.Rate60 != 0 {
		t.Errorf("%+v", q)
	}
}

func TestAQueueHasRatesWhereItIsCounted(t *testing.T) {
	play := func(counted bool) *Book {
		book := New("n")
		for k := range 71 {
			mono := time.Duration(k+1) * time.Second
			read := mono - mono%(5*time.Second) // it is read every 5 s
			s := read.Seconds()
			book.Add(Reading{At: time.Unix(int64(k), 0), Mono: mono, Services: []Service{{Name: "a/q", Queue: &Queue{
				Source: "redis list jobs", Mono: read, Counted: counted, Ready: 100 + 3*s, Unacked: 4, Published: 10 * s, Acked: 7 * s,
			}}}})
		}
		return book
	}
	q := play(true).Sample(Applied{}).Services[0].Queue
	if q == nil || !q.Rates || q.In10 != 10 || q.Out10 != 7 || q.In60 != 10 || q.Out60 != 7 || q.Ready != 310 || q.Unacked != 4 {
		t.Errorf("%+v", q)
	}
	q = play(false).Sample(Applied{}).Services[0].Queue
	if q == nil || q.Rates || q.In10 != 3 || q.Out10 != 0 {
		t.Errorf("only its growth is known: %+v", q)
	}
}

func TestAQueueThatIsNotReadIsNotKnown(t *testing.T) {
	book := New("n")
	for k := range 30 {
		book.Add(Reading{At: time.Unix(int64(k), 0), Mono: time.Duration(k+1) * time.Second, Services: []Service{{Name: "a/q", Queue: &Queue{Mono: time.Second, Ready: 5}}}})
		if got := book.Sample(Applied{}).Services[0].Queue; (got != nil) != (k <= 20) {
			t.Errorf("after %d s: %+v", k, got)
		}
	}
}

func TestErrorsAreBoundedAndTheWishIsNamed(t *testing.T) {
	book := New("n1")
	book.Add(Reading{At: time.Unix(7, 0), Mono: time.Second, Services: []Service{{Name: "a/web", Errors: strings.Split("123456789012", "")}}})
	s := book.Sample(Applied{Epoch: 3, Gen: 9})
	if len(s.Services[0].Errors) != maxErrors || s.Schema != 1 || s.Node != "n1" || s.At != 7 || s.Epoch != 3 || s.Gen != 9 {
		t.Errorf("%+v", s)
	}
}

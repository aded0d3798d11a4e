package simulate

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/scale"
)

// steady is a trace of one rate.
func steady(seconds int, rps, service float64) *Trace {
	t := &Trace{Name: "steady", RPS: make([]float64, seconds), Service: make([]float64, seconds)}
	for s := range t.RPS {
		t.RPS[s], t.Service[s] = rps, service
	}
	return t
}

// fixed never changes.
type fixed int

func (fixed) Every() int         { return 60 }
func (f fixed) Decide(*View) int { return int(f) }

func TestTheRequestsAreThoseOfTheTrace(t *testing.T) {
	trace := steady(4000, 50, 0.2)
	w := Draw(trace, 7)
	if n := float64(w.Total()); math.Abs(n-200000) > 4*math.Sqrt(200000) {
		t.Errorf("%v requests, expected about 200000", n)
	}
	sum, squares := 0.0, 0.0
	for _, ms := range w.time {
		sum += float64(ms) / 1000
		squares += float64(ms) * float64(ms) / 1e6
	}
	n := float64(w.Total())
	mean := sum / n
	cv := math.Sqrt(squares/n-mean*mean) / mean
	if math.Abs(mean-0.2) > 0.004 || math.Abs(cv-CV) > 0.06 {
		t.Errorf("service time %.4f, variation %.3f, expected 0.2 and %v", mean, cv, CV)
	}
	if again := Draw(trace, 7); !reflect.DeepEqual(again.time, w.time) || !reflect.DeepEqual(again.at, w.at) {
		t.Error("the same seed gave other requests")
	}
}

func TestWaitsAgreeWithQueueingTheory(t *testing.T) {
	// M/M/c has a closed form; with lognormal times the share that finds no free
	// worker is nearly the same. Waits over 250 ms: C · exp(−(c−a)·t/(s(1+cv²)/2)).
	for _, row := range []struct {
		rps  float64
		size int
	}{{25, 7}, {100, 23}} {
		trace := steady(40000, row.rps, 0.2)
		r := Run(Draw(trace, 3), Setup{Initial: row.size}, fixed(row.size), nil)
		a := row.rps * 0.2
		late := scale.ErlangC(row.size, a) * math.Exp(-(float64(row.size)-a)*0.5/(0.2*(1+CV*CV)/2))
		if got := r.LatePercent() / 100; got < late/2.5 || got > late*2.5 {
			t.Errorf("%v rps on %d: %.5f late, theory says about %.5f", row.rps, row.size, got, late)
		}
		if math.Abs(r.Work-a*40000) > 0.03*a*40000 || r.Paid != float64(row.size)*40000 {
			t.Errorf("work %.0f, expected %.0f; paid %.0f", r.Work, a*40000, r.Paid)
		}
	}
}

func TestOneQueuePerNodeWaitsLonger(t *testing.T) {
	trace := steady(20000, 150, 0.2)
	trace.Nodes = make([]int, trace.Len())
	for s := range trace.Nodes {
		trace.Nodes[s] = 6
	}
	w := Draw(trace, 1)
	one := Run(w, Setup{Initial: 36}, fixed(36), nil)
	six := Run(w, Setup{Initial: 36, PerNode: true}, fixed(36), nil)
	if six.Requests != one.Requests || six.Late <= 2*one.Late {
		t.Errorf("one queue %d late, six queues %d late of %d", one.Late, six.Late, one.Requests)
	}
}

// steps orders a number at each of some seconds.
type steps map[int]int

func (steps) Every() int { return 1 }
func (s steps) Decide(v *View) int {
	if n, ok := s[v.At]; ok {
		return n
	}
	return v.Size
}

func TestWorkersStartAndStopAsTheModelSays(t *testing.T) {
	trace := steady(120, 0, 0.2)
	var ready, paid []int
	Run(Draw(trace, 1), Setup{Initial: 4, StartUp: 10}, steps{20: 7, 25: 6, 60: 2}, func(s Second) {
		ready, paid = append(ready, s.Ready), append(paid, s.Ready+s.Starting)
	})
	for _, row := range []struct{ at, ready, paid int }{{19, 4, 4}, {20, 4, 7}, {25, 4, 6}, {28, 4, 6}, {30, 6, 6}, {59, 6, 6}, {60, 2, 2}} {
		if ready[row.at] != row.ready || paid[row.at] != row.paid {
			t.Errorf("second %d: %d ready, %d paid, expected %d and %d", row.at, ready[row.at], paid[row.at], row.ready, row.paid)
		}
	}
}

func TestALostNodeTakesItsWorkersAndTheirRequests(t *testing.T) {
	trace := steady(300, 100, 0.2)
	trace.Nodes = make([]int, 300)
	for s := range trace.Nodes {
		trace.Nodes[s] = 4
		if s >= 100 {
			trace.Nodes[s] = 3
		}
	}
	for _, perNode := range []bool{false, true} {
		var ready []int
		r := Run(Draw(trace, 1), Setup{Initial: 40, PerNode: perNode, NodeSlots: 12}, fixed(40), func(s Second) { ready = append(ready, s.Ready) })
		if ready[99] != 40 || ready[100] != 30 || ready[200] != 36 || r.Killed < 1 || r.Killed > 10 {
			t.Errorf("per node %v: ready %d, %d, %d; %d requests cut off", perNode, ready[99], ready[100], ready[200], r.Killed)
		}
	}
}

func TestRequestsThatWaitTooLongAreGone(t *testing.T) {
	r := Run(Draw(steady(600, 100, 0.2), 1), Setup{Initial: 10}, fixed(10), nil)
	if share := float64(r.TimedOut) / float64(r.Requests); share < 0.45 || share > 0.52 {
		t.Errorf("%.2f of the requests timed out, expected about a half", share)
	}
	if r.SLOMinutes != 10 || r.MostQueued > 1200 {
		t.Errorf("%d SLO minutes of 10, %d queued", r.SLOMinutes, r.MostQueued)
	}
}

func TestStuckConsumersTakeNothingAndGoOn(t *testing.T) {
	trace := steady(900, 0, 0.2)
	trace.QueueIn, trace.Stuck = make([]float64, 900), make([]bool, 900)
	for s := range trace.QueueIn {
		trace.QueueIn[s] = 20
		trace.Stuck[s] = s >= 300 && s < 600
	}
	done := map[int]int{}
	r := Run(Draw(trace, 1), Setup{Initial: 8}, fixed(8), func(s Second) { done[s.At] = s.Waiting })
	if done[599] < 5500 || done[599] > 6500 || done[299] > 100 || r.Drained > 2500 {
		t.Errorf("waiting %d before, %d at the end of it, %d left", done[299], done[599], r.Drained)
	}
}

func TestTheOracleKeepsItsPromiseAtTheLeastCost(t *testing.T) {
	trace, err := Generate("T1", 3)
	if err != nil {
		t.Fatal(err)
	}
	trace.RPS, trace.Service = trace.RPS[:4*hour], trace.Service[:4*hour]
	w := Draw(trace, 3)
	r, share := RunOracle(w, Setup{}, 0)
	near, same := RunOracle(w, Setup{}, share)
	if r.SLOMinutes > 1 || share <= 0 || same != share || near != r {
		t.Errorf("%+v with share %v; from there %+v with %v", r, share, near, same)
	}
	if looser := Run(w, Setup{}, NewOracle(trace, 15, 2*share), nil); share < oracleShare && looser.SLOMinutes <= 1 {
		t.Errorf("share %v would do: %+v", 2*share, looser)
	}
}

func TestARunIsTheSameEachTimeAndReplaysFromItsJournal(t *testing.T) {
	trace, err := Generate("T3", 2)
	if err != nil {
		t.Fatal(err)
	}
	trace.RPS, trace.Service = trace.RPS[13*hour:15*hour], trace.Service[13*hour:15*hour]
	p := scale.Policy{Strategy: scale.BusyRatio, Wait: 0.03, WaitOver: 100 * time.Millisecond, StartUp: 15 * time.Second, Tick: 5 * time.Second, Down: scale.Down{After: 10 * time.Minute, Step: 0.1}}
	w := Draw(trace, 2)
	play := func(journal func(scale.Policy, scale.State, scale.Input, scale.Decision)) Result {
		return Run(w, Setup{}, &Rule{Policy: p, Lane: true, Journal: journal}, nil)
	}
	lines := 0
	first := play(func(p scale.Policy, s scale.State, in scale.Input, d scale.Decision) {
		lines++
		if again, _ := scale.Decide(p, s, in); !reflect.DeepEqual(again, d) {
			t.Fatalf("replayed %s, was %s", again.Words(), d.Words())
		}
	})
	if second := play(nil); first != second || lines != 2*hour/5 {
		t.Errorf("%+v and %+v, %d lines", first, second, lines)
	}
	if first.SLOMinutes > 2 || first.LatePercent() > 2 {
		t.Errorf("the surge: %+v", first)
	}
}

func TestATraceReadsBackAsItWasWritten(t *testing.T) {
	for _, story := range Stories() {
		trace, err := Generate(story.Name, 1)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := trace.WriteCSV(&text, 1); err != nil {
			t.Fatal(err)
		}
		got, err := ReadCSV(&text, story.Name)
		if err != nil {
			t.Fatal(err)
		}
		for s := range trace.RPS {
			trace.RPS[s] = math.Round(trace.RPS[s]*1e4) / 1e4
			if trace.QueueIn != nil {
				trace.QueueIn[s] = math.Round(trace.QueueIn[s]*1e4) / 1e4
			}
		}
		for i := range trace.Announced {
			trace.Announced[i].RPS = math.Round(trace.Announced[i].RPS*1e4) / 1e4
		}
		if !reflect.DeepEqual(got, trace) {
			t.Errorf("%s differs: %d and %d seconds, announced %v and %v", story.Name, got.Len(), trace.Len(), got.Announced, trace.Announced)
		}
	}
	if _, err := Generate("T0", 1); fault.KindOf(err) != fault.Usage {
		t.Errorf("T0: %v", err)
	}
}

func TestABadTraceIsRefusedWithItsLines(t *testing.T) {
	const head = "t,rps,service_s\n0,10,0.2\n"
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty: expected a header such as t,rps,service_s"},
		{"no header", "0,10,0.2\n", `x.csv:1: unknown column "0"`},
		{"a column missing", "t,rps\n0,1\n", `x.csv:1: column "service_s" is missing`},
		{"a column twice", "t,rps,rps,service_s\n", `x.csv:1: column "rps" is there twice`},
		{"half an announcement", "t,rps,service_s,announce_rps\n", "x.csv:1: announce_rps and announce_hold_s come together"},
		{"a value missing", head + "60,,0.2\n", "x.csv:3: rps: gap: the value is missing"},
		{"too few values", head + "60,10\n", "x.csv:3: expected 3 values, found 2"},
		{"a word", head + "60,many,0.2\n", `x.csv:3: rps: expected a number, found "many"`},
		{"not a number", head + "60,NaN,0.2\n", `x.csv:3: rps: expected a number, found "NaN"`},
		{"without end", head + "60,+Inf,0.2\n", "x.csv:3: rps: expected a number from 0 to 1e+06, found +Inf"},
		{"negative", head + "60,-1,0.2\n", "x.csv:3: rps: expected a number that is not negative, found -1"},
		{"no time at all", head + "60,1,0\n", "x.csv:3: service_s: expected a number from 0.0005 to 600, found 0"},
		{"huge", head + "60,1e7,0.2\n", "x.csv:3: rps: expected a number from 0 to 1e+06, found 1e7"},
		{"half a second", head + "60.5,1,0.2\n", "x.csv:3: t: expected a whole number, found 60.5"},
		{"out of order", head + "60,1,0.2\n30,1,0.2\n", "x.csv:4: t goes from 60 to 30: rows must be in the order of time, each second once"},
		{"twice the same second", head + "60,1,0.2\n60,1,0.2\n", "x.csv:4: t goes from 60 to 60"},
		{"a gap of days", head + "200000,1,0.2\n", "x.csv:3: gap: nothing is said of the 200000 seconds before; a row holds for at most 86400"},
		{"too long", head + "9000000000,1,0.2\n", "x.csv:3: t: expected a number from 0 to 2.6784e+06, found 9000000000"},
		{"too short", head, "x.csv:1: the trace lasts 1 seconds: expected at least 60"},
		{"too many requests", "t,rps,service_s\n0,1000000,0.2\n3600,1,0.2\n", "x.csv:1: huge: about 3600 million requests"},
		{"a quote", head + "60,\"1,0.2\n", "x.csv:3: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ReadCSV(strings.NewReader(row.text), "x.csv")
			if err == nil || fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error %v", err)
			}
			text := err.Error()
			var e *fault.Error
			if errors.As(err, &e) {
				text += strings.Join(e.Detail, "\n")
			}
			if !strings.Contains(text, row.want) {
				t.Errorf("got %s\nwant %s", text, row.want)
			}
		})
	}
	_, err := ReadCSV(strings.NewReader("t,rps,service_s\n"+strings.Repeat("x,1,1\n", 50)), "x.csv")
	var e *fault.Error
	if !errors.As(err, &e) || len(e.Detail) != 10 {
		t.Errorf("fifty bad lines: %v", err)
	}
}

func TestASparseTraceHoldsItsValues(t *testing.T) {
	trace, err := ReadCSV(strings.NewReader("# made by hand\nt,service_s,rps,nodes,announce_rps,announce_hold_s\n100,0.2,10,4,0,0\n200,0.3,20,3,500,60\n250,0.3,5,3,500,60\n260,0.3,5,3,0,0\n"), "x.csv")
	if err != nil {
		t.Fatal(err)
	}
	want := []Announced{{At: 100, RPS: 500, Hold: 60}}
	if trace.Len() != 161 || trace.RPS[99] != 10 || trace.RPS[100] != 20 || trace.Service[149] != 0.3 || trace.NodesAt(0) != 4 || trace.NodesAt(160) != 3 || !reflect.DeepEqual(trace.Announced, want) {
		t.Errorf("%d seconds, %v at 99, %v at 100, announced %v", trace.Len(), trace.RPS[99], trace.RPS[100], trace.Announced)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("t,rps,service_s,metrics\n0,10,0.2,1\n60,10,0.2,0\n")
	f.Add("t,queue_in,service_s,stuck\n0,10,0.2,1\n100,10,0.2,0\n")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ReadCSV(strings.NewReader(text), "x.csv")
		if err != nil {
			return
		}
		if n := trace.Requests(); trace.Len() < 60 || !(n >= 0) || n > MaxRequests {
			t.Fatalf("%d seconds, %v requests", trace.Len(), n)
		}
	})
}

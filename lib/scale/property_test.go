package scale

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// numbers are those that samples really have, and those that break things.
func numbers() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64Range(0, 500), rapid.Float64(), rapid.SampledFrom([]float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 1e-300}))
}

func policies(t *rapid.T) Policy {
	p := Policy{
		Strategy: rapid.SampledFrom([]Strategy{Noop, BusyRatio, RPSRatio, Queue, "?"}).Draw(t, "strategy"),
		Min:      rapid.IntRange(-5, 300).Draw(t, "min"), Max: rapid.IntRange(-5, 300).Draw(t, "max"),
		Zero: rapid.Bool().Draw(t, "zero"), StartUp: time.Duration(rapid.IntRange(-1, 300).Draw(t, "start-up")) * time.Second,
		Down:    Down{After: time.Duration(rapid.IntRange(-5, 9000).Draw(t, "after")) * time.Second, Step: rapid.Float64Range(-1, 2).Draw(t, "step")},
		OnBlind: rapid.SampledFrom([]OnBlind{BlindHold, BlindForecast, BlindMax, ""}).Draw(t, "blind"), Seasonal: rapid.Bool().Draw(t, "seasonal"),
		Survive: rapid.SampledFrom([]string{"none", "node", "zone"}).Draw(t, "survive"), Tick: 5 * time.Second,
	}
	if rapid.Bool().Draw(t, "by target") {
		p.Target = rapid.Float64Range(-1, 2).Draw(t, "target")
	} else {
		p.Wait, p.WaitOver = rapid.Float64Range(-1, 2).Draw(t, "wait"), time.Duration(rapid.IntRange(-1, 500).Draw(t, "over"))*time.Millisecond
	}
	return p
}

func inputs(t *rapid.T, at int64, size int) Input {
	n := numbers()
	d := func(name string) float64 { return n.Draw(t, name) }
	in := Input{
		At: at, Size: size, Ready: rapid.IntRange(-1, 400).Draw(t, "ready"), Starting: rapid.IntRange(-1, 50).Draw(t, "starting"),
		Nodes: rapid.IntRange(-1, 40).Draw(t, "nodes"), Zones: rapid.IntRange(-1, 4).Draw(t, "zones"), Capacity: rapid.IntRange(-1, 400).Draw(t, "capacity"),
		Expected: Expected{Now: d("now"), Soon: d("soon"), Spread: d("spread")},
	}
	for range rapid.IntRange(0, 3).Draw(t, "signals") {
		s := Signal{Name: rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "name"), At: at - int64(rapid.IntRange(-20, 40).Draw(t, "age")), Coverage: rapid.SampledFrom([]float64{1, 1, 0.5, 0, math.NaN()}).Draw(t, "coverage")}
		if rapid.Bool().Draw(t, "web") {
			s.Load = &Load{d("r1"), d("r10"), d("r60"), d("d10"), d("d60"), d("b"), d("b10"), d("b60"), d("w"), d("s"), d("cv2")}
		} else {
			s.Backlog = &Backlog{d("ready"), d("unacked"), d("i10"), d("i60"), d("o10"), d("o60"), d("s")}
		}
		in.Signals = append(in.Signals, s)
	}
	if rapid.Bool().Draw(t, "announced") {
		in.Announced = []Announcement{{RPS: d("rps"), Factor: d("factor"), Base: d("base"), From: at - 10, Until: at + 10}}
	}
	in.Freeze.Mode = rapid.SampledFrom([]FreezeMode{NotFrozen, NotFrozen, NoDown, NoChange, Observe}).Draw(t, "freeze")
	return in
}

// bounds are the smallest and the largest size that a policy allows.
func bounds(p Policy) (low, high int) {
	low = max(p.Min, 0)
	if low == 0 && !p.Zero {
		low = 1
	}
	high = MaxSize
	if p.Max > 0 {
		high = p.Max
	}
	if p.Strategy == Noop {
		return low, low
	}
	return low, max(low, high)
}

func TestNoInputLeadsOutOfBoundsOrToAPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies(t)
		low, high := bounds(p)
		at, size, s := int64(noon), rapid.IntRange(-10, 500).Draw(t, "size"), State{}
		for range rapid.IntRange(1, 12).Draw(t, "ticks") {
			at += int64(rapid.SampledFrom([]int{5, 5, 5, 0, 60, -30, 5000}).Draw(t, "pass"))
			in := inputs(t, at, size)
			d, next := Decide(p, s, in)
			frozen := p.Strategy == Noop && in.Freeze.Mode != NotFrozen && in.Freeze.Mode != Observe
			if (d.Size < low || d.Size > high) && !frozen {
				t.Fatalf("size %d, bounds %d to %d: %s", d.Size, low, high, d.Words())
			}
			if again, state := Decide(p, s, in); !reflect.DeepEqual(again, d) || !reflect.DeepEqual(state, next) {
				t.Fatalf("decided twice: %+v and %+v", d, again)
			}
			size, s = d.Size, next
		}
	})
}

func TestWhatIsMissingNeverLowers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies(t)
		p.Signals = []string{"needed"}
		if p.Strategy == Noop {
			p.Strategy = BusyRatio
		}
		_, high := bounds(p)
		at, size, s := int64(noon), rapid.IntRange(0, 200).Draw(t, "size"), State{}
		for range 20 {
			at += 5
			in := inputs(t, at, size)
			in.Capacity = 0
			d, next := Decide(p, s, in)
			if d.Size < min(size, high) {
				t.Fatalf("%d became %d: %s", size, d.Size, d.Words())
			}
			size, s = d.Size, next
		}
	})
}

func TestMoreDemandNeverGetsFewerWorkers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy()
		p.Survive = rapid.SampledFrom([]string{"none", "node"}).Draw(t, "survive")
		if rapid.Bool().Draw(t, "by ratio") {
			p.Target, p.Wait, p.WaitOver = 0.6, 0, 0
		}
		p.Max = 0
		base := rapid.Float64Range(0.2, 100).Draw(t, "demand")
		more := base * rapid.Float64Range(1, 15).Draw(t, "factor")
		before := State{}
		in := func(at int64, size int, rate float64) Input {
			l := &Load{Rate10: rate, Rate60: rate, Done10: rate, Done60: rate, Busy: rate / 5, Busy10: rate / 5, Busy60: rate / 5}
			return Input{At: at, Size: size, Ready: size, Nodes: 4, Signals: []Signal{{Name: "r", At: at, Coverage: 1, Load: l}}}
		}
		size := 1
		for at := int64(noon); at < noon+100; at += 5 {
			d, next := Decide(p, before, in(at, size, base*5))
			size, before = d.Size, next
		}
		a, _ := Decide(p, before, in(noon+100, size, base*5))
		b, _ := Decide(p, before, in(noon+100, size, more*5))
		if b.Wish < a.Wish || b.Size < a.Size {
			t.Fatalf("%.2f Erlangs: %s\n%.2f Erlangs: %s", base, a.Words(), more, b.Words())
		}
	})
}

func TestADecisionReplaysFromItsJournalLine(t *testing.T) {
	s := start(t, policy(), 20)
	for i := range 200 {
		s.demand = 20 + 15*math.Sin(float64(i)/20)
		state, in := s.s, Input{}
		s.edit = func(now *Input) { in = *now }
		d := s.tick()
		text, err := json.Marshal(Line{s.p, state, in, d})
		if err != nil {
			t.Fatal(err)
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
		again, next := Decide(line.Policy, line.State, line.Input)
		if !reflect.DeepEqual(again, line.Decision) || !reflect.DeepEqual(copyOf(t, next), copyOf(t, s.s)) {
			t.Fatalf("tick %d: %s\nnow %s", i, d.Words(), again.Words())
		}
	}
}

func FuzzDecide(f *testing.F) {
	s := &service{t: &testing.T{}, p: policy(), demand: 20, time: 0.2, in: Input{At: noon, Size: 30}}
	d := s.run(time.Minute)
	text, err := json.Marshal(Line{s.p, s.s, s.in, d})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"policy":{"strategy":"queue","max":9},"input":{"at":1,"signals":[{"name":"q","at":1,"coverage":1,"backlog":{"ready":1e308}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var line Line
		if json.Unmarshal(text, &line) != nil || line.Policy.Hand != nil || len(line.Policy.Schedules) > 0 || line.Input.Freeze.Mode != NotFrozen {
			return
		}
		low, high := bounds(line.Policy)
		d, _ := Decide(line.Policy, line.State, line.Input)
		if low <= MaxSize && (d.Size < min(low, MaxSize) || d.Size > max(low, min(high, MaxSize))) {
			t.Fatalf("size %d, bounds %d to %d", d.Size, low, high)
		}
		_ = d.Words()
	})
}

func BenchmarkDecide(b *testing.B) {
	s := &service{t: &testing.T{}, p: policy(), demand: 40, time: 0.2, in: Input{At: noon, Size: 50}}
	s.run(10 * time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		Decide(s.p, s.s, s.in)
	}
}

func BenchmarkPassOver10000Services(b *testing.B) {
	s := &service{t: &testing.T{}, p: policy(), demand: 40, time: 0.2, in: Input{At: noon, Size: 50}}
	s.run(10 * time.Minute)
	all := make([]Candidate, 10_000)
	for i := range all {
		all[i] = Candidate{Name: time.Duration(i).String(), Policy: s.p, State: s.s, Input: s.in}
	}
	b.ReportAllocs()
	for b.Loop() {
		Pass(PassState{}, noon, all, nil)
	}
}

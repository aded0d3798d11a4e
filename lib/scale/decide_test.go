package scale

import (
	"math"
	"testing"
	"time"
)

func TestDemandThatGrowsIsFollowedAtOnceAndInOneStep(t *testing.T) {
	s := start(t, policy(), 10)
	s.size(14, 16, "steady at 10 Erlangs")
	s.demand = 60
	s.tick()
	s.size(66, 150, "after one tick at 60")
	if s.last.Reason != Raise {
		t.Errorf("reason %s", s.last.Reason)
	}
}

func TestDemandThatFallsIsFollowedAfterTheHoldAndAtTheRate(t *testing.T) {
	s := start(t, policy(), 60)
	before := s.in.Size
	s.demand = 40
	s.run(4 * time.Minute)
	s.size(before, before, "within the hold")
	if s.last.Reason != Hold || s.last.HoldUntil <= s.in.At || s.last.HoldUntil > s.in.At+180 {
		t.Errorf("%s until %d, now %d", s.last.Reason, s.last.HoldUntil, s.in.At)
	}
	s.run(2*time.Minute + 30*time.Second)
	s.size(before-before/10*2, before-1, "shortly after the hold")
	size := s.in.Size
	s.run(time.Minute)
	s.size(size-size/10-1, size, "a minute later: a tenth at most")
	s.run(10 * time.Minute)
	s.size(StaffWait(40, 0.03, 0.1, 0.2, 1), StaffWait(40, 0.03, 0.1, 0.2, 1)+5, "in the end")
}

func TestSmallDifferencesAreLeftAlone(t *testing.T) {
	s := start(t, policy(), 60)
	size, changes := s.in.Size, 0
	for i := range 720 {
		s.demand = 60 + 0.9*math.Sin(float64(i)/7)
		if before := s.in.Size; s.tick().Size != before {
			changes++
		}
	}
	if changes > 2 {
		t.Errorf("%d changes in an hour from %d", changes, size)
	}
}

func TestDemandDoesNotSaturateWithTheWorkers(t *testing.T) {
	s := start(t, policy(), 10)
	s.demand = 100
	s.edit = func(in *Input) { // all workers are busy: the ratio says 1 and nothing more
		in.Signals[0].Load.Busy, in.Signals[0].Load.Busy10 = 15, 15
		in.Signals[0].Load.Done10 = 75
	}
	s.tick()
	s.size(100, 300, "at 100 Erlangs on 15 workers")
}

func TestAMissingSignalNeverLowers(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*Input)
	}{
		{"an error", blind},
		{"no signal at all", func(in *Input) { in.Signals = nil }},
		{"too old", func(in *Input) { in.Signals[0].At -= 60 }},
		{"from the future", func(in *Input) { in.Signals[0].At += 3600 }},
		{"half of the nodes are silent", func(in *Input) { in.Signals[0].Coverage = 0.5 }},
		{"not a number", func(in *Input) { in.Signals[0].Load.Rate60 = math.NaN() }},
		{"without end", func(in *Input) { in.Signals[0].Load.Busy = math.Inf(1) }},
		{"negative", func(in *Input) { in.Signals[0].Load.Waiting = -1 }},
		{"empty", func(in *Input) { in.Signals[0].Load = nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, policy(), 40)
			before := s.in.Size
			s.demand = 5
			s.edit = row.edit
			s.run(30 * time.Minute)
			if s.in.Size < before {
				t.Errorf("%d became %d: %s", before, s.in.Size, s.last.Words())
			}
			if s.last.Reason != Blind || s.last.Blind < 25*60 || !s.alarm(AlarmBlind) {
				t.Errorf("%s for %d s, alarms %v", s.last.Reason, s.last.Blind, s.last.Alarms)
			}
		})
	}
}

func TestWhatIsDoneWithoutMetricsIsThePolicys(t *testing.T) {
	for how, want := range map[OnBlind][2]int{BlindHold: {25, 27}, BlindForecast: {29, 34}, BlindMax: {500, 500}} {
		p := policy()
		p.OnBlind = how
		s := start(t, p, 15)
		for range 120 { // grows by half in ten minutes
			s.demand += 0.05
			s.tick()
		}
		s.edit = blind
		s.run(5 * time.Minute)
		s.size(want[0], want[1], string(how))
	}
}

func TestAnyFreshSignalRaisesAndLoweringNeedsThemAll(t *testing.T) {
	p := policy()
	p.Signals = []string{"requests", "mail"}
	second := func(backlog float64, fail string) func(*Input) {
		return func(in *Input) {
			in.Signals = append(in.Signals, Signal{Name: "mail", At: in.At, Coverage: 1, Error: fail, Backlog: &Backlog{Ready: backlog, In60: 5, In10: 5, Out60: 5, Out10: 5, Service: 1}})
		}
	}
	s := start(t, p, 20)
	s.edit = second(0, "")
	s.run(10 * time.Minute)
	before := s.in.Size
	s.edit = second(90*60, "")
	s.tick()
	s.size(60, 80, "a backlog of 90 minutes' work")
	s.edit = second(0, "timeout")
	s.demand = 5
	high := s.in.Size
	s.run(40 * time.Minute)
	s.size(high, high, "with the second signal missing")
	s.demand = 100
	s.tick()
	s.size(101, 250, "the first one may still raise")
	s.edit = second(0, "")
	s.demand = 20
	s.run(2 * time.Hour)
	s.size(before-3, before+3, "with both")
}

func TestAnAbsurdJumpNeedsASecondSample(t *testing.T) {
	s := start(t, policy(), 2)
	before := s.in.Size
	s.demand = 300
	d := s.tick()
	if d.Size >= 200 || d.Size <= before {
		t.Errorf("after one sample: %d from %d", d.Size, before)
	}
	if d.Proposals[0].Why != WhyDoubt {
		t.Errorf("because of %s", d.Proposals[0].Why)
	}
	s.tick()
	s.size(300, 500, "after the second one")

	s = start(t, policy(), 2)
	s.demand = 300
	s.tick()
	s.demand = 2
	s.tick()
	if s.s.Signals[0].Doubt != 0 {
		t.Errorf("a doubt is left: %+v", s.s.Signals[0])
	}
}

func TestBoundsAreKeptBeforeAnySignalIsRead(t *testing.T) {
	p := policy()
	p.Min, p.Max = 10, 20
	for size, want := range map[int]int{0: 10, 3: 10, 15: 15, 90: 20, -7: 10} {
		d, _ := Decide(p, State{}, Input{At: noon, Size: size})
		if d.Size != want {
			t.Errorf("%d became %d, expected %d", size, d.Size, want)
		}
	}
	s := start(t, p, 10)
	s.demand = 80
	s.run(3 * time.Minute)
	s.size(20, 20, "at its maximum")
	if !s.alarm(AlarmMax) {
		t.Errorf("alarms %v", s.last.Alarms)
	}
}

func TestAnOperatorsWordGoesBeforeTheSpec(t *testing.T) {
	nine, thirty := 9, 30
	s := start(t, policy(), 15)
	s.p.Hand = &Hand{Size: &nine, Until: s.in.At + 600, Who: "ann", Why: "test"}
	s.tick()
	s.size(9, 9, "exactly")
	s.run(10 * time.Minute)
	s.size(15, 30, "after its end")
	s.p.Hand = &Hand{Min: &thirty}
	s.tick()
	s.size(30, 30, "at least")
}

func TestNoopIsItsMinimum(t *testing.T) {
	p := policy()
	p.Strategy, p.Min = Noop, 7
	d, _ := Decide(p, State{}, Input{At: noon, Size: 3})
	if d.Size != 7 || d.Reason != Fixed {
		t.Errorf("%d, %s", d.Size, d.Reason)
	}
}

func TestFreezesForbidWhatTheySay(t *testing.T) {
	for _, row := range []struct {
		mode     FreezeMode
		up, down bool
	}{{NoDown, true, false}, {NoChange, false, false}, {NotFrozen, true, true}} {
		s := start(t, policy(), 20)
		before := s.in.Size
		s.edit = func(in *Input) { in.Freeze = Freeze{Mode: row.mode} }
		s.demand = 10
		s.run(time.Hour)
		if down := s.in.Size < before; down != row.down {
			t.Errorf("%q: from %d to %d", row.mode, before, s.in.Size)
		}
		before = s.in.Size
		s.demand = 60
		s.run(time.Minute)
		if up := s.in.Size > before; up != row.up {
			t.Errorf("%q: from %d to %d", row.mode, before, s.in.Size)
		}
	}
	s := start(t, policy(), 20)
	s.edit = func(in *Input) { in.Freeze = Freeze{Mode: Observe} }
	s.demand = 60
	if d := s.tick(); d.Act || d.Size < 60 {
		t.Errorf("observe: act %v, size %d", d.Act, d.Size)
	}
	s.edit = func(in *Input) { in.Freeze = Freeze{Mode: NoChange, Until: in.At - 1} }
	if d := s.tick(); !d.Act {
		t.Error("a freeze that ended still counts")
	}
}

func TestNothingIsLoweredWhileWorkersAreInMotion(t *testing.T) {
	for name, edit := range map[string]func(*Input){
		"a deploy":        func(in *Input) { in.Settling = "deploy of 3f2c" },
		"starting worker": func(in *Input) { in.Starting = 1 },
	} {
		s := start(t, policy(), 40)
		before := s.in.Size
		s.demand, s.edit = 25, edit
		s.run(40 * time.Minute)
		s.size(before, before, name)
		if s.last.Reason != Settling {
			t.Errorf("%s: %s", name, s.last.Words())
		}
	}
}

func TestTheFirstMinuteOfALeaderOnlyRaises(t *testing.T) {
	p := policy()
	p.Down = Down{}
	s := &service{t: t, p: p, demand: 5, time: 0.2, in: Input{At: noon, Size: 50}}
	s.run(55 * time.Second)
	s.size(50, 50, "in its first minute")
	s.run(30 * time.Minute)
	s.size(5, 12, "later")
}

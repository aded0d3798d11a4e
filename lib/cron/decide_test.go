package cron

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"svckit/lib/spec"
)

const fields = "*/10 * * * *"

// noon is a tick of fields.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func input(t testing.TB, now time.Duration, s State) Input {
	s.Schedule = "UTC " + fields
	if s.Since.IsZero() {
		s.Since = noon.Add(-time.Minute)
	}
	return Input{
		Now: noon.Add(now), Schedule: schedule(t, fields, "UTC"), Fields: "UTC " + fields, Promoted: noon.Add(-time.Hour), Node: "n1", State: s,
		Rules: spec.CronRules{Missed: "once", Within: time.Hour, Busy: "skip", Timeout: time.Hour},
	}
}

func going(stage Stage, claimed time.Duration) *Run {
	return &Run{ID: "r", Tick: noon.Add(-10 * time.Minute), Node: "n2", Stage: stage, Claimed: noon.Add(claimed), Began: noon.Add(claimed), Tries: 1}
}

func TestWhatIsDoneAboutATick(t *testing.T) {
	settled := State{}.settle(noon)
	running := State{Run: going(Running, -10*time.Minute)}.settle(noon.Add(-10 * time.Minute))
	claimed := State{Run: going(Claimed, -time.Minute)}.settle(noon.Add(-10 * time.Minute))
	for _, row := range []struct {
		name   string
		in     Input
		change func(*Input)
		do     Do
		tick   time.Duration // after noon, where something is done
		missed int
		again  time.Duration // Wait: from noon
	}{
		{"before its time", input(t, -30*time.Second, State{}), nil, Wait, 0, 0, 0},
		{"at its time", input(t, 0, State{}), nil, Start, 0, 0, 0},
		{"had its turn", input(t, time.Second, settled), nil, Wait, 0, 0, 10 * time.Minute},
		{"late, and missed ticks are started", input(t, 5*time.Minute, State{}), nil, Start, 0, 0, 0},
		{"several missed are one", input(t, 25*time.Minute, State{}), nil, Start, 20 * time.Minute, 2, 0},
		{"late, and missed ticks are skipped", input(t, 5*time.Minute, State{}), func(in *Input) { in.Rules.Missed = "skip" }, Miss, 0, 0, 0},
		{"a little late is in time", input(t, time.Minute, State{}), func(in *Input) { in.Rules.Missed = "skip" }, Start, 0, 0, 0},
		{"too late even for once", input(t, 9*time.Minute, State{}), func(in *Input) { in.Rules.Within = 5 * time.Minute }, Miss, 0, 0, 0},
		{"a freeze holds it", input(t, 0, State{}), func(in *Input) { in.Frozen = "frozen" }, Wait, 0, 0, LookFrozen},
		{"before the release was promoted", input(t, time.Second, State{Since: noon}), nil, Wait, 0, 0, 10 * time.Minute},
		{"a run goes on: skip", input(t, 0, running), func(in *Input) { in.Held = true }, Skip, 0, 0, 0},
		{"a run goes on: wait", input(t, 0, running), func(in *Input) { in.Held = true; in.Rules.Busy = "wait" }, Wait, 0, 0, LookEach},
		{"a run goes on: kill", input(t, 0, running), func(in *Input) { in.Held = true; in.Rules.Busy = "kill" }, Ask, 0, 0, 0},
		{"it was asked to end already", input(t, 0, running), func(in *Input) { in.Held = true; in.Rules.Busy = "kill"; in.State = in.State.Ask("now") }, Wait, 0, 0, LookEach},
		{"its lock is free for a moment", input(t, 0, running), func(in *Input) { in.Free = LostAfter - time.Second }, Wait, 0, 0, LookEach / 2},
		{"its lock is free for long", input(t, 0, running), func(in *Input) { in.Free = LostAfter }, Lose, 0, 0, 0},
		{"nobody began it", input(t, -5*time.Minute, claimed), func(in *Input) { in.Free = HandBack }, TakeOver, -10 * time.Minute, 0, 0},
		{"it was given back just now", input(t, -5*time.Minute, claimed), nil, Wait, 0, 0, -5*time.Minute + HandBack},
		{"this node could not begin it", input(t, -55*time.Second, claimed), func(in *Input) { in.Free = HandBack; in.Node = "n2" }, Wait, 0, 0, -time.Minute + SameAgain},
		{"this node tries again later", input(t, -20*time.Second, claimed), func(in *Input) { in.Free = HandBack; in.Node = "n2" }, TakeOver, -10 * time.Minute, 0, 0},
		{"nobody can begin it", input(t, -5*time.Minute, claimed), func(in *Input) { in.Free = HandBack; in.State.Run.Tries = MaxTries }, GiveUp, 0, 0, 0},
		{"who began it by hand is gone", input(t, -5*time.Minute, claimed), func(in *Input) { in.Free = HandBack; in.State.Run.Tick = time.Time{} }, GiveUp, 0, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := row.in
			if in.State.Run != nil {
				r := *in.State.Run
				in.State.Run = &r
			}
			if row.change != nil {
				row.change(&in)
			}
			d := Decide(in)
			if d.Do != row.do || d.Reason == "" {
				t.Fatalf("got %s: %s, want %s", d.Do, d.Reason, row.do)
			}
			switch d.Do {
			case Wait:
				if !d.Again.Equal(noon.Add(row.again)) {
					t.Errorf("again at %s", d.Again)
				}
			case Lose, GiveUp:
			default:
				if !d.Tick.Equal(noon.Add(row.tick)) || d.Missed != row.missed {
					t.Errorf("the tick of %s, %d missed", d.Tick, d.Missed)
				}
			}
		})
	}
}

func TestATickThatWaitedIsStartedHoweverLongItWaited(t *testing.T) {
	last := Run{ID: "r", Tick: noon.Add(-10 * time.Minute), Claimed: noon.Add(-10 * time.Minute), Began: noon.Add(-10 * time.Minute), Ended: noon.Add(9 * time.Minute)}
	in := input(t, 9*time.Minute, State{Last: &last}.settle(last.Tick))
	in.Rules.Busy, in.Rules.Missed = "wait", "skip"
	if d := Decide(in); d.Do != Start || !d.Tick.Equal(noon) {
		t.Errorf("got %+v", d)
	}
	in.Rules.Busy = "skip"
	if d := Decide(in); d.Do != Miss {
		t.Errorf("got %+v", d)
	}
}

func TestAnotherScheduleBeginsWhenItsReleaseIsPromoted(t *testing.T) {
	in := input(t, time.Minute, State{}.settle(noon.Add(-10*time.Minute)))
	in.Fields, in.Schedule = "UTC * * * * *", schedule(t, "* * * * *", "UTC")
	in.Promoted = noon.Add(30 * time.Second)
	if d := Decide(in); d.Do != Start || !d.Tick.Equal(noon.Add(time.Minute)) || d.Missed != 0 {
		t.Errorf("got %+v", d)
	}
}

// A clock that is ahead settles ticks of tomorrow; today's have their turn all the same,
// and tomorrow's do not have another.
func TestAClockThatIsAheadSwallowsNoTicks(t *testing.T) {
	s := State{Schedule: "UTC " + fields, Since: noon.Add(-time.Minute)}
	for k := range 3 {
		s = s.settle(noon.Add(24*time.Hour + time.Duration(k)*10*time.Minute))
	}
	in := input(t, 0, s)
	if d := Decide(in); d.Do != Start || !d.Tick.Equal(noon) {
		t.Errorf("today: %+v", d)
	}
	in.Now = noon.Add(24*time.Hour + 20*time.Minute)
	if d := Decide(in); d.Do != Wait {
		t.Errorf("tomorrow: %+v", d)
	}
}

func TestWhatWasSettledStaysSettled(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := State{Since: noon}
		var done []time.Time
		for range rapid.IntRange(1, 3*keepTicks).Draw(r, "ticks") {
			at := noon.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(r, "at")) * time.Minute)
			s = s.settle(at)
			done = append(done, at)
		}
		if len(s.Ticks) > keepTicks || !slices.IsSorted(s.Ticks) {
			r.Fatalf("ticks %v", s.Ticks)
		}
		for _, at := range done {
			if !s.settled(at) {
				r.Fatalf("%s is not settled any more in %+v", at, s)
			}
		}
	})
}

func TestNodesTryAtDifferentMomentsAndNotAlwaysInTheSameOrder(t *testing.T) {
	first := map[string]int{}
	for k := range 300 {
		tick, best, who := noon.Add(time.Duration(k)*time.Minute), Spread, ""
		for _, n := range []string{"n1", "n2", "n3"} {
			d := Delay("shop/nightly", n, tick)
			if d < 0 || d >= Spread || d != Delay("shop/nightly", n, tick) {
				t.Fatalf("%s waits %s", n, d)
			}
			if d < best {
				best, who = d, n
			}
		}
		first[who]++
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		if first[n] < 60 {
			t.Errorf("%s comes first %d times of 300: %v", n, first[n], first)
		}
	}
}

package deploy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"svckit/lib/fault"
)

// play is a fleet that a deploy is played on, in memory.
type play struct {
	t      *testing.T
	s      State
	now    time.Time
	runs   map[string]string // node → release
	bad    map[string]bool   // nodes on which r2 does not pass
	mute   map[string]bool   // nodes that nobody reaches
	locked map[string]bool   // nodes on which nothing can be changed back
	said   []string
}

func newPlay(t *testing.T, w Wanted) *play {
	p := &play{t: t, now: noon, runs: map[string]string{}, bad: map[string]bool{}, mute: map[string]bool{}, locked: map[string]bool{}}
	p.s, _ = Plan(w, p.now)
	for n := range w.Nodes {
		p.runs[n] = "r1"
	}
	return p
}

// step calls a node, as a playbook does; cut ends the node's program between its beginning and its report.
func (p *play) step(node string, cut bool) {
	do, _ := Turn(p.s, node)
	if do == Nothing || p.mute[node] {
		return
	}
	p.now = p.now.Add(time.Second)
	p.s = Start(p.s, node, do, nil, p.now)
	var why *Failure
	switch {
	case do == DoUp && p.bad[node]:
		p.runs[node] = "r2" // a smoke test fails of what is in service
		why = &Failure{Service: "web", Check: Smoke, Output: "HTTP 500"}
	case do == DoUp:
		p.runs[node] = "r2"
	case do == DoReturn && p.locked[node]:
		why = &Failure{Check: "unreachable", Output: "no Docker"}
	case do == DoReturn:
		p.runs[node] = "r1"
	}
	p.said = append(p.said, fmt.Sprintf("%s %s", do, node))
	if !cut {
		var ok bool
		if p.s, ok = Note(p.s, node, do, why, p.now); !ok {
			p.t.Fatalf("the report of %s is not taken", node)
		}
	}
}

// round calls every node and closes what is done.
func (p *play) round() {
	p.t.Helper()
	for _, node := range p.s.Members() {
		p.step(node, false)
	}
	next, lacking, hold := Advance(p.s, nil, true, p.now)
	if len(lacking) > 0 || hold != "" {
		p.t.Fatalf("lacking %v, hold %q", lacking, hold)
	}
	p.s = next
}

// rounds plays until the deploy has ended or is ready, within the rounds that it announced.
func (p *play) rounds() {
	p.t.Helper()
	for n := p.s.Rounds(); n > 0 && p.s.Phase != Ready && p.s.Active(); n-- {
		p.round()
	}
	if p.s.Phase == Ready {
		var err error
		if p.s, err = Finish(p.s, p.now); err != nil {
			p.t.Fatal(err)
		}
	}
	if p.s.Active() {
		p.t.Fatalf("not ended: %s", p.s.Words())
	}
}

func TestADeployPullsEverywhereThenGoesBatchByBatch(t *testing.T) {
	p := newPlay(t, wanted("batch=50%", numbered(4, "")...))
	p.rounds()
	want := "pull n1, pull n2, pull n3, pull n4, up n1, up n2, up n3, up n4"
	if got := strings.Join(p.said, ", "); got != want || p.s.Result != Stable {
		t.Errorf("%s: %s", p.s.Result, got)
	}
}

func TestAFailureInTheSecondBatchBringsBackWhatWasChangedAndNothingElse(t *testing.T) {
	p := newPlay(t, wanted("batch=50%", numbered(4, "")...))
	p.bad["n3"] = true
	p.rounds()
	want := "pull n1, pull n2, pull n3, pull n4, up n1, up n2, up n3, return n3, return n1, return n2"
	if got := strings.Join(p.said, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p.s.Result != Failed || p.s.Failure.Words() != "smoke of web on n3: HTTP 500" || !p.s.Failure.OfRelease() || p.runs["n1"] != "r1" || p.runs["n3"] != "r1" {
		t.Errorf("%s, %+v, %v", p.s.Result, p.s.Failure, p.runs)
	}
}

func TestANodeThatCannotPullEndsADeployBeforeAnythingWasChanged(t *testing.T) {
	p := newPlay(t, wanted("", numbered(2, "")...))
	p.mute["n2"] = true
	p.rounds()
	if got := strings.Join(p.said, ", "); got != "pull n1" || p.s.Result != Failed || p.s.Failure.OfRelease() {
		t.Errorf("%s: %s, %+v", got, p.s.Result, p.s.Failure)
	}
}

func TestAWayBackIsNotBegunAgainWhereItFails(t *testing.T) {
	p := newPlay(t, wanted("batch=1", numbered(3, "")...))
	p.bad["n2"], p.locked["n1"] = true, true
	p.rounds()
	if got := strings.Count(strings.Join(p.said, ","), "return n1"); got != 1 || !slices.Equal(p.s.Stuck(), []string{"n1"}) || p.s.Result != Failed {
		t.Errorf("%d tries, stuck %v, %s", got, p.s.Stuck(), p.s.Result)
	}
}

func TestNodesThatHaveNotReportedAreWaitedForUntilTheRoundIsOver(t *testing.T) {
	p := newPlay(t, wanted("", numbered(2, "")...))
	p.step("n1", false)
	next, lacking, _ := Advance(p.s, nil, false, p.now)
	if next.Phase != Pull || !slices.Equal(lacking, []string{"n2"}) {
		t.Errorf("%s, lacking %v", next.Phase, lacking)
	}
	p.step("n2", true) // began, and died
	next, _, _ = Advance(p.s, nil, true, p.now)
	if next.Result != Failed || next.Failure.Words() != "report on n2: the node began and did not say how it ended" {
		t.Errorf("%s, %+v", next.Result, next.Failure)
	}
}

func TestALateReportIsForNobody(t *testing.T) {
	p := newPlay(t, wanted("", numbered(2, "")...))
	p.round()
	do, _ := Turn(p.s, "n1")
	began := Start(p.s, "n1", do, nil, p.now)
	over, _, _ := Advance(began, nil, true, p.now) // given up
	if next, ok := Note(over, "n1", do, nil, p.now); ok || next.Nodes["n1"].Is != Broken {
		t.Errorf("taken: %+v", next.Nodes["n1"])
	}
}

func TestABatchThatStopsFirstWaitsForTheRest(t *testing.T) {
	p := newPlay(t, wanted("batch=2 canary=0 tight=web floor=50%", numbered(4, "")...))
	for _, n := range p.s.Members() {
		p.step(n, false)
	}
	_, _, hold := Advance(p.s, Passing{"web": {"n1", "n2", "n3"}}, true, p.now)
	if hold != "web passes on 1 nodes beside n1, n2, and 2 must" {
		t.Errorf("hold %q", hold)
	}
	for _, passing := range [][]string{{"n1", "n2", "n3", "n4"}, {"n3", "n4"}, {"n4"}, nil} { // the last ones: a first deploy
		next, _, hold := Advance(p.s, Passing{"web": passing}, true, p.now)
		if hold != "" || next.Phase != Forward {
			t.Errorf("passing on %q: hold %q in %s", passing, hold, next.Phase)
		}
	}
}

func TestAnotherRunIsRefusedAndADeadOneIsFinished(t *testing.T) {
	p := newPlay(t, wanted("batch=1", numbered(3, "")...))
	p.round()
	p.round() // n1 is done
	p.step("n2", true)
	again := wanted("batch=1", numbered(3, "")...)
	again.Run, again.Holder = "run2", "bob@desk"
	plan, _ := Plan(again, p.now)
	_, _, err := Begin(&p.s, plan, Claim{}, p.now.Add(10*time.Second))
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "ann@ci deploys r2 since 12:00:00 (batch 2 of 3: n2; last sign of life 10s ago)") {
		t.Errorf("%v", err)
	}
	old := p.s
	next, took, err := Begin(&p.s, plan, Claim{Watched: true}, p.now)
	if err != nil || took != "the deploy that ann@ci began" || next.Nodes["n1"].Is != Done || next.Nodes["n2"].Is != Pulled || !next.Nodes["n2"].Touched {
		t.Fatalf("%q, %v, %+v", took, err, next.Nodes)
	}
	if err := next.Belongs("run1"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the old run goes on: %v", err)
	}
	p.s, p.said = next, nil
	p.rounds()
	if got := strings.Join(p.said, ", "); got != "pull n3, up n2, up n3" && got != "up n2, up n3" || p.s.Result != Stable {
		t.Errorf("%s: %s", p.s.Result, got)
	}
	// The same in its way back.
	p.s, p.said = old, nil
	p.bad["n2"] = true
	p.round()
	if p.s.Phase != Back {
		t.Fatal(p.s.Words())
	}
	if p.s, took, err = Begin(&p.s, plan, Claim{TakeOver: true}, p.now); err != nil || took != "the way back that ann@ci began" {
		t.Fatalf("%q, %v", took, err)
	}
	p.rounds()
	if p.s.Result != Failed || p.runs["n1"] != "r1" || p.runs["n2"] != "r1" {
		t.Errorf("%s, %v", p.s.Result, p.runs)
	}
}

func TestAWayBackCoversWhatADeadRunOfAnotherReleaseChanged(t *testing.T) {
	p := newPlay(t, wanted("batch=1", numbered(3, "")...))
	p.round()
	p.round()
	other := wanted("batch=1", "n2", "n3")
	other.Run, other.Release, other.Image = "run2", "r3", image("3")
	plan, _ := Plan(other, p.now)
	next, took, err := Begin(&p.s, plan, Claim{TakeOver: true}, p.now)
	if err != nil || !strings.Contains(took, "the deploy of r2") || next.Nodes["n1"].Is != Waiting {
		t.Fatalf("%q, %v, %+v", took, err, next.Nodes)
	}
	p.s = next
	p.bad["n2"] = true
	p.rounds()
	if p.s.Result != Failed || p.runs["n1"] != "r1" || p.runs["n2"] != "r1" || p.runs["n3"] != "r1" {
		t.Errorf("%s, %v", p.s.Result, p.runs)
	}
}

func TestAnAbortGoesBack(t *testing.T) {
	p := newPlay(t, wanted("batch=1", numbered(3, "")...))
	p.round()
	p.round()
	var err error
	if p.s, _, err = Abort(p.s, "ann: wrong one", nil, p.now); err != nil || p.s.Phase != Back {
		t.Fatalf("%v in %s", err, p.s.Phase)
	}
	p.rounds()
	if p.s.Result != Failed || p.runs["n1"] != "r1" || p.s.Failure.OfRelease() {
		t.Errorf("%s, %v", p.s.Result, p.runs)
	}
	if _, _, err := Abort(p.s, "again", nil, p.now); fault.KindOf(err) != fault.Refused {
		t.Errorf("%v", err)
	}
}

// Whatever fails and whoever dies: a deploy ends; then every node runs the release and it is stable, or every node that can be
// reached runs what it ran before; no more nodes than a batch holds are changed at once, all of one zone.
func TestEveryDeployEndsWhole(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		count := 1 + r.IntN(9)
		how := fmt.Sprintf("batch=%d canary=%d", 1+r.IntN(4), r.IntN(3))
		p := newPlay(t, wanted(how, numbered(count, "a", "b", "c")...))
		for n := range p.runs {
			p.bad[n], p.mute[n] = r.IntN(12) == 0, r.IntN(20) == 0
		}
		run := 1
		for range 200 {
			if p.s.Phase == Ready {
				p.s, _ = Finish(p.s, p.now)
			}
			if !p.s.Active() {
				break
			}
			members := p.s.Members()
			open := p.s.open()
			if p.s.Phase != Pull && len(open) > p.s.Size {
				t.Fatalf("seed %d: %d nodes at once", seed, len(open))
			}
			for _, n := range open {
				if p.s.Phase != Pull && p.s.Nodes[n].Zone != p.s.Nodes[open[0]].Zone {
					t.Fatalf("seed %d: two zones at once: %v", seed, open)
				}
			}
			died := r.IntN(5) == 0
			for _, n := range members {
				p.step(n, died && r.IntN(3) == 0)
				if died && r.IntN(3) == 0 {
					break
				}
			}
			if died { // the next run takes over
				run++
				w := wanted(how, numbered(count, "a", "b", "c")...)
				w.Run = fmt.Sprint("run", run)
				plan, _ := Plan(w, p.now)
				var err error
				if p.s, _, err = Begin(&p.s, plan, Claim{Watched: true}, p.now); err != nil {
					t.Fatal(err)
				}
				continue
			}
			p.s, _, _ = Advance(p.s, nil, true, p.now)
		}
		for n, release := range p.runs {
			switch want := map[string]string{Stable: "r2", Failed: "r1"}[p.s.Result]; {
			case release != want && !slices.Contains(p.s.Stuck(), n):
				t.Fatalf("seed %d: %s, and %s runs %s\n%s", seed, p.s.Words(), n, release, strings.Join(p.said, "\n"))
			case p.s.Result == Stable && p.bad[n]:
				t.Fatalf("seed %d: stable, and bad on %s", seed, n)
			}
		}
	}
}

func TestOfALongOutputTheEndIsKept(t *testing.T) {
	got := bounded(Failure{Output: strings.Repeat("é", maxOutput) + "\nTypeError: the reason"}, "node1").Output
	if !strings.HasSuffix(got, "TypeError: the reason") || len(got) > maxOutput+len("…") || !utf8.ValidString(got) {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-30):])
	}
}

package lead

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/survey"
)

func (w *world) Learned(context.Context) ([]planner.Learned, map[string]string, error) {
	return slices.Collect(maps.Values(w.learnt)), w.badLearn, nil
}

func (w *world) SetLearned(_ context.Context, list []planner.Learned) (fleet.Written, error) {
	out := fleet.Written{Index: map[string]uint64{}}
	if w.lost {
		return out, errFenced
	}
	for _, x := range list {
		if err := x.Check(w.clock.Unix()); err != nil && !x.Gone {
			return out, err
		}
		if w.learnt[x.Name].Index != x.Index {
			out.Conflicts = append(out.Conflicts, x.Name)
			continue
		}
		if x.Gone {
			delete(w.learnt, x.Name)
			continue
		}
		w.index++
		x.Index = w.index
		w.learnt[x.Name], out.Index[x.Name] = x, w.index
		w.written++
	}
	return out, nil
}

// fedDays lets the planner of a world live through three days of a load that has one
// short peak each noon, with a look each five minutes.
func fedDays(t *testing.T, w *world) {
	t.Helper()
	end := w.clock.Add(3 * 24 * time.Hour)
	for w.clock.Before(end) {
		rate := 10.0
		if h := w.clock.UTC().Hour(); h == 12 {
			rate = 60
		}
		w.obey(rate, "a", "b")
		w.clock = w.clock.Add(295 * time.Second)
		w.cycle(t)
	}
}

func expected(c Cycle, name string) scale.Expected {
	for _, s := range c.Plan.Services {
		if s.Name == name {
			return s.Input.Expected
		}
	}
	return scale.Expected{}
}

func TestALeaderOnAnotherNodeKnowsTheDaysBefore(t *testing.T) {
	w := newWorld("a", "b")
	w.clock = time.Date(2026, 9, 21, 11, 58, 0, 0, time.UTC)
	w.services = []survey.Service{web("shop/web", nil)}
	fedDays(t, w)
	if most := 3*24*4 + 3; w.written > most || w.written < most-20 {
		t.Errorf("%d documents in three days, expected about %d", w.written, most)
	}
	known := expected(w.cycle(t), "shop/web")
	w.Planner = w.planner() // on a node that has no file of its own
	c := w.cycle(t)
	got := expected(c, "shop/web")
	if known.Soon < 1.5*known.Now || got.Days != known.Days || got.Soon < 0.9*known.Soon || got.Soon > 1.1*known.Soon {
		t.Errorf("the next leader expects %+v, the one before %+v", got, known)
	}
	w.Planner, w.learnt = w.planner(), map[string]planner.Learned{}
	if got := expected(w.cycle(t), "shop/web"); got.Soon != 0 {
		t.Errorf("without them it expects %+v", got)
	}
}

func TestDemandThatCannotBeReadIsNeitherUsedNorWrittenOver(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", nil), web("shop/api", nil)}
	w.badLearn = map[string]string{"svc/scale/demand/shop/api": "not a JSON document of svckit"}
	for range 250 {
		w.obey(10, "a", "b")
		w.cycle(t)
	}
	if _, ok := w.learnt["shop/api"]; ok || w.learnt["shop/web"].At == 0 {
		t.Errorf("written: %v", w.learnt)
	}
	c := w.cycle(t)
	if c.Bad["svc/scale/demand/shop/api"] == "" || len(c.Alarms) == 0 {
		t.Errorf("nobody is told: %v, %v", c.Bad, c.Alarms)
	}
}

func TestDemandThatSomebodyElseWroteIsReadAgain(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", nil)}
	w.obey(10, "a", "b")
	w.cycle(t)
	w.obey(10, "a", "b")
	w.cycle(t)
	other := w.learnt["shop/web"]
	w.index++
	other.Index = w.index
	w.learnt["shop/web"] = other
	for range 400 {
		w.obey(10, "a", "b")
		w.cycle(t)
	}
	if now := w.learnt["shop/web"]; now.At == other.At || now.Index == other.Index {
		t.Errorf("never written again: %d %d", now.At, now.Index)
	}
}

func TestWhatIsKnownOfServicesThatAreGoneIsTakenAwayInTheEnd(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", nil)}
	w.broken = map[string]string{"blog": "its current release cannot be read", "shop/api": "no such zone"}
	w.badLearn = map[string]string{"svc/scale/demand/shop/bad": "not a JSON document of svckit"}
	long, short := w.clock.Add(-15*24*time.Hour).Unix(), w.clock.Add(-13*24*time.Hour).Unix()
	for name, at := range map[string]int64{"shop/web": long, "shop/api": long, "shop/old": long, "shop/mail": short, "blog/web": long, "gone/web": long} {
		w.index++
		w.learnt[name] = planner.Learned{Name: name, At: at, Index: w.index}
	}
	left := func() []string { return slices.Sorted(maps.Keys(w.learnt)) }
	for end := w.clock.Add(50 * time.Minute); w.clock.Before(end); w.clock = w.clock.Add(time.Minute) {
		w.obey(10, "a", "b")
		w.cycle(t)
	}
	if len(left()) != 6 {
		t.Fatalf("within an hour there is left %v", left())
	}
	w.services = append(w.services, web("gone/web", nil)) // it comes back for a moment
	w.cycle(t)
	w.services = w.services[:1]
	for end := w.clock.Add(15 * time.Minute); w.clock.Before(end); w.clock = w.clock.Add(time.Minute) {
		w.cycle(t)
	}
	if got := left(); !slices.Equal(got, []string{"blog/web", "gone/web", "shop/api", "shop/mail", "shop/web"}) {
		t.Errorf("after an hour there is left %v", got)
	}
	services := w.services
	w.services = nil // nothing is known at all
	w.clock = w.clock.Add(3 * 24 * time.Hour)
	for range 3 {
		w.clock = w.clock.Add(time.Hour)
		w.cycle(t)
	}
	w.services = services
	w.index++
	again := w.learnt["gone/web"]
	again.Index, again.At = w.index, w.clock.Unix() // somebody has just written it
	w.learnt["gone/web"] = again
	for range 3 {
		w.clock = w.clock.Add(time.Hour)
		w.cycle(t)
	}
	if got := left(); !slices.Equal(got, []string{"blog/web", "gone/web", "shop/api", "shop/web"}) {
		t.Errorf("three days later there is left %v", got)
	}
}

func TestManyServicesHandOverFewerDays(t *testing.T) {
	for services, want := range map[int]int{1: 14, 500: 14, 2000: 9, 10_000: 3} {
		w := newWorld("a")
		w.Planner.handed = map[string]handed{}
		for k := range services {
			w.services = append(w.services, survey.Service{Name: fmt.Sprintf("app/s%d", k)})
		}
		l := w.of("app/s0")
		for day := range int64(20) {
			l.Learner.See(w.clock.Unix()-86400*(20-day), 5)
		}
		l.Learner.Settle(&l.History)
		l.fresh = true
		got := w.handOver(w.clock, w.services)
		if len(got) != 1 || len(got[0].Days) != want+1 {
			t.Errorf("%d services: %d documents of %d days", services, len(got), len(got[0].Days))
		}
	}
}

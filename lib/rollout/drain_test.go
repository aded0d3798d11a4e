package rollout_test

import (
	"slices"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// emptying is a node with two instances of a service that has two more on other nodes.
func emptying(change func(w *rollout.Wanted, seen *rollout.Seen)) (rollout.Wanted, rollout.Seen) {
	w := wanted(2)
	w.Reload = &rollout.Reload{Floor: -1, Hold: epoch.Add(time.Hour)}
	one, two := instance(w, "one", 1, nil), instance(w, "two", 2, nil)
	a, b := registered(w, one, fleet.Passing), registered(w, two, fleet.Passing)
	seen := rollout.Seen{
		Instances: []fleet.Instance{two, one}, Registrations: []fleet.Registration{a, b},
		Fleet: []fleet.Registration{a, b, {ID: "c", Health: fleet.Passing}, {ID: "d", Health: fleet.Passing}},
	}
	change(&w, &seen)
	return w, seen
}

func TestADrainTakesOneInstanceAfterTheOtherOut(t *testing.T) {
	all := []string{"spare one", "aside one", "drain one", "spare two", "aside two", "drain two"}
	for _, row := range []struct {
		name   string
		change func(w *rollout.Wanted, seen *rollout.Seen)
		want   []string
	}{
		{"both", func(*rollout.Wanted, *rollout.Seen) {}, all},
		{"without a floor", func(w *rollout.Wanted, _ *rollout.Seen) { w.Reload.Floor = 0 }, []string{"aside one", "drain one", "aside two", "drain two"}},
		{"one is out already", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations[0].Health = fleet.Maintenance }, all[3:]},
		{"one has no port", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations[1].Port = 0 }, all[:3]},
		{"one that fails is out too, so that it does not come back", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations[0].Health = fleet.Critical }, all},
		{"nothing is registered", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations = nil }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := emptying(row.change)
			p, err := rollout.Drain(w, seen, "new disk")
			if got := steps(p); err != nil || !slices.Equal(got, row.want) {
				t.Errorf("got %q, error %v, want %q", got, err, row.want)
			}
		})
	}
}

func TestADrainThatLeavesTooFewIsRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(w *rollout.Wanted, seen *rollout.Seen)
	}{
		{"nobody else has it", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Fleet = seen.Fleet[:2] }},
		{"another node is out, too", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Fleet[2].Health = fleet.Maintenance }},
		{"more are asked for", func(w *rollout.Wanted, _ *rollout.Seen) { w.Reload.Floor = 3 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := emptying(row.change)
			if p, err := rollout.Drain(w, seen, "new disk"); fault.KindOf(err) != fault.Refused || fault.HintOf(err) == "" || len(p.Steps) > 0 {
				t.Errorf("steps %v, error %v", p.Steps, err)
			}
		})
	}
}

func TestOnlyWhatADrainTookOutReturns(t *testing.T) {
	w, seen := emptying(func(w *rollout.Wanted, seen *rollout.Seen) {
		for k, reason := range []string{w.Reload.Reason(epoch, "new disk"), "by ann, do not touch"} {
			seen.Registrations[k].Health, seen.Registrations[k].Reason = fleet.Maintenance, reason
		}
	})
	p := rollout.Return(w, seen)
	if got, want := steps(p), []string{"gate one", "return one", "await one"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	drained := seen.Registrations[0]
	if end, ok := rollout.HeldUntil(drained); !ok || !end.Equal(w.Reload.Hold) {
		t.Errorf("held until %v, %t, want %v", end, ok, w.Reload.Hold)
	}
	// The next reload leaves it out: it is not one of its own that was cut off.
	if _, ok := rollout.AsideUntil(drained); ok {
		t.Error("a drain is taken for a reload")
	}
}

func TestUpBringsNothingInWhereADrainTookTheServiceOut(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(w *rollout.Wanted, seen *rollout.Seen)
		refused bool
	}{
		{"a new release", func(w *rollout.Wanted, _ *rollout.Seen) { w.Image = image("c") }, true},
		{"one more", func(w *rollout.Wanted, _ *rollout.Seen) { w.Count = 3; w.Names = append(w.Names, "third") }, true},
		{"nothing is new", func(*rollout.Wanted, *rollout.Seen) {}, false},
		{"fewer", func(w *rollout.Wanted, _ *rollout.Seen) { w.Count = 1 }, false},
		{"a caller that does not mind", func(w *rollout.Wanted, _ *rollout.Seen) { w.Image, w.HeedDrain = image("c"), false }, false},
		{"a maintenance of somebody else", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Image = image("c")
			for k := range seen.Registrations {
				seen.Registrations[k].Reason = "by ann"
			}
		}, false},
		{"another service is drained", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Image = image("c")
			for k := range seen.Registrations {
				seen.Registrations[k].Meta = map[string]string{fleet.MetaContainer: seen.Registrations[k].Meta[fleet.MetaContainer], fleet.MetaApp: w.App, fleet.MetaService: "other"}
			}
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := emptying(func(w *rollout.Wanted, seen *rollout.Seen) {
				w.HeedDrain = true
				for k := range seen.Registrations {
					seen.Registrations[k].Health, seen.Registrations[k].Reason = fleet.Maintenance, w.Reload.Reason(epoch, "new disk")
				}
				row.change(w, seen)
			})
			w.Reload = nil
			p, err := rollout.Up(w, nodeA, seen)
			if refused := fault.KindOf(err) == fault.Refused && fault.HintOf(err) != ""; refused != row.refused || !refused && err != nil {
				t.Errorf("steps %v, error %v, want a refusal: %t", p.Steps, err, row.refused)
			}
		})
	}
}

package rollout_test

import (
	"slices"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
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

func TestANewInstanceTakesADrainOver(t *testing.T) {
	const byAnn = "by ann"
	drain := (&rollout.Reload{Hold: epoch.Add(time.Hour)}).Reason(epoch, "new disk")
	fixed := func(w *rollout.Wanted) { w.Count, w.Service.Publish = 1, spec.Publish{Port: 8080} }
	for _, row := range []struct {
		name   string
		change func(w *rollout.Wanted, seen *rollout.Seen)
		want   []string
		held   int // of the awaits
	}{
		{"a new release", func(w *rollout.Wanted, _ *rollout.Seen) { w.Image = image("c") }, nil, 2},
		{"one more", func(w *rollout.Wanted, _ *rollout.Seen) { w.Count = 3; w.Names = append(w.Names, "third") }, nil, 1},
		{"one more while one of the others serves", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Count, w.Names = 3, append(w.Names, "third")
			seen.Registrations[1].Health, seen.Registrations[1].Reason = fleet.Passing, ""
		}, nil, 0},
		{"a new release while one of the others serves", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Image = image("c")
			seen.Registrations[1].Health, seen.Registrations[1].Reason = fleet.Passing, ""
		}, nil, 1},
		{"a registration that differs", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations[0].Tags = []string{"old"} }, []string{"register one", "await one"}, 1},
		{"one that is not registered", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Registrations = seen.Registrations[:1] }, []string{"gate two", "register two", "await two"}, 1},
		{"a fixed port: the old one keeps its registration until the new one has one", func(w *rollout.Wanted, seen *rollout.Seen) {
			fixed(w)
			w.Image = image("c")
			seen.Instances, seen.Registrations = seen.Instances[1:], seen.Registrations[:1]
		}, []string{"pull " + image("c"), "stop one", "create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "withdraw one", "remove one"}, 1},
		{"a fixed port, after a run that was cut off", func(w *rollout.Wanted, seen *rollout.Seen) {
			fixed(w)
			w.Image = image("c")
			seen.Instances, seen.Registrations = seen.Instances[1:], seen.Registrations[:1]
			seen.Instances[0].State = fleet.Exited
		}, nil, 1},
		{"nothing is new", func(*rollout.Wanted, *rollout.Seen) {}, []string{}, 0},
		{"a maintenance of somebody else", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Image = image("c")
			for k := range seen.Registrations {
				seen.Registrations[k].Reason = byAnn
			}
		}, nil, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := emptying(func(w *rollout.Wanted, seen *rollout.Seen) {
				for k := range seen.Registrations {
					seen.Registrations[k].Health, seen.Registrations[k].Reason = fleet.Maintenance, drain
				}
				row.change(w, seen)
			})
			w.Reload = nil
			p, err := rollout.Up(w, nodeA, seen)
			if got := steps(p); err != nil || row.want != nil && !slices.Equal(got, row.want) {
				t.Errorf("got %q, error %v, want %q", got, err, row.want)
			}
			held := 0
			for k, s := range p.Steps {
				if s.Action == rollout.ActAwait && s.Hold == drain && p.Steps[k-1].Hold == drain {
					held++
				}
			}
			if held != row.held || (held > 0) != (len(p.Notes) > 0) {
				t.Errorf("%d of %q are held, want %d; notes %q", held, steps(p), row.held, p.Notes)
			}
		})
	}
}

func TestWhatIsStartedAgainTakesADrainOver(t *testing.T) {
	w, seen := emptying(func(w *rollout.Wanted, seen *rollout.Seen) {
		for k := range seen.Registrations {
			seen.Registrations[k].Health, seen.Registrations[k].Reason = fleet.Maintenance, w.Reload.Reason(epoch, "new disk")
		}
		for k := range seen.Instances {
			seen.Instances[k].State = fleet.Exited
		}
	})
	w.Revive = true
	up, err := rollout.Up(w, nodeA, seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []rollout.Plan{up, rollout.Recover(w, nodeA, seen, "new")} {
		if k := slices.IndexFunc(p.Steps, func(s rollout.Step) bool { return s.Action == rollout.ActRegister }); k < 0 || p.Steps[k].Hold == "" || p.Steps[k+1].Hold == "" {
			t.Errorf("not held: %q", steps(p))
		}
	}
}

package rollout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

func TestPlansNameEveryStepInOrder(t *testing.T) {
	w := wanted(1)
	old := instance(w, "old", 1, func(i *fleet.Instance) { i.Image, i.Release = image("a"), "r1" })
	same := instance(w, "same", 2, nil)
	half := instance(w, "half", 3, func(i *fleet.Instance) { i.State = fleet.Created })
	dead := instance(w, "dead", 4, func(i *fleet.Instance) { i.State, i.ExitCode = fleet.Exited, 137 })
	ghost := registered(w, instance(w, "gone", 9, nil), fleet.Critical)

	stopFirst := wanted(1)
	stopFirst.Service.Overlap = false
	moved := wanted(1)
	moved.Service.Tags = []string{"v2"}
	gunicorn := wanted(1)
	gunicorn.Service.Master = spec.Gunicorn
	none := wanted(0)
	revive := wanted(1)
	revive.Revive = true
	asleep := instance(w, "asleep", 4, func(i *fleet.Instance) { i.State, i.Dir = fleet.Exited, "/run/svckit/asleep" })
	oldAsleep := instance(w, "old", 1, func(i *fleet.Instance) { i.Image, i.Release, i.State = image("a"), "r1", fleet.Exited })

	rows := []struct {
		name string
		w    rollout.Wanted
		seen rollout.Seen
		want []string
	}{
		{
			"first start of a service", w,
			rollout.Seen{},
			[]string{"pull " + w.Image, "create new-1", "start new-1", "gate new-1", "register new-1", "await new-1"},
		},
		{"nothing to do", w, rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}}, nil},
		{
			"start first, then retire", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{old}, Registrations: []fleet.Registration{registered(w, old, fleet.Passing)}},
			[]string{"create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "withdraw old", "drain old", "stop old", "remove old"},
		},
		{
			"overlap false stops first and keeps the old one until the new one serves", stopFirst,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{old}, Registrations: []fleet.Registration{registered(w, old, fleet.Passing)}},
			[]string{"withdraw old", "drain old", "stop old", "create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "remove old"},
		},
		{
			"cut off after create", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{half}},
			[]string{"remove half", "create new-1", "start new-1", "gate new-1", "register new-1", "await new-1"},
		},
		{
			"cut off after start", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}},
			[]string{"gate same", "register same", "await same"},
		},
		{
			"cut off after the old one left Consul", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same, old}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}},
			[]string{"drain old", "stop old", "remove old"},
		},
		{
			"a container that ended is replaced", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{dead}, Registrations: []fleet.Registration{registered(w, dead, fleet.Critical)}},
			[]string{"create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "withdraw dead", "remove dead"},
		},
		{
			"a registration without a container goes", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing), ghost}},
			[]string{"unregister app-web-node-a-09090909"},
		},
		{
			"new tags are registered without a new container", moved,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}},
			[]string{"register same", "await same"},
		},
		{
			"a critical instance that is as wanted is waited for", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Critical)}},
			[]string{"await same"},
		},
		{
			"new files are reloaded by gunicorn", gunicorn,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}, Outdated: map[string][]string{"same": {"/etc/x"}}, Masters: map[string]fleet.Master{"same": {PID: 7}}},
			[]string{"deliver same", "preflight same", "reload same", "prove same"},
		},
		{
			"new files without a master replace", w,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}, Outdated: map[string][]string{"same": {"/etc/x"}}},
			[]string{"create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "withdraw same", "drain same", "stop same", "remove same"},
		},
		{
			"after a reboot the container is started with its files", revive,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{asleep}, Registrations: []fleet.Registration{registered(w, asleep, fleet.Critical)}, Outdated: map[string][]string{"asleep": {"/run/secrets/K"}}},
			[]string{"deliver asleep", "start asleep", "gate asleep", "register asleep", "await asleep"},
		},
		{
			"one without files is only started", revive,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{dead}},
			[]string{"start dead", "gate dead", "register dead", "await dead"},
		},
		{
			"what sleeps and differs is replaced", revive,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{oldAsleep}},
			[]string{"create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "remove old"},
		},
		{
			"one that runs is kept before one that sleeps", revive,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{asleep, same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}},
			[]string{"remove asleep"},
		},
		{
			"no instances wanted", none,
			rollout.Seen{ImageHere: true, Instances: []fleet.Instance{same}, Registrations: []fleet.Registration{registered(w, same, fleet.Passing)}},
			[]string{"withdraw same", "drain same", "stop same", "remove same"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p, err := rollout.Up(row.w, nodeA, row.seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := steps(p); !slices.Equal(got, row.want) {
				t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
			for _, s := range p.Steps {
				if s.Reason == "" {
					t.Errorf("%s %s has no reason", s.Action, s.Target)
				}
			}
		})
	}
}

func TestPlanNamesTheFieldsThatDiffer(t *testing.T) {
	w := wanted(1)
	before := w.Service
	before.Command = []string{"other"}
	old := instance(w, "old", 1, func(i *fleet.Instance) {
		i.Image = image("a")
		i.Shape = spec.Shape(before)
		i.Env = map[string]string{"A": "0", "GONE": "x", "SVC_RELEASE": "r1"}
	})
	p, err := rollout.Up(w, nodeA, rollout.Seen{ImageHere: true, Instances: []fleet.Instance{old}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"image (aaaaaaaaaaaa → bbbbbbbbbbbb)", "command", "env.A", "env.GONE"}
	if got := p.Steps[0].Fields; !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
}

func TestStoppingFirstIsSaid(t *testing.T) {
	w := wanted(1)
	w.Service.Publish.Port = 8000
	old := instance(w, "old", 1, func(i *fleet.Instance) { i.Image = image("a") })
	p, err := rollout.Up(w, nodeA, rollout.Seen{ImageHere: true, Instances: []fleet.Instance{old}})
	if err != nil {
		t.Fatal(err)
	}
	want := "the old instance stops before the new one starts (port 8000 of the node can be held by one container only): the service is away in between"
	if len(p.Notes) != 1 || p.Notes[0] != want {
		t.Errorf("notes %q, want %q", p.Notes, want)
	}
}

func TestTwoInstancesOnOneFixedPortAreRefused(t *testing.T) {
	w := wanted(2)
	w.Service.Publish.Port = 8000
	_, err := rollout.Up(w, nodeA, rollout.Seen{})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want kind invalid", err)
	}
}

// anySeen draws a node in any state that a service can be in, cut-off runs included.
func anySeen(t *rapid.T, w rollout.Wanted) rollout.Seen {
	seen := rollout.Seen{ImageHere: rapid.Bool().Draw(t, "image here"), Outdated: map[string][]string{}}
	for k := range rapid.IntRange(0, 5).Draw(t, "containers") {
		i := instance(w, fmt.Sprintf("c%d", k), k+1, func(i *fleet.Instance) {
			i.State = rapid.SampledFrom([]fleet.State{fleet.Running, fleet.Running, fleet.Created, fleet.Exited, fleet.Dead}).Draw(t, "state")
			if rapid.Bool().Draw(t, "old") {
				i.Image = image("a")
			}
		})
		seen.Instances = append(seen.Instances, i)
		if i.State != fleet.Created && rapid.Bool().Draw(t, "registered") {
			seen.Registrations = append(seen.Registrations, registered(w, i, rapid.SampledFrom([]fleet.Health{fleet.Passing, fleet.Critical}).Draw(t, "health")))
		}
		if rapid.Bool().Draw(t, "stale files") {
			seen.Outdated[i.Name] = []string{"/etc/x"}
		}
	}
	if rapid.Bool().Draw(t, "ghost") {
		seen.Registrations = append(seen.Registrations, registered(w, instance(w, "ghost", 50, nil), fleet.Critical))
	}
	return seen
}

func anyWanted(t *rapid.T) rollout.Wanted {
	w := wanted(rapid.IntRange(0, 3).Draw(t, "count"))
	w.Service.Overlap = rapid.Bool().Draw(t, "overlap")
	w.Service.Master = rapid.SampledFrom([]spec.Master{spec.Gunicorn, spec.NoMaster}).Draw(t, "master")
	return w
}

func TestEveryPlanEndsWhereNothingIsLeftToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWanted(t)
		m := &model{w: w, seen: anySeen(t, w)}
		p, err := rollout.Up(w, nodeA, m.seen)
		if err != nil {
			t.Fatal(err)
		}
		least := m.serving()
		for _, s := range p.Steps {
			m.play(s)
			if w.Service.Overlap && m.serving() < min(least, w.Count) {
				t.Fatalf("after %s only %d serve; before it were %d and %d are wanted", s, m.serving(), least, w.Count)
			}
		}
		if m.serving() != w.Count || len(m.seen.Instances) != w.Count || len(m.seen.Registrations) != w.Count {
			t.Fatalf("%d serve of %d containers and %d registrations, want %d", m.serving(), len(m.seen.Instances), len(m.seen.Registrations), w.Count)
		}
		again, err := rollout.Up(w, nodeA, m.seen)
		if err != nil || len(again.Steps) != 0 {
			t.Fatalf("a second plan has steps %q (%v)", steps(again), err)
		}
	})
}

func TestARunCutOffAfterAnyStepIsFinishedByTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWanted(t)
		m := &model{w: w, seen: anySeen(t, w)}
		least := min(m.serving(), w.Count)
		for round := range 3 {
			p, err := rollout.Up(w, nodeA, m.seen)
			if err != nil {
				t.Fatal(err)
			}
			cut := len(p.Steps)
			if round < 2 {
				cut = rapid.IntRange(0, len(p.Steps)).Draw(t, "cut after")
			}
			for _, s := range p.Steps[:cut] {
				m.play(s)
				if w.Service.Overlap && m.serving() < least {
					t.Fatalf("after %s only %d serve, before it were %d", s, m.serving(), least)
				}
			}
			for k := range w.Names {
				w.Names[k] = fmt.Sprintf("round-%d-%d", round, k)
			}
		}
		if m.serving() != w.Count || len(m.seen.Instances) != w.Count || len(m.seen.Registrations) != w.Count {
			t.Fatalf("%d serve of %d containers and %d registrations, want %d", m.serving(), len(m.seen.Instances), len(m.seen.Registrations), w.Count)
		}
	})
}

func TestDownLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWanted(t)
		m := &model{w: w, seen: anySeen(t, w)}
		for _, s := range rollout.Down(w, nodeA, m.seen).Steps {
			m.play(s)
		}
		if len(m.seen.Instances)+len(m.seen.Registrations) != 0 {
			t.Fatalf("left: %+v %+v", m.seen.Instances, m.seen.Registrations)
		}
	})
}

func TestRecoveryBringsBackWhatWasStopped(t *testing.T) {
	w := wanted(1)
	w.Service.Overlap = false
	failed := instance(w, "new-1", 5, nil)
	old := instance(w, "old", 1, func(i *fleet.Instance) { i.State = fleet.Exited })
	p := rollout.Recover(w, nodeA, rollout.Seen{Instances: []fleet.Instance{old, failed}}, "new-1")
	want := []string{"remove new-1", "start old", "gate old", "register old", "await old"}
	if got := steps(p); !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
}

func TestRecoveryLeavesAServiceAloneThatStillServes(t *testing.T) {
	w := wanted(1)
	failed := instance(w, "new-1", 5, nil)
	old := instance(w, "old", 1, nil)
	stopped := instance(w, "older", 2, func(i *fleet.Instance) { i.State = fleet.Exited })
	p := rollout.Recover(w, nodeA, rollout.Seen{
		Instances: []fleet.Instance{old, stopped, failed}, Registrations: []fleet.Registration{registered(w, old, fleet.Passing)},
	}, "new-1")
	if got, want := steps(p), []string{"remove new-1"}; !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
}

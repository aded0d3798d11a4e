package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// reloading is one running, registered instance with a master, and something to load.
func reloading(change func(w *rollout.Wanted, seen *rollout.Seen)) (rollout.Wanted, rollout.Seen) {
	w := wanted(1)
	w.Service.Master = spec.Gunicorn
	w.Reload = &rollout.Reload{Floor: -1}
	i := instance(w, "one", 1, nil)
	mine := registered(w, i, fleet.Passing)
	others := []fleet.Registration{mine, {ID: "b", Health: fleet.Passing}, {ID: "c", Health: fleet.Passing}}
	seen := rollout.Seen{
		ImageHere: true, Instances: []fleet.Instance{i}, Registrations: []fleet.Registration{mine}, Fleet: others,
		Outdated: map[string][]string{}, Stale: map[string][]string{"one": {"code a → b"}},
		Masters: map[string]fleet.Master{"one": {PID: 7, Workers: []fleet.Worker{{PID: 8}, {PID: 9}}, Tried: true}},
	}
	change(&w, &seen)
	return w, seen
}

func TestAReloadTakesTheGentlestWay(t *testing.T) {
	in := func(change func(m *fleet.Master)) func(*rollout.Wanted, *rollout.Seen) {
		return func(_ *rollout.Wanted, seen *rollout.Seen) {
			m := seen.Masters["one"]
			change(&m)
			seen.Masters["one"] = m
		}
	}
	uwsgi := func(change func(m *fleet.Master)) func(*rollout.Wanted, *rollout.Seen) {
		return func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Service.Master = spec.UWSGI
			in(change)(w, seen)
		}
	}
	told := []string{"preflight one", "reload one", "prove one"}
	aside := []string{"spare one", "aside one", "drain one", "preflight one", "reload one", "prove one", "return one", "await one"}
	replaced := []string{"create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "withdraw one", "drain one", "stop one", "remove one"}
	for _, row := range []struct {
		name   string
		change func(*rollout.Wanted, *rollout.Seen)
		want   []string
		reason string
	}{
		{"gunicorn", in(func(*fleet.Master) {}), told, "has to load code a → b; gunicorn replaces its workers on HUP"},
		{"nothing new", func(_ *rollout.Wanted, seen *rollout.Seen) { seen.Stale = nil }, nil, ""},
		{"nothing new, and asked for all the same", func(w *rollout.Wanted, seen *rollout.Seen) { seen.Stale, w.Reload.Force = nil, true }, told, "has to load everything again, as asked"},
		{"files", func(_ *rollout.Wanted, seen *rollout.Seen) {
			seen.Stale = nil
			seen.Outdated["one"] = []string{"/etc/x"}
		}, append([]string{"deliver one"}, told...), "has to load /etc/x"},
		{"new code", func(w *rollout.Wanted, seen *rollout.Seen) {
			seen.Stale = nil
			w.Reload.From, w.Reload.Code = "a", "b"
		}, append([]string{"switch b"}, told...), "has to load code a → b"},
		{"the same code", func(w *rollout.Wanted, seen *rollout.Seen) {
			seen.Stale = nil
			w.Reload.From, w.Reload.Code = "a", "a"
		}, nil, ""},
		{"gunicorn that keeps connections", in(func(m *fleet.Master) { m.KeepAlive = true }), aside, "keep idle connections"},
		{"gunicorn that preloads", in(func(m *fleet.Master) { m.Preload = true }), replaced, "preload_app"},
		{"uwsgi that can chain", uwsgi(func(m *fleet.Master) { m.Lazy, m.Chain = true, fleet.Chain{FIFO: "/f"} }), told, "one worker after the other"},
		{"uwsgi with one worker", uwsgi(func(m *fleet.Master) {
			m.Lazy, m.Chain, m.Workers = true, fleet.Chain{FIFO: "/f"}, m.Workers[:1]
		}), aside, "it has one worker only"},
		{"plain uwsgi", uwsgi(func(*fleet.Master) {}), aside, "lazy-apps is not set"},
		{"uwsgi that is deaf", uwsgi(func(m *fleet.Master) { m.Deaf = "it runs without its master" }), replaced, "it runs without its master"},
		{"no master", func(w *rollout.Wanted, _ *rollout.Seen) { w.Service.Master = spec.NoMaster }, replaced, "read at the start only"},
		{"a changed variable replaces", func(w *rollout.Wanted, _ *rollout.Seen) { w.Env = map[string]string{"A": "2"} }, replaced, "differs in env.A"},
		{"stop-first replacement leaves the fleet enough", func(w *rollout.Wanted, _ *rollout.Seen) {
			w.Service.Master, w.Service.Overlap = spec.NoMaster, false
		}, []string{"spare one", "withdraw one", "drain one", "stop one", "create new-1", "start new-1", "gate new-1", "register new-1", "await new-1", "remove one"}, "1 instance of the fleet"},
		{"the only instance waits where its operator accepts that", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Service.Master, w.Reload.Floor, seen.Fleet = spec.UWSGI, 0, seen.Fleet[:1]
		}, told, "lazy-apps is not set"},
		{"what somebody took out by hand is left out", func(w *rollout.Wanted, seen *rollout.Seen) {
			w.Service.Master = spec.UWSGI
			seen.Registrations[0].Health, seen.Registrations[0].Reason = fleet.Maintenance, "ann looks at it"
		}, told, "lazy-apps is not set"},
		{"a reload that was cut off is ended", func(_ *rollout.Wanted, seen *rollout.Seen) {
			seen.Stale = nil
			seen.Registrations[0].Health, seen.Registrations[0].Reason = fleet.Maintenance, rollout.AsideReason(epoch, "x")
		}, []string{"gate one", "return one", "await one"}, "was cut off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := reloading(row.change)
			plan, err := rollout.Up(w, nodeA, seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := steps(plan); !slices.Equal(got, row.want) {
				t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
			said := ""
			for _, s := range plan.Steps {
				said += s.Reason + "\n"
			}
			if !strings.Contains(said, row.reason) {
				t.Errorf("reasons\n%s\nlack %q", said, row.reason)
			}
		})
	}
}

func TestAReloadIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *fleet.Master)
		want   string
	}{
		{"a shell", func(m *fleet.Master) { *m = fleet.Master{Unsafe: []string{"its first process is a shell"}} }, "one: its first process is a shell"},
		{"broken code", func(m *fleet.Master) { m.Broken = []string{"SyntaxError: invalid syntax"} }, "  | SyntaxError: invalid syntax"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, seen := reloading(func(_ *rollout.Wanted, seen *rollout.Seen) {
				m := seen.Masters["one"]
				row.change(&m)
				seen.Masters["one"] = m
			})
			plan, err := rollout.Up(w, nodeA, seen)
			if fault.KindOf(err) != fault.Refused || len(plan.Steps) > 0 {
				t.Fatalf("plan %v, %v", plan.Steps, err)
			}
			if e := asFault(t, err); !slices.Contains(e.Detail, row.want) {
				t.Errorf("detail %q lacks %q", e.Detail, row.want)
			}
			w.Reload = nil // a deployment has another way: it replaces what must not be told
			if row.name != "a shell" {
				return
			}
			if plan, err = rollout.Up(w, nodeA, seen); err != nil || len(plan.Steps) == 0 || plan.Steps[0].Action != rollout.ActCreate {
				t.Errorf("a deployment plans %v, %v", plan.Steps, err)
			}
		})
	}
}

func TestTheEndOfAMaintenanceIsReadFromItsReason(t *testing.T) {
	until := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	r := fleet.Registration{Health: fleet.Maintenance, Reason: rollout.AsideReason(until, "uwsgi: nobody accepts, wait")}
	if got, ok := rollout.AsideUntil(r); !ok || !got.Equal(until) {
		t.Errorf("until %s, %t", got, ok)
	}
	for _, other := range []fleet.Registration{
		{Health: fleet.Passing, Reason: r.Reason},
		{Health: fleet.Maintenance, Reason: "by hand"},
		{Health: fleet.Maintenance, Reason: "svckit reload until tomorrow, x"},
		{Health: fleet.Maintenance},
	} {
		if _, ok := rollout.AsideUntil(other); ok {
			t.Errorf("%+v was taken for ours", other)
		}
	}
}

func TestTheFloorCountsTheOthers(t *testing.T) {
	w := wanted(1)
	all := make([]fleet.Registration, 5)
	if got := rollout.Floor(w, all); got != 0 {
		t.Errorf("a deployment has a floor of %d", got)
	}
	for _, row := range []struct{ asked, n, want int }{{-1, 5, 2}, {-1, 1, 1}, {-1, 0, 1}, {0, 5, 0}, {4, 5, 4}} {
		w.Reload = &rollout.Reload{Floor: row.asked}
		if got := rollout.Floor(w, all[:row.n]); got != row.want {
			t.Errorf("floor %d of %d is %d, want %d", row.asked, row.n, got, row.want)
		}
	}
	some := []fleet.Registration{{ID: "a", Health: fleet.Passing}, {ID: "b", Health: fleet.Passing}, {ID: "c", Health: fleet.Critical}, {ID: "d", Health: fleet.Maintenance}}
	if got := rollout.Spare(some, "a"); got != 1 {
		t.Errorf("%d to spare, want 1", got)
	}
}

package wish

import (
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/scale"
)

func TestOnlyWhatIsDueIsCaredFor(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ttl := fleet.Check{Type: "ttl", Interval: 30 * time.Second}
	reg := func(id, container string, change func(*fleet.Registration)) fleet.Registration {
		r := fleet.Registration{ID: id, Health: fleet.Passing, Meta: map[string]string{
			fleet.MetaApp: "shop", fleet.MetaService: "web", fleet.MetaContainer: container, fleet.MetaEngine: "e",
		}}
		if change != nil {
			change(&r)
		}
		return r
	}
	aside := func(d time.Duration) func(*fleet.Registration) {
		return func(r *fleet.Registration) {
			r.Health, r.Reason = fleet.Maintenance, rollout.AsideReason(now.Add(d), "reload")
		}
	}
	for _, row := range []struct {
		name     string
		r        fleet.Registration
		suspect  bool
		renewed  time.Duration // ago
		want     string
		suspects bool
	}{
		{"nothing to do", reg("a", "here", nil), false, 0, "", false},
		{"a ghost, seen first", reg("a", "gone", nil), false, 0, "", true},
		{"a ghost, seen again", reg("a", "gone", nil), true, 0, "sweep", true},
		{"a container of another engine", reg("a", "gone", func(r *fleet.Registration) { r.Meta[fleet.MetaEngine] = "f" }), true, 0, "", false},
		{"a critical one of another engine", reg("a", "gone", func(r *fleet.Registration) { r.Meta[fleet.MetaEngine], r.Health = "f", fleet.Critical }), true, 0, "sweep", true},
		{"a maintenance that goes on", reg("a", "here", aside(time.Minute)), false, 0, "", false},
		{"a maintenance that is over", reg("a", "here", aside(-time.Second)), false, 0, "return", false},
		{"a maintenance of somebody else", reg("a", "here", func(r *fleet.Registration) { r.Health, r.Reason = fleet.Maintenance, "disk" }), false, 0, "", false},
		{"a TTL that is due", reg("a", "here", func(r *fleet.Registration) { r.Check = ttl }), false, 10 * time.Second, "renew", false},
		{"a TTL that is not due", reg("a", "here", func(r *fleet.Registration) { r.Check = ttl }), false, 9 * time.Second, "", false},
		{"a TTL that ran out", reg("a", "here", func(r *fleet.Registration) { r.Check, r.Health, r.Output = ttl, fleet.Critical, "TTL expired" }), false, time.Hour, "renew", false},
		{"a TTL that its owner failed", reg("a", "here", func(r *fleet.Registration) { r.Check, r.Health, r.Output = ttl, fleet.Critical, "disk full" }), false, time.Hour, "", false},
		{"a TTL in a maintenance", reg("a", "here", func(r *fleet.Registration) {
			r.Check, r.Health, r.Output = ttl, fleet.Maintenance, "TTL expired (last…"
		}), false, time.Hour, "renew", false},
		{"a TTL in a maintenance that its owner failed", reg("a", "here", func(r *fleet.Registration) { r.Check, r.Health, r.Output = ttl, fleet.Maintenance, "disk full" }), false, time.Hour, "", false},
		{"a TTL of a container that restarts", reg("a", "again", func(r *fleet.Registration) { r.Check = ttl }), false, time.Hour, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, suspects := Cares(Books{
				Registrations: []fleet.Registration{row.r}, Engine: "e", Suspects: map[string]bool{"a": row.suspect},
				Containers: []fleet.Instance{{ID: "here", State: fleet.Running}, {ID: "again", State: fleet.Restarting}},
				Renewed:    map[string]time.Time{"a": now.Add(-row.renewed)},
			}, now)
			var got []string
			for _, c := range list {
				got = append(got, string(c.Do))
				if c.Name != "shop/web" || c.ID != "a" || c.Reason == "" {
					t.Errorf("%+v", c)
				}
			}
			if strings.Join(got, " ") != row.want || suspects["a"] != row.suspects {
				t.Errorf("%v, suspects %v", got, suspects)
			}
		})
	}
}

func TestTheFastLaneAddsWithinItsRoomAndGivesBack(t *testing.T) {
	a := fleet.Allotment{Name: "shop/web", Unit: Workers, Count: 4, Room: 3}
	in := scale.LaneInput{Ready: 4, Busy: 4, Waiting: 8, Rate: 40, Service: 0.2}
	var l Lane
	for at := int64(1000); at < 1030; at++ {
		in.At = at
		in.Ready = 4 + l.Extra
		in.Busy = in.Ready
		l = l.Step(in, a, scale.NotFrozen)
		if l.Extra > a.Room {
			t.Fatalf("%d added, %d allowed", l.Extra, a.Room)
		}
	}
	if l.Extra != 3 {
		t.Fatalf("%d added under a load that needs more", l.Extra)
	}
	for _, mode := range []scale.FreezeMode{scale.NoChange, scale.Observe} {
		if got := (Lane{}).Step(in, a, mode).Step(in, a, mode); got.Extra != 0 {
			t.Errorf("%s: added %d", mode, got.Extra)
		}
	}
	if got := l.Adopt(a, fleet.Allotment{Unit: Workers, Count: 5, Room: 3}, l.State.Last+1); got.Extra != 2 {
		t.Errorf("a wish that did not know: %d above, want 2", got.Extra)
	}
	if got := l.Adopt(a, fleet.Allotment{Unit: Workers, Count: 9, Room: 3}, l.State.Last+1); got.Extra != 0 {
		t.Errorf("a wish that is larger: %d above", got.Extra)
	}
	if got := l.Adopt(a, fleet.Allotment{Unit: Workers, Count: 5}, l.State.Last+adopts); got.Extra != 0 {
		t.Errorf("a wish that knew: %d above", got.Extra)
	}
	quiet := scale.LaneInput{At: l.State.Last + stays, Ready: 7, Service: 0.2}
	if got := l.Step(quiet, a, scale.NotFrozen); got.Extra != 0 {
		t.Errorf("%d stay for ever", got.Extra)
	}
}

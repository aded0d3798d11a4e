package wish

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

func workers(n int) Ask {
	return Ask{Allotment: fleet.Allotment{Name: "shop/web", Unit: Workers, Count: n}}
}

func containers(n int) Ask {
	return Ask{Allotment: fleet.Allotment{Name: "shop/web", Unit: Instances, Count: n}}
}

// up is a container that runs, is registered, and has this many workers.
func up(n int) Container {
	return Container{Name: "a", ID: "a", State: fleet.Running, Workers: n, Entry: "ra", Weight: n, Health: fleet.Passing}
}

func with(c Container, change func(*Container)) Container {
	change(&c)
	return c
}

func TestEachStateLeadsToItsStep(t *testing.T) {
	ended := with(up(0), func(c *Container) { c.State, c.Entry = fleet.Exited, "" })
	for _, row := range []struct {
		name string
		ask  Ask
		here []Container
		want string // steps, one a line
		held string
	}{
		{"a first placement", workers(4), nil, "deploy 0 → 1: 1 wanted on this node", ""},
		{"more workers", workers(6), []Container{up(2)}, "raise a 2 → 6: 6 workers wanted", ""},
		{"fewer workers", workers(3), []Container{up(6)}, "lower a 6 → 3: 3 workers wanted", ""},
		{"all is well", workers(2), []Container{up(2)}, "", ""},
		{"weight follows what is ready", workers(4), []Container{with(up(4), func(c *Container) { c.Weight = 2 })}, "weigh a 2 → 4: 4 workers are ready", ""},
		{"young workers do not count yet", workers(4), []Container{with(up(4), func(c *Container) { c.Young, c.Weight = 2, 2 })}, "", ""},
		{"none is ended while some start", workers(3), []Container{with(up(4), func(c *Container) { c.Young, c.Weight = 1, 3 })}, "", "1 workers are starting: none is ended meanwhile"},
		{"workers that cannot change", workers(4), []Container{with(up(2), func(c *Container) { c.Fixed = "no master-fifo" })}, "", "no master-fifo"},
		{"a container that ended", workers(2), []Container{ended}, "deploy 0 → 1: 1 of 1 ended", ""},
		{"one that is not registered", workers(2), []Container{with(up(2), func(c *Container) { c.Entry = "" })}, "deploy 1 → 1: 1 run and are not registered", ""},
		{"containers up", containers(3), []Container{up(1)}, "deploy 1 → 3: 3 wanted on this node", ""},
		{"containers down", containers(1), []Container{up(1), up(1)}, "deploy 2 → 1: 1 wanted on this node", ""},
		{"it leaves", containers(0), []Container{up(1)}, "leave 1 → 0: none is wanted on this node", ""},
		{"it has left", containers(0), nil, "", ""},
		{"more raises before mending", workers(4), []Container{up(2), ended}, "raise a 2 → 4: 4 workers wanted\ndeploy 1 → 1: 1 that do not run are left over", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, Next(row.ask, Service{Containers: row.here}), row.want, row.held)
		})
	}
}

func TestWhatIsForbiddenIsHeld(t *testing.T) {
	ended := with(up(0), func(c *Container) { c.State, c.Entry, c.ID = fleet.Exited, "", "b" })
	away := func(a Ask) Ask { a.Away = "no leader"; return a }
	frozen := func(a Ask, m scale.FreezeMode) Ask { a.Mode, a.Frozen = m, "frozen"; return a }
	const blind = "Consul is away, and nothing is lowered without it: no leader"
	for _, row := range []struct {
		name string
		ask  Ask
		here []Container
		want string
		held string
	}{
		{"away: no worker ends", away(workers(1)), []Container{up(4)}, "", blind},
		{"away: no container ends", away(containers(1)), []Container{up(1), up(1)}, "", blind},
		{"away: nothing leaves", away(containers(0)), []Container{up(1)}, "", blind},
		{"away: workers come", away(workers(4)), []Container{up(2)}, "raise a 2 → 4: 4 workers wanted", ""},
		{"away: what ended wakes", away(containers(2)), []Container{up(1), ended}, "wake 1 → 2: 1 of 2 ended, and Consul is away: no leader", ""},
		{"away: no new container", away(containers(2)), []Container{up(1)}, "", "Consul is away, and a new container needs it: no leader"},
		{"no-down: raises", frozen(workers(4), scale.NoDown), []Container{up(2)}, "raise a 2 → 4: 4 workers wanted", ""},
		{"no-down: lowers", frozen(workers(1), scale.NoDown), []Container{up(2)}, "", "frozen"},
		{"no-change: no more workers", frozen(workers(4), scale.NoChange), []Container{up(2)}, "", "frozen"},
		{"no-change: no more containers", frozen(containers(4), scale.NoChange), []Container{up(1)}, "", "frozen"},
		{"no-change: what crashed comes back", frozen(containers(4), scale.NoChange), []Container{up(1), ended}, "deploy 1 → 2: 1 of 2 ended", "frozen"},
		{"observe: only words", frozen(workers(4), scale.Observe), []Container{up(2)}, "", "frozen; without it: raise a 2 → 4: 4 workers wanted"},
		{"observe: what crashed stays", frozen(workers(4), scale.Observe), []Container{ended}, "", "frozen; without it: deploy 0 → 1: 1 of 1 ended"},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, Next(row.ask, Service{Containers: row.here}), row.want, row.held)
		})
	}
}

func check(t *testing.T, p Plan, steps, held string) {
	t.Helper()
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.String())
	}
	if diff := cmp.Diff(steps, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
	if p.Held != held {
		t.Errorf("held %q, want %q", p.Held, held)
	}
}

func TestFromAnyStateTheNodeGetsThere(t *testing.T) {
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := scatter(r)
		a := workers(r.IntN(9))
		if r.IntN(2) == 0 {
			a = containers(r.IntN(5))
		}
		start := fmt.Sprintf("seed %d, %+v from %+v", seed, a.Allotment, m.containers)
		for n := 0; ; n++ {
			p := Next(a, m.service())
			if len(p.Steps) == 0 {
				if p.Held != "" {
					t.Fatalf("%s: held: %s", start, p.Held)
				}
				break
			}
			if n == 20 {
				t.Fatalf("%s: still %s", start, p.Steps[0])
			}
			m.do(p.Steps[0])
		}
		n, w := m.running()
		if want := min(a.Count, 1); a.Unit == Workers && (n != want || w != a.Count) || a.Unit == Instances && n != a.Count || len(m.containers) != n {
			t.Fatalf("%s: %d containers, %d workers in the end", start, n, w)
		}
		for _, c := range m.containers {
			if c.Weight != c.Workers || c.Entry == "" {
				t.Fatalf("%s: %+v in the end", start, c)
			}
		}
	}
}

func TestNothingIsLoweredWhereThatIsForbidden(t *testing.T) {
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := scatter(r)
		a := workers(r.IntN(9))
		if r.IntN(2) == 0 {
			a = containers(r.IntN(5))
		}
		switch r.IntN(3) {
		case 0:
			a.Away = "no leader"
		case 1:
			a.Mode, a.Frozen = scale.NoDown, "frozen"
		default:
			a.Mode, a.Frozen = scale.NoChange, "frozen"
		}
		for range 20 {
			p := Next(a, m.service())
			if len(p.Steps) == 0 {
				break
			}
			n, w := m.running()
			if p.Steps[0].Lowers() {
				t.Fatalf("seed %d: %+v plans %s", seed, a, p.Steps[0])
			}
			m.do(p.Steps[0])
			if n2, w2 := m.running(); n2 < n || w2 < w {
				t.Fatalf("seed %d: %+v: from %d containers and %d workers to %d and %d by %s", seed, a, n, w, n2, w2, p.Steps[0])
			}
		}
	}
}

func TestAnOlderWishIsNeverInForce(t *testing.T) {
	at := func(epoch, gen uint64) fleet.Want { return fleet.Want{Epoch: epoch, Gen: gen} }
	for _, row := range []struct {
		now, got fleet.Want
		taken    bool
	}{
		{fleet.Want{}, at(1, 1), true},
		{at(1, 1), at(1, 2), true},
		{at(1, 9), at(2, 1), true},
		{at(2, 1), at(1, 9), false},
		{at(2, 5), at(2, 4), false},
		{at(2, 5), at(2, 5), false},
		{at(2, 5), fleet.Want{}, false},
	} {
		got, why := Accept(row.now, row.got)
		want := row.now
		if row.taken {
			want = row.got
		}
		if diff := cmp.Diff(want, got); diff != "" || (why == "") != row.taken {
			t.Errorf("%+v after %+v: %q %s", row.got, row.now, why, diff)
		}
	}
}

func TestTheStrictestFreezeCounts(t *testing.T) {
	z := func(scope, name string, m scale.FreezeMode, until int64) planner.Freeze {
		return planner.Freeze{Scope: scope, Name: name, Freeze: scale.Freeze{Mode: m, Until: until, Who: "ann", Why: "sale"}}
	}
	for _, row := range []struct {
		name string
		list []planner.Freeze
		mode scale.FreezeMode
		why  string
	}{
		{"none", nil, scale.NotFrozen, ""},
		{"all", []planner.Freeze{z("all", "", scale.NoDown, 0)}, scale.NoDown, "frozen (no-down) by ann: sale"},
		{"over", []planner.Freeze{z("all", "", scale.NoDown, 100)}, scale.NotFrozen, ""},
		{"another service", []planner.Freeze{z("service", "shop/api", scale.NoDown, 0)}, scale.NotFrozen, ""},
		{"another pool", []planner.Freeze{z("pool", "batch", scale.Observe, 0)}, scale.NotFrozen, ""},
		{"the strictest", []planner.Freeze{z("all", "", scale.Observe, 0), z("pool", "web", scale.NoChange, 0)}, scale.Observe, "frozen (observe) by ann: sale"},
		{"of the service", []planner.Freeze{z("all", "", scale.NoDown, 0), z("service", "shop/web", scale.NoChange, 101)}, scale.NoChange, "frozen service shop/web (no-change) by ann: sale"},
	} {
		if mode, why := Mode(row.list, "shop/web", "web", 100); mode != row.mode || why != row.why {
			t.Errorf("%s: %q, %q", row.name, mode, why)
		}
	}
}

func TestWhatIsReachedIsCountedByUnit(t *testing.T) {
	here := Service{Containers: []Container{
		with(up(4), func(c *Container) { c.Young = 1 }),
		with(up(2), func(c *Container) { c.Health = fleet.Critical }),
		{State: fleet.Restarting},
		{State: fleet.Exited},
	}}
	if got, want := Reach(workers(6), here, "x"), (fleet.Reached{Name: "shop/web", Unit: Workers, Want: 6, Ready: 5, Starting: 1, Error: "x"}); got != want {
		t.Errorf("%+v", got)
	}
	if got, want := Reach(containers(2), here, ""), (fleet.Reached{Name: "shop/web", Unit: Instances, Want: 2, Ready: 1, Starting: 2}); got != want {
		t.Errorf("%+v", got)
	}
}

package planner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"svckit/lib/place"
)

func shares(text ...any) []place.Share {
	var out []place.Share
	for i := 0; i < len(text); i += 3 {
		out = append(out, place.Share{Name: text[i].(string), Node: text[i+1].(string), Count: text[i+2].(int)})
	}
	return out
}

func hosts(names ...string) []Node {
	var out []Node
	for _, n := range names {
		out = append(out, Node{Host: place.Host{Name: n, Alive: true, CPU: 1000, Memory: 1 << 30}})
	}
	return out
}

func TestAStageRaisesBeforeItLowers(t *testing.T) {
	shape := map[string]Shape{"s/w": {CPU: 100}}
	for _, row := range []struct {
		name              string
		told, want, ready []place.Share
		services          map[string]Shape
		hosts             []Node
		only              string
		out               []place.Share
		wait              string
	}{
		{"a first placement", nil, shares("s/w", "a", 3), nil, shape, hosts("a"), "", shares("s/w", "a", 3), "[]"},
		{"a move raises", shares("s/w", "a", 4), shares("s/w", "b", 4), shares("s/w", "a", 4), shape, hosts("a", "b"), "", shares("s/w", "a", 4, "s/w", "b", 4), "[{s/w b has 0 of 4 ready}]"},
		{"a move lowers by what is ready", shares("s/w", "a", 4, "s/w", "b", 4), shares("s/w", "b", 4), shares("s/w", "a", 4, "s/w", "b", 3), shape, hosts("a", "b"), "", shares("s/w", "a", 1, "s/w", "b", 4), "[{s/w b has 3 of 4 ready}]"},
		{"a move ends", shares("s/w", "a", 1, "s/w", "b", 4), shares("s/w", "b", 4), shares("s/w", "a", 1, "s/w", "b", 4), shape, hosts("a", "b"), "", shares("s/w", "a", 0, "s/w", "b", 4), "[]"},
		{"plain lowering is at once", shares("s/w", "a", 6), shares("s/w", "a", 2), shares("s/w", "a", 6), shape, hosts("a"), "", shares("s/w", "a", 2), "[]"},
		{"a new leader lowers nothing", shares("s/w", "a", 6), shares("s/w", "a", 2), shares("s/w", "a", 6), shape, hosts("a"), "new", shares("s/w", "a", 6), "[{s/w new}]"},
		{"a dead node's share goes at once", shares("s/w", "a", 6), shares("s/w", "b", 6), nil, shape, []Node{{Host: place.Host{Name: "a"}}, hosts("b")[0]}, "new", shares("s/w", "a", 0, "s/w", "b", 6), "[]"},
		{"a silent node keeps its own", shares("s/w", "a", 6), shares("s/w", "a", 2), nil, shape, []Node{{Host: hosts("a")[0].Host, Silent: true}}, "", shares("s/w", "a", 6), "[{s/w a is silent}]"},
		{"no room counts what still runs", shares("s/w", "a", 8, "s/x", "a", 0), shares("s/w", "a", 2, "s/x", "a", 8), shares("s/w", "a", 8), map[string]Shape{"s/w": {CPU: 100}, "s/x": {CPU: 100}}, hosts("a"), "", shares("s/w", "a", 2, "s/x", "a", 2), "[{s/x a has no room for 6 more yet}]"},
		{"one that may not run twice shrinks first", shares("s/w", "a", 1), shares("s/w", "b", 1), shares("s/w", "a", 1), map[string]Shape{"s/w": {NoOverlap: true}}, hosts("a", "b"), "", shares("s/w", "a", 0, "s/w", "b", 0), "[{s/w a still has 1, and it may not run twice}]"},
		{"and then grows", shares("s/w", "a", 0), shares("s/w", "b", 1), nil, map[string]Shape{"s/w": {NoOverlap: true}}, hosts("a", "b"), "", shares("s/w", "a", 0, "s/w", "b", 1), "[]"},
		{"one that nobody knows is left alone", shares("old/w", "a", 3), nil, shares("old/w", "a", 3), shape, hosts("a"), "", shares("old/w", "a", 3), "[]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := Advance(StageInput{Told: row.told, Want: row.want, Ready: row.ready, Hosts: row.hosts, Services: row.services, RaiseOnly: row.only})
			if !slices.Equal(got.Told, row.out) {
				t.Errorf("told %v, want %v", got.Told, row.out)
			}
			if w := fmt.Sprint(got.Waits); w != row.wait {
				t.Errorf("waits %s, want %s", w, row.wait)
			}
		})
	}
}

// Whatever is wanted, stages end there, never ask more of a node than it has,
// and never serve with less than both ends have.
func TestStagesConverge(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		nodes := hosts("a", "b", "c", "d")
		services := map[string]Shape{}
		var told, want []place.Share
		for i := range 1 + r.IntN(4) {
			name := fmt.Sprintf("s/w%d", i)
			services[name] = Shape{CPU: int64(20 + r.IntN(50)), NoOverlap: r.IntN(4) == 0}
			for _, n := range nodes {
				told = append(told, place.Share{Name: name, Node: n.Name, Count: r.IntN(4)})
				if k := r.IntN(4); k > 0 {
					want = append(want, place.Share{Name: name, Node: n.Name, Count: k})
				}
			}
		}
		ready := slices.Clone(told)
		floor := map[string]int{}
		for name := range services {
			floor[name] = min(sum(told, name), sum(want, name))
		}
		for step := 0; ; step++ {
			out := Advance(StageInput{Told: told, Want: want, Ready: ready, Hosts: nodes, Services: services})
			for _, n := range nodes {
				used := int64(0)
				for _, x := range out.Told {
					if x.Node == n.Name {
						used += services[x.Name].CPU * int64(max(x.Count, countAt(ready, x)))
					}
				}
				if used > n.CPU {
					t.Fatalf("seed %d step %d: node %s is asked for %d of %d", seed, step, n.Name, used, n.CPU)
				}
			}
			told, ready = out.Told, reach(r, out.Told, ready)
			for name, shape := range services {
				if !shape.NoOverlap && sum(ready, name) < floor[name] {
					t.Fatalf("seed %d step %d: %s serves with %d, below %d", seed, step, name, sum(ready, name), floor[name])
				}
			}
			if same(told, want) && same(ready, want) {
				break
			}
			if step > 200 {
				t.Fatalf("seed %d: not there after %d steps: told %v, want %v, waits %v", seed, step, told, want, out.Waits)
			}
		}
	}
}

// reach lets nodes come closer to what they were told, some of the way.
func reach(r *rand.Rand, told, ready []place.Share) []place.Share {
	var out []place.Share
	for _, x := range told {
		has := countAt(ready, x)
		switch {
		case has < x.Count:
			has += 1 + r.IntN(x.Count-has)
		case has > x.Count:
			has -= 1 + r.IntN(has-x.Count)
		}
		out = append(out, place.Share{Name: x.Name, Node: x.Node, Count: has})
	}
	return out
}

func countAt(list []place.Share, of place.Share) int {
	for _, x := range list {
		if x.Name == of.Name && x.Node == of.Node {
			return x.Count
		}
	}
	return 0
}

func sum(list []place.Share, name string) (n int) {
	for _, x := range list {
		if x.Name == name {
			n += x.Count
		}
	}
	return n
}

func same(list, want []place.Share) bool {
	for _, x := range list {
		if x.Count != countAt(want, x) {
			return false
		}
	}
	return true
}

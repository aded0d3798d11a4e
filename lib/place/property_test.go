package place

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const gib = 1 << 30

// fleet draws a fleet of some hosts in some pools with services of all kinds,
// placed anyhow: valid or not.
func fleet(t *rapid.T) Input {
	in := Input{At: 1_000_000, Pools: []Pool{
		{Name: "a", Loans: rapid.IntRange(0, 2).Draw(t, "loans a")},
		{Name: "free", Class: Free, Reserve: rapid.IntRange(0, 1).Draw(t, "reserve")},
		{Name: "v", Class: VIP, Loans: rapid.IntRange(0, 3).Draw(t, "loans v")},
	}}
	pools := []string{"a", "a", "a", "v", "free"}
	for i := range rapid.IntRange(1, 7).Draw(t, "hosts") {
		h := Host{
			Name: fmt.Sprintf("n%d", i), Zone: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "zone"),
			Pool: rapid.SampledFrom(pools).Draw(t, "pool"),
			CPU:  int64(rapid.IntRange(0, 8).Draw(t, "cpu")) * 1000, Memory: int64(rapid.IntRange(1, 8).Draw(t, "memory")) * gib,
			Alive: rapid.IntRange(0, 9).Draw(t, "alive") > 0, Draining: rapid.IntRange(0, 9).Draw(t, "draining") == 0,
			Leaving: rapid.IntRange(0, 9).Draw(t, "leaving") == 0, Load: float64(rapid.IntRange(-1, 10).Draw(t, "load")) / 10,
		}
		if rapid.IntRange(0, 3).Draw(t, "lent") == 0 {
			h.Home = "free"
			h.Due = rapid.SampledFrom([]int64{0, 1_000_100, 2_000_000}).Draw(t, "due")
		}
		in.Hosts = append(in.Hosts, h)
	}
	for i := range rapid.IntRange(0, 7).Draw(t, "services") {
		d := demand(t, fmt.Sprintf("app/s%d", i))
		in.Demands = append(in.Demands, d)
		for _, h := range in.Hosts {
			if n := rapid.IntRange(-4, 4).Draw(t, "share"); n > 0 {
				in.Shares = append(in.Shares, Share{d.Name, h.Name, n})
			}
		}
	}
	if rapid.Bool().Draw(t, "remembers") {
		in.State = State{Low: []Since{{"a", 999_000}, {"v", 999_000}}, Hot: []Since{{"n1", 999_000}, {"n2", 999_000}}}
	}
	return in
}

func demand(t *rapid.T, name string) Demand {
	d := Demand{
		Name: name, Unit: "workers", Size: rapid.IntRange(0, 12).Draw(t, "size"), Min: rapid.IntRange(0, 4).Draw(t, "min"),
		Max: rapid.SampledFrom([]int{0, 0, 6}).Draw(t, "max"), Remain: rapid.IntRange(0, 8).Draw(t, "remain"),
		MinNodes: rapid.IntRange(0, 3).Draw(t, "nodes"), Spread: rapid.SampledFrom([]Spread{Equal, Balanced}).Draw(t, "spread"),
		Survive: rapid.SampledFrom([]Survive{None, Node, Zone}).Draw(t, "survive"),
		CPU:     int64(rapid.IntRange(0, 20).Draw(t, "cpu")) * 100, Memory: int64(rapid.IntRange(0, 4).Draw(t, "memory")) * gib / 4,
		PerNode: rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "per node"), Pool: rapid.SampledFrom([]string{"a", "a", "v", "nowhere"}).Draw(t, "pool"),
		VIP: rapid.IntRange(0, 3).Draw(t, "vip") == 0, Fixed: rapid.IntRange(0, 5).Draw(t, "fixed") == 0,
		NoOverlap: rapid.IntRange(0, 5).Draw(t, "no overlap") == 0, Hold: rapid.IntRange(0, 9).Draw(t, "hold") == 0,
	}
	return d
}

// usage adds up what shares cost on each host.
func usage(in Input, shares []Share) map[string]cost {
	each := map[string]cost{}
	for _, d := range in.Demands {
		each[d.Name] = cost{d.CPU, d.Memory}
	}
	out := map[string]cost{}
	for _, s := range shares {
		out[s.Node] = out[s.Node].plus(each[s.Name], s.Count)
	}
	return out
}

func text(v any) string {
	out, _ := json.Marshal(v)
	return string(out)
}

func TestCapacityIsNeverExceededNorOnTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fleet(t)
		p := Decide(in)
		before := usage(in, in.Shares)
		now := map[[2]string]int{}
		for _, s := range in.Shares {
			now[[2]string{s.Name, s.Node}] += s.Count
		}
		held := map[string]bool{}
		holds := map[string]cost{}
		for _, d := range in.Demands {
			held[d.Name] = d.Hold
		}
		for _, s := range in.Shares {
			if held[s.Name] {
				holds[s.Node] = holds[s.Node].plus(usage(in, []Share{{s.Name, s.Node, 1}})[s.Node], s.Count)
			}
		}
		check := func(when string, raised map[string]cost) {
			var shares []Share
			for k, n := range now {
				shares = append(shares, Share{k[0], k[1], n})
			}
			used := usage(in, shares)
			for _, h := range in.Hosts {
				u := used[h.Name]
				if h.Alive && (u.cpu > max(h.CPU, before[h.Name].cpu) || u.mem > max(h.Memory, before[h.Name].mem)) {
					t.Fatalf("%s: %s has %v of %d, %d\n%s", when, h.Name, u, h.CPU, h.Memory, text(p))
				}
				if r := raised[h.Name]; r.cpu > 0 && u.cpu > max(h.CPU, holds[h.Name].cpu) || r.mem > 0 && u.mem > max(h.Memory, holds[h.Name].mem) {
					t.Fatalf("%s: %s was raised to %v of %d, %d\n%s", when, h.Name, u, h.CPU, h.Memory, text(p))
				}
			}
		}
		for i, w := range p.Waves {
			raised := map[string]cost{}
			for _, s := range w {
				k := [2]string{s.Name, s.Node}
				if now[k] != s.From {
					t.Fatalf("wave %d: %+v begins at %d", i, s, now[k])
				}
				now[k] = s.To
				if s.To > s.From {
					raised[s.Node] = raised[s.Node].plus(usage(in, []Share{{s.Name, s.Node, 1}})[s.Node], 1)
				}
			}
			check(fmt.Sprintf("wave %d", i), raised)
		}
		for _, s := range p.Services {
			for _, n := range s.Nodes {
				if now[[2]string{s.Name, n.Node}] != n.Want {
					t.Fatalf("waves end with %d of %s on %s, not %d\n%s", now[[2]string{s.Name, n.Node}], s.Name, n.Node, n.Want, text(p))
				}
			}
		}
		for _, h := range in.Hosts {
			u := usage(in, After(in, p).Shares)[h.Name]
			if h.Alive && (u.cpu > max(h.CPU, holds[h.Name].cpu) || u.mem > max(h.Memory, holds[h.Name].mem)) {
				t.Fatalf("in the end %s has %v of %d, %d", h.Name, u, h.CPU, h.Memory)
			}
		}
	})
}

func TestAServiceNeverHasLessOnTheWayThanBeforeAndAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fleet(t)
		p := Decide(in)
		gone := map[string]bool{}
		for _, h := range in.Hosts {
			gone[h.Name] = !h.Alive
		}
		bounds, now, overlap := map[string][2]int{}, map[string]int{}, map[string]bool{}
		for _, d := range in.Demands {
			overlap[d.Name] = !d.NoOverlap
		}
		for _, s := range p.Services {
			before, after := 0, 0
			for _, n := range s.Nodes {
				if !gone[n.Node] {
					before, after = before+n.Now, after+n.Want
				}
			}
			now[s.Name], bounds[s.Name] = before, [2]int{min(before, after), max(before, after)}
		}
		left := map[[2]string]int{}
		for _, s := range p.Services {
			for _, n := range s.Nodes {
				if n.Want > n.Now && !gone[n.Node] {
					left[[2]string{s.Name, n.Node}] = n.Want - n.Now
				}
			}
		}
		shares := map[[2]string]int{}
		for _, s := range in.Shares {
			shares[[2]string{s.Name, s.Node}] += s.Count
		}
		for i, w := range p.Waves {
			fits := raisesThatFit(in, shares, left, now, bounds, overlap)
			for _, s := range w {
				shares[[2]string{s.Name, s.Node}] = s.To
				if s.To > s.From {
					left[[2]string{s.Name, s.Node}] -= s.To - s.From
				}
				if !gone[s.Node] {
					now[s.Name] += s.To - s.From
				}
			}
			for _, s := range w {
				if n := now[s.Name]; n < bounds[s.Name][0] && s.To < s.From && !gone[s.Node] && overlap[s.Name] && fits != "" {
					t.Fatalf("wave %d: %s has %d, below %v, though %s could be raised\n%s", i, s.Name, n, bounds[s.Name], fits, text(p))
				}
			}
			for name, n := range now {
				if n > bounds[name][1] && !overlap[name] {
					t.Fatalf("wave %d: %s runs twice: %d, above %v\n%s", i, name, n, bounds[name], text(p))
				}
			}
		}
	})
}

// raisesThatFit names a step up that has room; "" when steps down must come first.
func raisesThatFit(in Input, shares, left map[[2]string]int, now map[string]int, bounds map[string][2]int, overlap map[string]bool) string {
	var all []Share
	for k, n := range shares {
		all = append(all, Share{k[0], k[1], n})
	}
	used := usage(in, all)
	for _, d := range in.Demands {
		for _, h := range in.Hosts {
			u := used[h.Name].plus(cost{d.CPU, d.Memory}, 1)
			if left[[2]string{d.Name, h.Name}] > 0 && (d.CPU == 0 || u.cpu <= h.CPU) && (d.Memory == 0 || u.mem <= h.Memory) && (overlap[d.Name] || now[d.Name] < bounds[d.Name][1]) {
				return d.Name + " on " + h.Name
			}
		}
	}
	return ""
}

func TestTheOrderOfTheInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fleet(t)
		p := Decide(in)
		other := in
		other.Demands = rapid.Permutation(in.Demands).Draw(t, "demands")
		other.Hosts = rapid.Permutation(in.Hosts).Draw(t, "hosts")
		other.Shares = rapid.Permutation(in.Shares).Draw(t, "shares")
		other.Pools = rapid.Permutation(in.Pools).Draw(t, "pools")
		if q := Decide(other); !reflect.DeepEqual(p, q) {
			t.Fatalf("order matters:\n%s\n%s", text(p), text(q))
		}
	})
}

// A node that is given back may be just what another pool waits for; then a few plans follow one another.
func TestPlanningAgainOnTheResultGivesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fleet(t)
		p := Decide(in)
		history := ""
		for range 2*len(in.Hosts) + 2 {
			history += short(p) + "\n"
			before := in
			in = After(in, p)
			q := Decide(in)
			if len(q.Waves)+len(q.Loans) == 0 {
				return
			}
			if !slices.ContainsFunc(p.Loans, func(l Loan) bool { return l.Kind == Return }) && !freed(before, p) {
				t.Fatalf("input\n%s\nfirst\n%s\nthen\n%s", text(in), short(p), short(q))
			}
			p = q
		}
		t.Fatalf("never comes to rest:\n%s\n%s", text(in), history)
	})
}

// freed reports whether a plan empties a host of the free pool, where services should not be.
func freed(in Input, p Plan) bool {
	return slices.ContainsFunc(in.Hosts, func(h Host) bool {
		return h.Pool == "free" && slices.ContainsFunc(p.Services, func(s Placement) bool {
			return slices.ContainsFunc(s.Nodes, func(n Seat) bool { return n.Node == h.Name && n.Want < n.Now })
		})
	})
}

// short leaves out what does not change.
func short(p Plan) string {
	return fmt.Sprintf("waves %v loans %v short %v", p.Waves, p.Loans, p.Short)
}

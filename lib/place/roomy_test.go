package place

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// roomy draws a fleet with room for everything, and places it.
func roomy(t *rapid.T) Input {
	in := Input{At: 1_000_000, Pools: []Pool{{Name: "a"}}}
	for i := range rapid.IntRange(3, 9).Draw(t, "hosts") {
		in.Hosts = append(in.Hosts, Host{
			Name: fmt.Sprintf("n%d", i), Zone: []string{"x", "y", "z"}[i%3], Pool: "a", Alive: true,
			CPU: int64(rapid.IntRange(100, 200).Draw(t, "cpu")) * 1000, Memory: 1000 * gib,
		})
	}
	for i := range rapid.IntRange(1, 8).Draw(t, "services") {
		d := demand(t, fmt.Sprintf("app/s%d", i))
		d.Pool, d.Max, d.PerNode, d.Hold, d.NoOverlap = "a", 0, 0, false, false
		d.Min = min(d.Min, d.Size)
		in.Demands = append(in.Demands, d)
	}
	return After(in, Decide(in))
}

func find2(p Plan, name string) Placement {
	for _, s := range p.Services {
		if s.Name == name {
			return s
		}
	}
	return Placement{}
}

func TestAnyLossLeavesWhatIsNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := roomy(t)
		zone := map[string]string{}
		for _, h := range in.Hosts {
			zone[h.Name] = h.Zone
		}
		for _, d := range in.Demands {
			if d.Fixed || d.Size == 0 || d.Survive == None {
				continue
			}
			sum, lost := 0, map[string]int{}
			for _, s := range in.Shares {
				if s.Name != d.Name {
					continue
				}
				sum += s.Count
				if d.Survive == Node {
					lost[s.Node] += s.Count
				} else {
					lost[zone[s.Node]] += s.Count
				}
			}
			for what, n := range lost {
				if sum-n < d.Remain {
					t.Fatalf("%+v\nwithout %s there are %d of %d\n%v", d, what, sum-n, sum, in.Shares)
				}
			}
		}
	})
}

func TestSharesAreAsEvenAsAskedAndOnEnoughNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := roomy(t)
		for _, d := range in.Demands {
			var shares []int
			sum := 0
			for _, s := range in.Shares {
				if s.Name == d.Name {
					shares = append(shares, s.Count)
					sum += s.Count
				}
			}
			least := min(max(d.MinNodes, 1), len(in.Hosts), sum)
			if d.Size > 0 && len(shares) < least || d.Fixed && sum != d.Size || !d.Fixed && sum < d.Size || d.Size == 0 && sum > 0 {
				t.Fatalf("%+v is on %v", d, shares)
			}
			for _, n := range shares {
				most := (sum*5 + 4*len(shares) - 1) / (4 * len(shares))
				if d.Spread == Equal {
					most = (sum + len(shares) - 1) / len(shares)
				}
				if n > most && (d.Spread == Equal || d.Survive != Zone) || d.Spread == Equal && n < sum/len(shares) {
					t.Fatalf("%+v is on %v", d, shares)
				}
			}
		}
	})
}

func TestASmallChangeOfOneServiceMovesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := roomy(t)
		k := rapid.IntRange(0, len(in.Demands)-1).Draw(t, "which")
		next := in
		next.Demands = append([]Demand{}, in.Demands...)
		next.Demands[k].Size = max(in.Demands[k].Size+rapid.IntRange(-2, 2).Draw(t, "change"), 0)
		p := Decide(next)
		for _, s := range p.Services {
			if s.Name == next.Demands[k].Name {
				continue
			}
			for _, n := range s.Nodes {
				if n.Now != n.Want {
					t.Fatalf("%s moved because %s changed: %+v", s.Name, next.Demands[k].Name, s)
				}
			}
		}
	})
}

func TestGrowthRaisesOnlyAndShrinkingLowersOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := roomy(t)
		k := rapid.IntRange(0, len(in.Demands)-1).Draw(t, "which")
		d := in.Demands[k]
		if d.Spread == Equal || d.Survive != None || d.Size == 0 {
			return
		}
		next := in
		next.Demands = append([]Demand{}, in.Demands...)
		next.Demands[k].Size += rapid.IntRange(-min(d.Size, 5), 8).Draw(t, "change")
		if p := Decide(next); p.Moves > 0 {
			t.Fatalf("%+v", p.Waves)
		}
	})
}

func TestTheLossOfANodeMovesOnlyWhatRanThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := roomy(t)
		k := rapid.IntRange(0, len(in.Hosts)-1).Draw(t, "which")
		next := in
		next.Hosts = append([]Host{}, in.Hosts...)
		next.Hosts[k].Alive = false
		p := Decide(next)
		for _, s := range p.Services {
			there := false
			for _, n := range s.Nodes {
				there = there || n.Node == in.Hosts[k].Name
			}
			for _, n := range s.Nodes {
				if !there && n.Now != n.Want {
					t.Fatalf("%s moved and did not run on %s: %+v", s.Name, in.Hosts[k].Name, s)
				}
			}
			for _, d := range in.Demands {
				if d.Name == s.Name && (d.Fixed && s.Total != d.Size || s.Total < d.Size) {
					t.Fatalf("%d of %d %s left", s.Total, d.Size, s.Name)
				}
			}
		}
	})
}

// In a pool of workers of one size nobody has more than its minimum while another has less.
func TestMinimumIsKeptWherePossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{At: 1_000_000, Pools: []Pool{{Name: "a"}}}
		for i := range rapid.IntRange(1, 4).Draw(t, "hosts") {
			in.Hosts = append(in.Hosts, Host{Name: fmt.Sprintf("n%d", i), Pool: "a", Alive: true, CPU: int64(rapid.IntRange(1, 5).Draw(t, "cpu")) * 1000, Memory: gib})
		}
		for i := range rapid.IntRange(1, 5).Draw(t, "services") {
			d := Demand{
				Name: fmt.Sprintf("app/s%d", i), Size: rapid.IntRange(0, 8).Draw(t, "size"), Min: rapid.IntRange(0, 3).Draw(t, "min"),
				CPU: 1000, Pool: "a", VIP: rapid.Bool().Draw(t, "vip"),
			}
			in.Demands = append(in.Demands, d)
			for _, h := range in.Hosts {
				in.Shares = append(in.Shares, Share{d.Name, h.Name, rapid.IntRange(0, 3).Draw(t, "share")})
			}
		}
		p := Decide(in)
		floor := func(d Demand) int { return min(max(d.Min, 1), d.Size) }
		used, room := 0, 0
		for _, h := range in.Hosts {
			room += int(h.CPU / 1000)
		}
		for _, s := range p.Services {
			used += s.Total
		}
		for i, d := range in.Demands {
			if s := find2(p, d.Name); s.Total < d.Size && used < room {
				t.Fatalf("%s has %d of %d, and %d of %d are used", d.Name, s.Total, d.Size, used, room)
			}
			if find2(p, d.Name).Total >= floor(d) {
				continue
			}
			for k, o := range in.Demands {
				if got := find2(p, o.Name).Total; k != i && got > floor(o) || k != i && got > 0 && d.VIP && !o.VIP {
					t.Fatalf("%s has %d of at least %d, while %s has %d of at least %d\n%s\n%s", d.Name, find2(p, d.Name).Total, floor(d), o.Name, got, floor(o), text(in), text(p))
				}
			}
		}
		for _, d := range in.Demands {
			if !d.VIP || find2(p, d.Name).Total == d.Size {
				continue
			}
			for _, o := range in.Demands {
				if got := find2(p, o.Name).Total; !o.VIP && got > floor(o) {
					t.Fatalf("vip %s has %d of %d, while %s has %d, above its minimum\n%s\n%s", d.Name, find2(p, d.Name).Total, d.Size, o.Name, got, text(in), text(p))
				}
			}
		}
	})
}

func TestStateOfTheInputIsNotChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fleet(t)
		before := text(in)
		Decide(in)
		if after := text(in); before != after {
			t.Fatalf("before %s\nafter  %s", before, after)
		}
		if p, q := Decide(in), Decide(in); !reflect.DeepEqual(p, q) {
			t.Fatal("the same input gives two plans")
		}
	})
}

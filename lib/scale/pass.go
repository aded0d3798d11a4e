package scale

import (
	"cmp"
	"slices"
)

func pass(s PassState, at int64, all []Candidate, pools []PoolHealth) ([]Outcome, [2]FleetVerdict, PassState) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	group := func(i int) int {
		if all[i].Policy.VIP {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(all[a].Name, all[b].Name))
	})
	in := [2]FleetInput{{At: at, Pools: pools}, {At: at, Pools: pools}}
	for _, i := range order {
		g := group(i)
		in[g].Services = append(in[g].Services, FleetService{Name: all[i].Name, Workers: all[i].Input.Size, Collapsed: all[i].State.Guard.Since})
	}
	var verdicts [2]FleetVerdict
	verdicts[0], s.VIP = Fleet(s.VIP, in[0])
	verdicts[1], s.Normal = Fleet(s.Normal, in[1])
	out := make([]Outcome, 0, len(all))
	for _, i := range order {
		c := &all[i]
		input := c.Input
		// What a person froze goes before the guard.
		if v := verdicts[group(i)]; !input.Freeze.any(at) && v.Freeze.Mode != NotFrozen {
			input.Freeze = v.Freeze
		}
		d, next := Decide(c.Policy, c.State, input)
		out = append(out, Outcome{Name: c.Name, VIP: c.Policy.VIP, Decision: d, State: next})
	}
	return out, verdicts, s
}

package survey

import (
	"cmp"
	"maps"
	"slices"

	"svckit/lib/place"
	"svckit/lib/planner"
)

// memoryShare of a node is for services; the rest is the system's.
const memoryShare = 0.9

// nodes are the hosts of the fleet, by name: their own meta says pool and zone,
// and what was said of them by hand or by loans goes before that.
func nodes(f Facts) []planner.Node {
	type said struct {
		pool string
		planner.Member
	}
	members := map[string]said{}
	for _, p := range f.Pools {
		for _, m := range p.Nodes {
			if old, ok := members[m.Node]; !ok || old.pool > p.Name { // in two pools: the first by name
				members[m.Node] = said{p.Name, m}
			}
		}
	}
	var out []planner.Node
	for _, m := range f.Monitors {
		r, ok := f.Reports[m.Node]
		n := planner.Node{Host: place.Host{Name: m.Node, Zone: m.Zone, Pool: cmp.Or(m.Pool, DefaultPool), Alive: m.Alive}}
		n.CPU, n.Memory = int64(r.Sample.CPUs)*1000, int64(float64(r.Sample.Memory)*memoryShare)
		if r.Sample.CPUs > 0 {
			n.Load = max(r.Sample.CPUUsed, 0) / float64(r.Sample.CPUs)
		}
		n.Silent = m.Alive && (!ok || f.At-r.At > freshFor)
		if s, ok := members[m.Node]; ok {
			n.Pool, n.Home, n.Due, n.Draining, n.Leaving = s.pool, s.Home, s.Due, s.Draining, s.Leaving
		}
		out = append(out, n)
	}
	// A node that has no monitor any more still has what it was told.
	there := map[string]bool{}
	for _, n := range out {
		there[n.Name] = true
	}
	for _, x := range f.Placed {
		if !there[x.Node] {
			there[x.Node] = true
			out = append(out, planner.Node{Host: place.Host{Name: x.Node, Pool: DefaultPool}})
		}
	}
	slices.SortFunc(out, func(a, b planner.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// pools are those that are written down, and those that only a node or a service names.
func pools(f Facts) []place.Pool {
	all := map[string]place.Pool{}
	for _, name := range named(f) {
		all[name] = place.Pool{Name: name}
	}
	for _, p := range f.Pools {
		all[p.Name] = p.Pool
	}
	out := slices.Collect(maps.Values(all))
	slices.SortFunc(out, func(a, b place.Pool) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func named(f Facts) []string {
	out := []string{DefaultPool}
	for _, m := range f.Monitors {
		out = append(out, cmp.Or(m.Pool, DefaultPool))
	}
	for _, v := range f.Services {
		out = append(out, cmp.Or(v.Spec.Scale.Pool, DefaultPool))
	}
	return out
}

// Lend carries a plan's loans over into the pools, and returns those that changed.
func Lend(pools []planner.Membership, loans []place.Loan, own map[string]string) []planner.Membership {
	byName := map[string]*planner.Membership{}
	for i := range pools {
		p := pools[i]
		p.Nodes = slices.Clone(p.Nodes)
		byName[p.Name] = &p
	}
	changed := map[string]bool{}
	get := func(name string) *planner.Membership {
		if byName[name] == nil {
			byName[name] = &planner.Membership{Pool: place.Pool{Name: name}}
		}
		changed[name] = true
		return byName[name]
	}
	take := func(pool, node string) planner.Member {
		p := get(pool)
		m := planner.Member{Node: node}
		p.Nodes = slices.DeleteFunc(p.Nodes, func(x planner.Member) bool {
			if x.Node == node {
				m = x
			}
			return x.Node == node
		})
		return m
	}
	put := func(pool string, m planner.Member) {
		p := get(pool)
		p.Nodes = append(p.Nodes, m)
		slices.SortFunc(p.Nodes, func(a, b planner.Member) int { return cmp.Compare(a.Node, b.Node) })
	}
	for _, l := range loans {
		switch l.Kind {
		case place.Borrow:
			m := take(l.From, l.Node)
			m.Home, m.Leaving, m.Why = cmp.Or(m.Home, l.From), false, l.Reason
			if l.Due != 0 {
				m.Due = l.Due
			}
			put(l.To, m)
		case place.Leave, place.Recall, place.Keep:
			m := take(l.From, l.Node)
			m.Leaving, m.Why = l.Kind != place.Keep, l.Reason
			put(l.From, m)
		case place.Return:
			m := take(l.From, l.Node)
			if l.To == own[l.Node] {
				continue // its own meta says where it is
			}
			if m.Leaving = false; l.To == m.Home {
				m.Home, m.Due = "", 0
			}
			put(l.To, m)
		}
	}
	var out []planner.Membership
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		out = append(out, *byName[name])
	}
	return out
}

package planner

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"svckit/lib/place"
	"svckit/lib/scale"
)

// A pool of which more than this share and more than this number of nodes are
// gone at once is taken for a cut in the network: nothing is placed anew in it.
const (
	cutShare = 0.45
	cutMore  = 3
)

// Decide makes the plan of a snapshot.
func Decide(s Snapshot) Plan {
	f := newFleet(s)
	candidates := make([]scale.Candidate, 0, len(s.Services))
	byName := make(map[string]int, len(s.Services))
	for i := range s.Services {
		v := &s.Services[i]
		byName[v.Name] = i
		if v.Hold == "" {
			candidates = append(candidates, scale.Candidate{Name: v.Name, Policy: v.Policy, State: v.State, Input: f.input(v)})
		}
	}
	inputs := make(map[string]int, len(candidates))
	for i := range candidates {
		inputs[candidates[i].Name] = i
	}
	outcomes, verdicts, sizes := scale.Pass(s.Memory.Sizes, s.At, candidates, f.health)
	out := Plan{At: s.At, Fleet: verdicts, Services: make([]Sized, 0, len(outcomes)), Held: []Held{}, Unreadable: append([]Unreadable{}, s.Unreadable...)}
	in := place.Input{At: s.At, Pools: s.Pools, Shares: s.Placed, State: s.Memory.Place, Rules: place.Defaults()}
	if s.Rules != nil {
		in.Rules = *s.Rules
	}
	in.Demands = make([]place.Demand, 0, len(s.Services))
	// By name, each moved once: they are large.
	order := make([]int, len(outcomes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(outcomes[a].Name, outcomes[b].Name) })
	for _, i := range order {
		o := &outcomes[i]
		v := &s.Services[byName[o.Name]]
		sized := Sized{
			Name: o.Name, VIP: o.VIP, Decision: o.Decision, State: o.State,
			Remain: remain(v, o), Input: candidates[inputs[o.Name]].Input,
		}
		out.Services = append(out.Services, sized)
		d := demand(v, o.Decision.Size, sized.Remain)
		d.Fixed = d.Fixed || o.Decision.Reason == scale.Fixed || o.Decision.Reason == scale.ByHand
		if why := f.hold(v, &o.Decision); why != "" {
			d.Hold = true
			out.Held = append(out.Held, Held{v.Name, why})
		}
		in.Demands = append(in.Demands, d)
	}
	for i := range s.Services {
		if v := &s.Services[i]; v.Hold != "" {
			d := demand(v, 0, 0)
			d.Hold = true
			in.Demands = append(in.Demands, d)
			out.Held = append(out.Held, Held{v.Name, v.Hold})
		}
	}
	in.Hosts = make([]place.Host, len(s.Nodes))
	for i := range s.Nodes {
		in.Hosts[i] = s.Nodes[i].Host
	}
	slices.SortFunc(out.Held, func(a, b Held) int { return cmp.Compare(a.Name, b.Name) })
	out.in, out.Place = in, place.Decide(in)
	out.Memory = Memory{Sizes: sizes, Place: out.Place.State}
	return out
}

// demand is what placement is asked for.
func demand(v *Service, size, left int) place.Demand {
	p := &v.Policy
	low, high := p.Min, p.Max
	if h := p.Hand; h != nil && h.Size != nil {
		low, high = size, size
	}
	return place.Demand{
		Name: v.Name, Unit: v.Shape.Unit, Size: size, Min: low, Max: high, Remain: left, MinNodes: p.MinNodes,
		Spread: v.Shape.Spread, Survive: place.Survive(p.Survive), CPU: v.Shape.CPU, Memory: v.Shape.Memory, PerNode: v.Shape.PerNode,
		Pool: p.Pool, VIP: p.VIP, Fixed: v.Shape.Fixed, NoOverlap: v.Shape.NoOverlap,
	}
}

// After a loss at most keepShare of the requests may wait longer than keepWait
// seconds, without anybody doing anything.
const (
	keepShare = 0.05
	keepWait  = 0.25
)

// remain is what must be left of a service after a loss: its floor, and enough
// workers for its promise. What that takes follows the demand from tick to tick;
// what is asked of placement rises with it at once, and falls only as the size
// does, which has its holds. So noise moves nothing, and a missing signal never
// makes a service thinner.
func remain(v *Service, o *scale.Outcome) int {
	d := &o.Decision
	if d.Reason == scale.Fixed || d.Reason == scale.ByHand {
		return 0 // a number is a number
	}
	need := d.Floor
	if st := v.Policy.Strategy; st == scale.BusyRatio || st == scale.RPSRatio {
		for _, x := range o.State.Signals {
			need = max(need, min(scale.StaffWait(x.Demand, keepShare, keepWait, x.S, 1), max(d.Size, d.Floor)))
		}
	}
	switch {
	case need >= v.Remain:
		return need
	case d.Size < d.From && d.From > 0:
		return max(need, int(math.Ceil(float64(v.Remain)*float64(d.Size)/float64(d.From))))
	}
	return min(v.Remain, max(d.Size, need))
}

// fleet is what the snapshot says about all services at once.
type fleet struct {
	s         *Snapshot
	health    []scale.PoolHealth
	pools     map[string]*room
	placed    map[string]int          // service → workers
	freezes   map[string]scale.Freeze // "pool NAME", "service NAME", "all"
	announced map[string][]scale.Announcement
}

// room is what a pool has.
type room struct {
	nodes, silent, gone int
	zones               map[string]bool
	cpu, memory         int64 // of its alive nodes and those it may borrow
	usedCPU, usedMemory int64
	cut                 bool
}

func newFleet(s Snapshot) *fleet {
	f := &fleet{
		s: &s, pools: map[string]*room{}, placed: make(map[string]int, len(s.Services)),
		freezes: map[string]scale.Freeze{}, announced: map[string][]scale.Announcement{},
	}
	f.addNodes()
	for _, x := range s.Placed {
		f.placed[x.Name] += x.Count
	}
	for i := range s.Services {
		v := &s.Services[i]
		if r, n := f.pools[v.Policy.Pool], int64(f.placed[v.Name]); r != nil {
			r.usedCPU, r.usedMemory = r.usedCPU+n*v.Shape.CPU, r.usedMemory+n*v.Shape.Memory
		}
	}
	for _, z := range s.Freezes {
		key := z.Scope
		if z.Scope != "all" {
			key += " " + z.Name
		}
		f.freezes[key] = strictest(f.freezes[key], z.Freeze, s.At)
	}
	for _, a := range s.Announced {
		f.announced[a.Service] = append(f.announced[a.Service], a.Announcement)
	}
	for _, list := range f.announced {
		slices.SortFunc(list, func(a, b scale.Announcement) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.From, b.From)) })
	}
	return f
}

func (f *fleet) addNodes() {
	free := map[bool][2]int64{} // for vip pools: all free nodes; for the others: those beyond the reserve
	class := map[string]place.Class{}
	reserve := map[string]int{}
	for _, p := range f.s.Pools {
		class[p.Name], reserve[p.Name] = p.Class, p.Reserve
		f.pools[p.Name] = &room{zones: map[string]bool{}}
	}
	nodes := slices.Clone(f.s.Nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	lent := map[string]int{}
	for _, n := range nodes {
		r := f.pools[n.Pool]
		if r == nil {
			r = &room{zones: map[string]bool{}}
			f.pools[n.Pool] = r
		}
		r.nodes++
		switch {
		case !n.Alive:
			r.gone++
		case n.Silent:
			r.silent++
		}
		if !n.Alive || n.Draining {
			continue
		}
		if class[n.Pool] == place.Free {
			free[true] = [2]int64{free[true][0] + n.CPU, free[true][1] + n.Memory}
			if reserve[n.Pool]--; reserve[n.Pool] < 0 {
				free[false] = [2]int64{free[false][0] + n.CPU, free[false][1] + n.Memory}
			}
			continue
		}
		r.zones[n.Zone] = true
		r.cpu, r.memory = r.cpu+n.CPU, r.memory+n.Memory
		if n.Home != "" && n.Home != n.Pool {
			lent[n.Pool]++
		}
	}
	for _, p := range f.s.Pools {
		if r := f.pools[p.Name]; p.Loans > lent[p.Name] && p.Class != place.Free {
			more := free[p.Class == place.VIP]
			r.cpu, r.memory = r.cpu+more[0], r.memory+more[1]
		}
	}
	names := make([]string, 0, len(f.pools))
	for name := range f.pools {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := f.pools[name]
		r.cut = r.gone > cutMore && float64(r.gone) > cutShare*float64(r.nodes)
		f.health = append(f.health, scale.PoolHealth{Pool: name, Nodes: r.nodes, Silent: r.silent + r.gone})
	}
}

// input is what a service is sized from.
func (f *fleet) input(v *Service) scale.Input {
	in := scale.Input{
		At: f.s.At, Size: f.placed[v.Name], Ready: v.Seen.Ready, Starting: v.Seen.Starting, Signals: v.Seen.Signals,
		Offsets: v.Seen.Offsets, Announced: f.announced[v.Name], Expected: v.Seen.Expected, Settling: v.Seen.Settling, Freeze: f.freeze(v),
	}
	if v.State.At != 0 {
		in.Size = v.State.Size
	}
	r := f.pools[v.Policy.Pool]
	if r == nil {
		return in
	}
	in.Nodes, in.Zones = r.nodes-r.gone, len(r.zones)
	in.Capacity = f.capacity(v, r)
	return in
}

// capacity is how many workers of a service its pool has room for: what it has
// and what is free; a vip service may have all.
func (f *fleet) capacity(v *Service, r *room) int {
	has := int64(f.placed[v.Name])
	n := int64(scale.MaxSize)
	for _, x := range [][3]int64{{v.Shape.CPU, r.cpu, r.usedCPU}, {v.Shape.Memory, r.memory, r.usedMemory}} {
		each, all, used := x[0], x[1], x[2]
		switch {
		case each <= 0:
		case v.Policy.VIP:
			n = min(n, all/each)
		default:
			n = min(n, has+max(all-used, 0)/each)
		}
	}
	return int(max(n, has, 1))
}

// freeze is the strictest freeze that a service is under.
func (f *fleet) freeze(v *Service) scale.Freeze {
	out := f.freezes["all"]
	for _, key := range []string{"pool " + v.Policy.Pool, "service " + v.Name} {
		out = strictest(out, f.freezes[key], f.s.At)
	}
	return out
}

// strictest returns the freeze that allows less; the first of two equal ones.
func strictest(a, b scale.Freeze, at int64) scale.Freeze {
	rank := func(z scale.Freeze) int {
		if z.Until != 0 && z.Until <= at {
			return 0
		}
		return slices.Index([]scale.FreezeMode{scale.NotFrozen, scale.NoDown, scale.NoChange, scale.Observe}, z.Mode)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// hold says why placement must leave a service alone, "" when it need not.
func (f *fleet) hold(v *Service, d *scale.Decision) string {
	z := f.freeze(v)
	if z.Until != 0 && z.Until <= f.s.At {
		z = scale.Freeze{}
	}
	switch {
	case z.Mode == scale.NoChange:
		return words("frozen", z)
	case z.Mode == scale.Observe || !d.Act:
		return words("observed only", z)
	}
	if r := f.pools[v.Policy.Pool]; r != nil && r.cut {
		return fmt.Sprintf("%d of %d nodes of pool %s are gone at once: taken for a cut in the network", r.gone, r.nodes, v.Policy.Pool)
	}
	return ""
}

func words(what string, z scale.Freeze) string {
	if z.Who != "" {
		what += " by " + z.Who
	}
	if z.Why != "" {
		what += ": " + z.Why
	}
	return what
}

// After returns the snapshot of the next moment once the plan has been reached,
// with nothing new seen: sizes, shares, loans and what is remembered.
func After(s Snapshot, p Plan) Snapshot {
	hosts := make([]place.Host, len(s.Nodes))
	for i := range s.Nodes {
		hosts[i] = s.Nodes[i].Host
	}
	next := place.After(place.Input{Hosts: hosts, Shares: s.Placed}, p.Place)
	out := s
	out.Placed, out.Memory = next.Shares, p.Memory
	out.Nodes = slices.Clone(s.Nodes)
	for i := range next.Hosts {
		out.Nodes[i].Host = next.Hosts[i]
	}
	out.Services = slices.Clone(s.Services)
	for i := range out.Services {
		v := &out.Services[i]
		if k, ok := slices.BinarySearchFunc(p.Services, v.Name, func(x Sized, n string) int { return cmp.Compare(x.Name, n) }); ok {
			v.State, v.Remain = p.Services[k].State, p.Services[k].Remain
		}
	}
	return out
}

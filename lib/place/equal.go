package place

import (
	"cmp"
	"slices"
)

// equalize gives a service shares that differ by one at most: on the nodes that
// it has if they can take it, else on more, else on fewer, else fewer workers.
func (b *book) equalize(s *service) {
	x := b.open(s)
	p := &b.pools[s.pool]
	all := len(p.ladder.heap) + len(b.work)
	first := x.numbers()
	for _, flat := range []bool{false, true} {
		if x.flat = flat; x.fit(first, all) {
			x.close()
			return
		}
		if s.Survive != Zone {
			break
		}
	}
	if x.need.total > 0 {
		x.widest()
	} else {
		for k := range b.work {
			x.add(k, -b.work[k].n)
		}
	}
	x.close()
}

// worth is how many moves, which cost once, a worker is worth, which costs all the time.
const worth = 3

// numbers returns the numbers of nodes to try first: without the hosts that the
// pool wants back, if that costs nothing; else from those that it is on up to
// those that it should be on, in the order of what they cost in workers and moves.
func (x *shaper) numbers() []int {
	now := x.nodes()
	if n := x.withoutGuests(now); n > 0 {
		return []int{n, now}
	}
	if now == 0 {
		return []int{max(x.need.nodes, 1)}
	}
	shares := make([]int, 0, now)
	for _, w := range x.b.work {
		if w.n > 0 {
			shares = append(shares, w.n)
		}
	}
	slices.SortFunc(shares, func(a, b int) int { return cmp.Compare(b, a) })
	type option struct{ n, moves, total int }
	var options []option
	for n := max(now, x.need.least, 1); n <= max(now, x.need.nodes, x.need.least, 1); n++ {
		o := option{n: n, total: x.s.granted(x.s.wantAt(n, x.b.pools[x.s.pool].zones))}
		for i, has := range shares {
			o.moves += max(has-o.total/n-int(truth(i < o.total%n)), 0)
		}
		o.moves -= max(x.sum-o.total, 0) // these are lowered anyway
		options = append(options, o)
	}
	slices.SortFunc(options, func(a, b option) int {
		return cmp.Or(cmp.Compare(worth*a.total+max(a.moves, 0), worth*b.total+max(b.moves, 0)), cmp.Compare(a.n, b.n))
	})
	out := make([]int, len(options))
	for i, o := range options {
		out[i] = o.n
	}
	return out
}

// fit tries numbers of nodes: first these, then more, each step twice as wide, then fewer.
func (x *shaper) fit(first []int, all int) bool {
	for _, n := range first {
		if x.layout(n) {
			return true
		}
	}
	start := slices.Max(first)
	for step := 1; start+step <= all; step *= 2 {
		if x.layout(start + step) {
			return true
		}
	}
	for n := slices.Min(first) - 1; n >= x.need.least && n > 0; n-- {
		if x.layout(n) {
			return true
		}
	}
	return false
}

// withoutGuests returns the fewest nodes on which a service that is lowered fits
// without a raise anywhere and without more workers, when it leaves hosts that the
// pool gives back or has on loan; 0 when none can be left so.
func (x *shaper) withoutGuests(now int) int {
	if x.sum <= x.need.total {
		return 0
	}
	var own, guests []int
	for _, w := range x.b.work {
		switch h := &x.b.hosts[w.host]; {
		case w.n == 0:
		case h.leaving || h.guest:
			guests = append(guests, w.n)
		default:
			own = append(own, w.n)
		}
	}
	slices.SortFunc(guests, func(a, b int) int { return cmp.Compare(b, a) })
	shares := append(own, guests...)
	for n := max(x.need.least, len(own), 1); n < now; n++ {
		total := x.s.granted(x.s.wantAt(n, x.b.pools[x.s.pool].zones))
		least, more := total/n, 0
		for _, has := range shares[:n] {
			if has < least {
				more = -1
				break
			}
			more += int(truth(has > least))
		}
		if total <= x.need.total && more >= total%n && least > 0 {
			return n
		}
	}
	return 0
}

// layout puts the service on n nodes, if that goes, and does nothing if not.
func (x *shaper) layout(n int) bool {
	b, s := x.b, x.s
	zones := b.pools[s.pool].zones
	groups := 1
	if s.Survive == Zone && !x.flat && zones > 1 && n > 1 {
		if groups = min(zones, n); groups == zones {
			n = min(ceil(n, zones), b.pools[s.pool].perZone) * zones
		}
	}
	total := s.granted(s.wantAt(n, zones))
	if n > total {
		if groups == 1 {
			return false
		}
		groups = min(groups, max(total, 1))
		n = total / groups * groups
	}
	if n == 0 {
		return false
	}
	q, extra := total/n, total%n
	if s.PerNode > 0 && ceil(total, n) > s.PerNode {
		return false
	}
	target := x.choose(n/groups, groups, q, extra > 0)
	if len(target) < n || !x.extras(target, groups, q, extra) {
		return false
	}
	x.apply(target)
	return true
}

// choose picks so many hosts of each group that can have q workers each: those
// with the most now, then the least used ones, if possible with room for one more.
func (x *shaper) choose(each, groups, q int, more bool) []spot {
	b := x.b
	kept := make([]spot, 0, len(b.work))
	for _, w := range b.work {
		if w.n > 0 && w.n+b.hosts[w.host].room(x.s, q) >= q {
			kept = append(kept, w)
		}
	}
	slices.SortFunc(kept, func(a, c spot) int {
		ha, hc := &b.hosts[a.host], &b.hosts[c.host]
		return cmp.Or(cmp.Compare(truth(ha.leaving), truth(hc.leaving)), cmp.Compare(truth(ha.guest), truth(hc.guest)), cmp.Compare(c.n, a.n), cmp.Compare(ha.rank, hc.rank), cmp.Compare(a.host, c.host))
	})
	count := make([]int, len(b.zones))
	group := func(h int32) int32 {
		if groups == 1 {
			return 0
		}
		return b.hosts[h].zone
	}
	var out []spot
	chosen := map[int32]bool{}
	take := func(w spot) bool {
		if g := group(w.host); count[g] < each && !chosen[w.host] {
			count[g]++
			chosen[w.host] = true
			out = append(out, w)
		}
		return len(out) < each*groups
	}
	for _, w := range kept {
		if !take(w) {
			return out
		}
	}
	p := &b.pools[x.s.pool]
	for _, room := range []int{q + int(truth(more)), q} {
		if len(out) == each*groups || p.isFull(x.s) {
			break
		}
		full := true
		p.ladder.ascend(b.hosts, func(i int32) bool {
			has := b.hosts[i].room(x.s, room)
			full = full && has == 0
			if x.has(i) || has < room {
				return true
			}
			return take(spot{host: i})
		})
		if full {
			p.fullFor(x.s)
		}
	}
	return out
}

// extras sets the targets: q for each host, and one more for some, first where
// there already are more, spread over the groups.
func (x *shaper) extras(target []spot, groups, q, extra int) bool {
	b := x.b
	order := make([]int, 0, len(target))
	now := make([]int, len(target))
	for k := range target {
		now[k] = target[k].n
		target[k].n = q
		if now[k]+b.hosts[target[k].host].room(x.s, q+1) > q {
			order = append(order, k)
		}
	}
	slices.SortFunc(order, func(a, c int) int {
		ha, hc := &b.hosts[target[a].host], &b.hosts[target[c].host]
		return cmp.Or(cmp.Compare(truth(now[a] <= q), truth(now[c] <= q)), cmp.Compare(ha.rank, hc.rank), cmp.Compare(target[a].host, target[c].host))
	})
	most := ceil(extra, groups)
	count := make([]int, len(b.zones))
	for _, k := range order {
		if extra == 0 {
			break
		}
		if groups > 1 {
			z := b.hosts[target[k].host].zone
			if count[z] == most {
				continue
			}
			count[z]++
		}
		target[k].n++
		extra--
	}
	return extra == 0
}

// apply brings the service to a target.
func (x *shaper) apply(target []spot) {
	b := x.b
	want := make(map[int32]int, len(target))
	for _, w := range target {
		want[w.host] = w.n
	}
	down, up := 0, 0
	for k := range b.work {
		w := b.work[k]
		if n := want[w.host]; n < w.n {
			down += w.n - n
			x.add(k, n-w.n)
		}
	}
	for _, w := range target {
		k := slices.IndexFunc(b.work, func(s spot) bool { return s.host == w.host })
		if k < 0 {
			b.work = append(b.work, spot{host: w.host})
			k = len(b.work) - 1
		}
		if n := b.work[k].n; n < w.n {
			up += w.n - n
			x.add(k, w.n-n)
		}
	}
	if down > 0 && up > 0 {
		x.s.marks |= markEvened
	}
	x.need = b.needs(x.s, len(target))
}

// widest places as many workers as equal shares allow when there is not enough
// room for all. It never takes workers away for the sake of evenness.
func (x *shaper) widest() {
	b, s := x.b, x.s
	x.flat = true // to be there counts more than to survive
	var rooms []int
	put := func(i int32, n int) {
		n += b.hosts[i].room(s, x.need.total)
		if s.PerNode > 0 {
			n = min(n, s.PerNode)
		}
		if n > 0 {
			rooms = append(rooms, n)
		}
	}
	for _, w := range b.work {
		if w.n > 0 {
			put(w.host, w.n)
		}
	}
	for _, i := range b.pools[s.pool].ladder.heap {
		if !x.has(i) {
			put(i, 0)
		}
	}
	nodes, total := most(rooms, x.need)
	now := x.sum
	if total > now || total > 0 && total == now {
		grant := s.grant
		s.grant = total
		done := x.layout(nodes)
		s.grant = grant
		if done {
			x.need = b.needs(s, nodes)
			return
		}
	}
	s.marks |= markSkewed
}

// most returns on how many nodes with these rooms equal shares hold the most
// workers, and how many.
func most(rooms []int, w need) (nodes, total int) {
	slices.SortFunc(rooms, func(a, b int) int { return cmp.Compare(b, a) })
	for n := min(max(w.least, 1), len(rooms)); n > 0 && n <= len(rooms); n++ {
		q, extra := rooms[n-1], 0
		for extra < n && rooms[extra] > q {
			extra++
		}
		if t := min(n*q+extra, w.total); t > total {
			nodes, total = n, t
		}
	}
	return nodes, total
}

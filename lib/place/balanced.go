package place

import "cmp"

// spot is a host of the service at hand.
type spot struct {
	host int32
	n    int // of the service
	was  int
}

// shaper spreads one service over hosts of its pool, worker by worker.
type shaper struct {
	b    *book
	s    *service
	need need
	sum  int
	flat bool // equal shares without regard to zones
}

// open starts on a service: its usable hosts become spots, the others wait in its seats.
func (b *book) open(s *service) shaper {
	x := shaper{b: b, s: s}
	b.work = b.work[:0]
	b.clock++
	clear(b.sums)
	for _, t := range s.seats {
		h := &b.hosts[t.host]
		if !h.usable() || h.pool != s.pool {
			continue
		}
		b.stamp[t.host] = b.clock
		b.work = append(b.work, spot(t))
		b.sums[h.zone] += t.n
		x.sum += t.n
	}
	x.need = b.needs(s, x.nodes())
	return x
}

// nodes counts the spots with workers.
func (x *shaper) nodes() (n int) {
	for _, w := range x.b.work {
		if w.n > 0 {
			n++
		}
	}
	return n
}

func (x *shaper) add(k, n int) {
	w := &x.b.work[k]
	x.b.put(x.s, w.host, n)
	w.n += n
	x.sum += n
	x.b.sums[x.b.hosts[w.host].zone] += n
}

// balance gives a balanced service its workers where they are, and moves as few as it can.
func (b *book) balance(s *service) {
	x := b.open(s)
	x.lower()
	for x.sum < x.need.total {
		k := x.place(x.need.soft)
		if k < 0 {
			k = x.place(x.need.hard)
		}
		if k < 0 {
			break
		}
		x.add(k, 1)
		x.need = b.needs(s, x.nodes())
	}
	x.lower() // on more nodes fewer may do
	for x.nodes() < min(x.need.least, x.sum) {
		from, to := x.largest(-1), x.fresh(-1)
		if from < 0 || to < 0 || b.work[from].n < 2 {
			break
		}
		x.move(from, to)
	}
	x.even()
	x.close()
}

// lower takes what is too many.
func (x *shaper) lower() {
	for x.sum > x.need.total {
		k := x.lowest()
		if k < 0 {
			return
		}
		x.add(k, -1)
		x.need = x.b.needs(x.s, x.nodes())
	}
}

func (x *shaper) move(from, to int) {
	x.add(from, -1)
	x.add(to, 1)
	x.s.marks |= markEvened
}

// lowest chooses the spot that loses a worker: on a host that is to be left,
// else where there are too many, else on the emptiest host on loan, else on the
// most used host of those with the mean or more.
func (x *shaper) lowest() int {
	nodes := x.nodes()
	spare := nodes > x.need.least && x.s.granted(x.s.wantAt(nodes-1, x.b.pools[x.s.pool].zones)) < x.sum || x.need.total == 0
	best, bestKey := -1, [6]float64{}
	for k, w := range x.b.work {
		if w.n == 0 || w.n == 1 && !spare {
			continue
		}
		h := &x.b.hosts[w.host]
		key := [6]float64{
			truth(h.leaving), truth(w.n > x.need.hard) + truth(x.s.Survive == Zone && x.b.sums[h.zone] > x.need.zone),
			truth(w.n > x.need.soft), truth(h.guest) * (2 - h.level), truth(w.n*nodes >= x.sum), h.level,
		}
		if best < 0 || larger(key, bestKey) {
			best, bestKey = k, key
		}
	}
	return best
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func larger(a, b [6]float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

// place finds the spot for one more worker, -1: there is none. Too few nodes:
// a new one; else a spot it came from, else the least used, with at most `most`
// workers; else a new one.
func (x *shaper) place(most int) int {
	if x.nodes() < x.need.nodes {
		if k := x.fresh(-1); k >= 0 {
			return k
		}
	}
	best := -1
	for k, w := range x.b.work {
		h := &x.b.hosts[w.host]
		if w.n >= most || w.n == 0 && w.was == 0 || !x.zoneTakes(h, -1) || h.room(x.s, 1) == 0 || h.leaving && w.n >= w.was {
			continue
		}
		if best < 0 || x.better(k, best) {
			best = k
		}
	}
	if best < 0 {
		return x.fresh(-1)
	}
	return best
}

// better reports whether spot a suits one more worker better than spot b.
func (x *shaper) better(a, b int) bool {
	wa, wb := x.b.work[a], x.b.work[b]
	if back := wa.n < wa.was; back != (wb.n < wb.was) {
		return back
	}
	ha, hb := &x.b.hosts[wa.host], &x.b.hosts[wb.host]
	byZone := 0
	if x.s.Survive == Zone {
		byZone = cmp.Compare(x.b.sums[ha.zone], x.b.sums[hb.zone])
	}
	return cmp.Or(byZone, cmp.Compare(ha.rank, hb.rank), cmp.Compare(wa.host, wb.host)) < 0
}

// zoneTakes reports whether a zone may get one more; from is the zone that loses one, -1: none.
func (x *shaper) zoneTakes(h *host, from int32) bool {
	return x.s.Survive != Zone || h.zone == from || x.b.sums[h.zone] < x.need.zone
}

// fresh finds a host without the service that takes a worker, the least used
// of the emptiest zone it may use, and returns it as a new spot without workers; -1: there is none.
func (x *shaper) fresh(from int32) int {
	b, p := x.b, &x.b.pools[x.s.pool]
	if p.isFull(x.s) {
		return -1
	}
	found, full, least := int32(-1), true, x.emptiest()
	p.ladder.ascend(b.hosts, func(i int32) bool {
		h := &b.hosts[i]
		fits := h.room(x.s, 1) > 0
		full = full && !fits
		if !fits || x.has(i) || !x.zoneTakes(h, from) {
			return true
		}
		if found < 0 || b.sums[h.zone] < b.sums[b.hosts[found].zone] {
			found = i
		}
		return x.s.Survive == Zone && b.sums[b.hosts[found].zone] > least
	})
	switch {
	case found < 0:
		if full {
			p.fullFor(x.s)
		}
		return -1
	case b.stamp[found] == b.clock:
		for k := range b.work {
			if b.work[k].host == found {
				return k
			}
		}
	}
	b.stamp[found] = b.clock
	b.work = append(b.work, spot{host: found})
	return len(b.work) - 1
}

// emptiest returns the workers of the pool's zone that has the fewest.
func (x *shaper) emptiest() int {
	least := -1
	for z, n := range x.b.sums {
		if x.b.pools[x.s.pool].inZone[z] && (least < 0 || n < least) {
			least = n
		}
	}
	return max(least, 0)
}

// has reports whether the service has workers on a host.
func (x *shaper) has(i int32) bool {
	if x.b.stamp[i] != x.b.clock {
		return false
	}
	for _, w := range x.b.work {
		if w.host == i {
			return w.n > 0
		}
	}
	return false
}

// largest returns the spot with the most workers, of a zone or (-1) of all; -1: none.
func (x *shaper) largest(zone int32) int {
	best := -1
	for k, w := range x.b.work {
		if w.n == 0 || zone >= 0 && x.b.hosts[w.host].zone != zone {
			continue
		}
		if best < 0 || w.n > x.b.work[best].n || w.n == x.b.work[best].n && x.b.hosts[w.host].level > x.b.hosts[x.b.work[best].host].level {
			best = k
		}
	}
	return best
}

// even moves workers from where there are too many, as far as others have room.
func (x *shaper) even() {
	for range x.sum {
		k := x.largest(-1)
		if k < 0 {
			return
		}
		var to int
		if zone := x.fullZone(); zone >= 0 {
			if k, to = x.largest(zone), x.target(x.need.hard-1, zone); to < 0 {
				to = x.fresh(zone)
				if to >= 0 && x.b.hosts[x.b.work[to].host].zone == zone {
					to = -1
				}
			}
		} else if w := x.b.work[k]; w.n > x.need.hard {
			from := x.b.hosts[w.host].zone
			if to = x.target(min(x.need.hard-1, w.n-2), -1); to < 0 {
				to = x.fresh(from)
			}
		} else if w.n > x.need.soft {
			to = x.target(min(x.need.soft-1, w.n-2), -1)
		} else {
			return
		}
		if to < 0 {
			x.s.marks |= markSkewed
			return
		}
		x.move(k, to)
	}
}

// fullZone returns the zone with too many workers, -1: none.
func (x *shaper) fullZone() int32 {
	if x.s.Survive == Zone {
		for z, n := range x.b.sums {
			if n > x.need.zone {
				return int32(z)
			}
		}
	}
	return -1
}

// target finds the least used spot with at most `most` workers, not in a zone (-1: in any); -1: none.
func (x *shaper) target(most int, not int32) int {
	best := -1
	for k, w := range x.b.work {
		h := &x.b.hosts[w.host]
		if w.n > most || w.n == 0 || h.leaving || h.zone == not || !x.zoneTakes(h, -1) || h.room(x.s, 1) == 0 {
			continue
		}
		if best < 0 || x.better(k, best) {
			best = k
		}
	}
	return best
}

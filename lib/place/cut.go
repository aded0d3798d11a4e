package place

import "slices"

// cut makes room where services lack what others have beyond their due. The
// order of those who get something is: floors of vip services, floors of the
// others, the rest of vip services, the rest of the others. So the others give
// first, all the same part of what they have above their floors, and no more
// than is needed; then, for floors, vip services give; at last, for the floors
// of vip services, the others give all. A step that helps nobody is taken back;
// it reports whether one was kept.
func (b *book) cut() (changed bool) {
	for p := range b.pools {
		q := int32(p)
		if b.needy(q, false, false) {
			changed = b.attempt(q, func() { b.give(q, false, func() bool { return !b.needy(q, false, false) }) }) || changed
		}
		if b.needy(q, true, false) {
			changed = b.attempt(q, func() { b.give(q, true, func() bool { return !b.needy(q, true, false) }) }) || changed
		}
		if b.needy(q, true, true) {
			changed = b.attempt(q, func() {
				had := b.had(q)
				for _, i := range b.pools[q].members {
					if s := &b.services[i]; !s.Hold && !s.VIP {
						b.limit(s, 0)
					}
				}
				b.refill(q, had)
			}) || changed
		}
	}
	return changed
}

// attempt does something to the services of a pool and takes it back unless it
// fills what is lacking: floors of vip services, else of others, else the rest of vip services.
func (b *book) attempt(p int32, do func()) bool {
	before, saved := b.lack(p), b.save()
	do()
	if over(before, b.lack(p)) {
		return true
	}
	b.restore(saved)
	return false
}

// saved is where a service was.
type saved struct {
	seats []seat
	marks marks
}

// save keeps where all services are.
func (b *book) save() []saved {
	out, n := make([]saved, len(b.services)), 0
	for i := range b.services {
		n += len(b.services[i].seats)
	}
	all := make([]seat, 0, n)
	for i := range b.services {
		s := &b.services[i]
		from := len(all)
		all = append(all, s.seats...)
		out[i] = saved{all[from:len(all):len(all)], s.marks}
	}
	return out
}

// restore puts them back there.
func (b *book) restore(old []saved) {
	for i := range b.services {
		s := &b.services[i]
		s.marks = old[i].marks
		if slices.Equal(s.seats, old[i].seats) {
			continue
		}
		b.reseat(s, old[i].seats)
	}
}

// lack adds up what is missing in a pool: to floors of vip services, to floors of others, to vip services.
func (b *book) lack(p int32) (out [3]int) {
	for _, i := range b.pools[p].members {
		s := &b.services[i]
		if s.Hold {
			continue
		}
		has := b.settled(s)
		floor := max(min(s.floor, b.wantOf(s))-has, 0)
		if s.VIP {
			out[0] += floor
			out[2] += max(b.wantOf(s)-has, 0)
		} else {
			out[1] += floor
		}
	}
	return out
}

// had is what each service of a pool has.
func (b *book) had(p int32) map[int32]int {
	out := map[int32]int{}
	for _, i := range b.pools[p].members {
		if s := &b.services[i]; !s.Hold {
			out[i] = b.settled(s)
		}
	}
	return out
}

// needy reports whether a service of the pool has less than is due to it before
// others have more: its floor, or (unless floors) all that a vip service wants.
func (b *book) needy(p int32, floors, vip bool) bool {
	for _, i := range b.pools[p].members {
		s := &b.services[i]
		if s.Hold || vip && !s.VIP {
			continue
		}
		has := b.settled(s)
		if has < min(s.floor, b.wantOf(s)) || !floors && s.VIP && has < b.wantOf(s) {
			return true
		}
	}
	return false
}

// wantOf returns what s wants on the nodes that it has.
func (b *book) wantOf(s *service) int {
	w, _ := b.fine(s)
	return w.total
}

// give takes workers above their floors from the givers (vip services too, when
// floors are at stake), more and more, until enough is there, and then gives back what is left.
func (b *book) give(p int32, vip bool, enough func() bool) {
	had := b.had(p)
	for _, part := range []float64{0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.25, 0} {
		for _, i := range b.pools[p].members {
			s := &b.services[i]
			if above := had[i] - s.floor; !s.Hold && s.VIP == vip && above > 0 {
				b.limit(s, s.floor+int(part*float64(above)))
			}
		}
		b.fill(p, func(_ int32, s *service) int { return s.floor })
		if !vip {
			b.fill(p, func(_ int32, s *service) int { return int(truth(s.VIP)) * plenty })
		}
		if enough() {
			break
		}
	}
	b.refill(p, had)
}

// limit places at most n workers of s.
func (b *book) limit(s *service, n int) {
	s.grant = n
	b.shape(s)
	s.grant = -1
}

// refill lets the services of a pool have what room there is: floors first, then
// vip services and then the others, each what it had before what it wants.
func (b *book) refill(p int32, had map[int32]int) {
	b.fill(p, func(_ int32, s *service) int { return s.floor })
	b.fill(p, func(i int32, s *service) int { return had[i] * int(truth(s.VIP)) })
	b.fill(p, func(_ int32, s *service) int { return int(truth(s.VIP)) * plenty })
	b.fill(p, func(i int32, _ *service) int { return had[i] })
	b.fill(p, func(int32, *service) int { return plenty })
	for _, i := range b.pools[p].members {
		if s := &b.services[i]; !s.Hold && b.settled(s) < min(had[i], b.wantOf(s)) {
			s.marks |= markCut
		}
	}
}

// plenty is more than any service wants.
const plenty = 1 << 30

// fill raises the services of a pool, vip ones first, as far as upTo says, they want, and there is room.
func (b *book) fill(p int32, upTo func(i int32, s *service) int) {
	for _, i := range b.pools[p].members {
		s := &b.services[i]
		if s.Hold {
			continue
		}
		if n := min(upTo(i, s), b.wantOf(s)); n > b.settled(s) {
			b.limit(s, n)
		}
	}
}

// relieve takes workers off hosts that have more than fits, which happens when
// a host or the room for it became smaller: from the others before vip services,
// from the largest share first.
func (b *book) relieve() {
	var over []int32
	for i := range b.hosts {
		if h := &b.hosts[i]; h.Alive && (h.used.cpu > h.CPU || h.used.mem > h.Memory) {
			over = append(over, int32(i))
		}
	}
	for _, i := range over {
		h := &b.hosts[i]
		for h.used.cpu > h.CPU || h.used.mem > h.Memory {
			s, k := b.heaviest(i, h)
			if s == nil {
				break
			}
			b.put(s, i, -1)
			s.seats[k].n--
			s.marks |= markEvened
		}
	}
}

// heaviest finds who gives a worker on a host that has too much: not vip before vip, then
// above its floor before others, then the one with the most there.
func (b *book) heaviest(i int32, h *host) (best *service, seat int) {
	rank := func(s *service, n int) [3]int {
		above := 0
		if s.placed() > s.floor {
			above = 1
		}
		normal := 1
		if s.VIP {
			normal = 0
		}
		return [3]int{above, normal, n}
	}
	var bestRank [3]int
	for x := range b.services {
		s := &b.services[x]
		if s.Hold || !(h.used.cpu > h.CPU && s.each.cpu > 0 || h.used.mem > h.Memory && s.each.mem > 0) {
			continue
		}
		for k, t := range s.seats {
			if t.host != i || t.n == 0 {
				continue
			}
			if r := rank(s, t.n); best == nil || over(r, bestRank) {
				best, seat, bestRank = s, k, r
			}
		}
	}
	return best, seat
}

func over(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

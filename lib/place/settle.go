package place

import (
	"cmp"
	"slices"
)

// rounds bounds how often a plan looks at all services again. What two rounds
// leave is already rare.
const rounds = 6

// arrange does all that gives services their room, until nothing changes.
func (b *book) arrange() {
	for range rounds {
		b.floors()
		changed := b.lend()
		changed = b.settle() || changed
		changed = b.rescue() || changed
		changed = b.cut() || changed
		if !changed {
			return
		}
	}
}

// settle gives every service what it needs, as far as there is room: first those
// that get smaller, then vip services, then the others. It ends when a round
// changes nothing, so that planning again on the result changes nothing either,
// and reports whether it changed anything.
func (b *book) settle() bool {
	for round := range rounds {
		changed := false
		var grow []int32
		for _, i := range b.order {
			s := &b.services[i]
			if s.Hold {
				continue
			}
			w, fine := b.fine(s)
			switch {
			case fine:
			case b.growing(s, w):
				grow = append(grow, i)
			default:
				changed = b.shape(s) || changed
			}
		}
		if b.shareOut(grow) {
			for _, i := range grow {
				changed = b.shape(&b.services[i]) || changed
				b.services[i].grant = -1
			}
		}
		for _, i := range grow {
			changed = b.shape(&b.services[i]) || changed
		}
		if !changed {
			return round > 0
		}
	}
	return true
}

// growing reports whether s needs more workers than it has on usable hosts.
func (b *book) growing(s *service, w need) bool { return b.settled(s) < w.total }

// settled is how many workers of s are where they may stay.
func (b *book) settled(s *service) (n int) {
	for _, t := range s.seats {
		if h := &b.hosts[t.host]; h.usable() && h.pool == s.pool {
			n += t.n
		}
	}
	return n
}

// shape places one service and reports whether that changed anything.
func (b *book) shape(s *service) bool {
	if s.Spread == Equal {
		b.equalize(s)
	} else {
		b.balance(s)
	}
	return b.changed
}

// close puts the spots back into the seats. Workers on hosts that the service
// has to leave go as far as they are replaced; the others stay until there is
// room, unless a vip pool needs the host.
func (x *shaper) close() {
	b, s := x.b, x.s
	missing := max(x.need.all-x.sum, 0)
	out := b.kept[:0]
	for _, t := range s.seats {
		h := &b.hosts[t.host]
		if h.usable() && h.pool == s.pool {
			continue
		}
		if t.n > 0 {
			keep := min(t.n, missing)
			if h.recalled && keep > 0 {
				keep = 0
				s.marks |= markCut
			}
			missing -= keep
			s.marks |= markDrained
			if keep > 0 {
				s.marks |= markStuck
			}
			if keep != t.n {
				b.put(s, t.host, keep-t.n)
				t.n = keep
			}
		}
		out = append(out, t)
	}
	for _, w := range b.work {
		if w.n > 0 || w.was > 0 {
			out = append(out, seat(w))
		}
	}
	slices.SortFunc(out, func(a, c seat) int { return cmp.Compare(a.host, c.host) })
	b.kept = out
	b.changed = !slices.Equal(s.seats, out)
	s.seats = append(s.seats[:0], out...)
}

// shareOut bounds what growing services get when their pool has not enough for
// all of them: vip services all they want, the others the same part of what they
// lack. It reports whether it set any bound.
func (b *book) shareOut(grow []int32) bool {
	lack := make([]cost, len(b.pools))
	for _, i := range grow {
		s := &b.services[i]
		w, _ := b.fine(s)
		lack[s.pool] = lack[s.pool].plus(s.each, w.total-b.settled(s))
	}
	bound := false
	for p := range b.pools {
		if lack[p] == (cost{}) {
			continue
		}
		var free cost
		for _, i := range b.pools[p].hosts {
			if h := &b.hosts[i]; h.grows() {
				free = cost{free.cpu + max(h.CPU-h.used.cpu, 0), free.mem + max(h.Memory-h.used.mem, 0)}
			}
		}
		for _, vip := range []bool{true, false} {
			part := 1.0
			if over := free.share(lack[p]); over > 1 {
				part = 1 / over
			}
			for _, i := range grow {
				s := &b.services[i]
				if int(s.pool) != p || s.VIP != vip {
					continue
				}
				w, _ := b.fine(s)
				short := w.total - b.settled(s)
				if vip {
					free = free.plus(s.each, -short)
					lack[p] = lack[p].plus(s.each, -short)
				} else if part < 1 {
					s.grant, bound = w.total-short+int(part*float64(short)), true
				}
			}
		}
	}
	return bound
}

package place

import (
	"cmp"
	"math"
	"slices"
)

// heat finds the hosts that are hot: their load is above the mean of the other
// hosts of their pool by two standard deviations (at least by 0.05) and above
// Rules.HotLoad. The host itself is left out of mean and deviation: among few
// hosts none could ever be two deviations above a mean that it is part of.
func (b *book) heat() {
	for p := range b.pools {
		var n, sum, squares float64
		for _, i := range b.pools[p].hosts {
			if h := &b.hosts[i]; measured(h) {
				n, sum, squares = n+1, sum+h.Load, squares+h.Load*h.Load
			}
		}
		if n < 3 {
			continue
		}
		for _, i := range b.pools[p].hosts {
			h := &b.hosts[i]
			if !measured(h) {
				continue
			}
			mean := (sum - h.Load) / (n - 1)
			deviation := math.Sqrt(max((squares-h.Load*h.Load)/(n-1)-mean*mean, 0))
			h.hot = h.Load >= b.in.Rules.HotLoad && h.Load > mean+2*max(deviation, 0.025)
			h.cool = mean + max(deviation, 0.025)
			h.weigh()
		}
	}
}

func measured(h *host) bool { return h.usable() && h.Load > 0 && !math.IsInf(h.Load, 1) }

// budget is how many workers may still be moved voluntarily in this hour.
func (b *book) budget() (left int, untouched bool) {
	all, moved := 0, 0
	for i := range b.services {
		all += b.services[i].placed()
	}
	for _, m := range b.in.State.Moves {
		if m.At > b.in.At-3600 && m.At <= b.in.At {
			moved += m.Count
		}
	}
	for i := range b.services {
		moved += b.services[i].moves(b)
	}
	return int(b.in.Rules.MovesAnHour*float64(all)) - moved, moved == 0
}

// moves is how many workers of s change their node. Those of a node that is gone are not moved but replaced.
func (s *service) moves(b *book) int {
	up, down := 0, 0
	for _, t := range s.seats {
		switch {
		case t.n > t.was:
			up += t.n - t.was
		case b.hosts[t.host].Alive:
			down += t.was - t.n
		}
	}
	return min(up, down)
}

// ease moves small services off hosts that are hot for long, and off hosts that
// their pool gives back, as far as the budget of this hour goes. A share that is
// larger than the whole budget may go when nothing else moved for an hour.
func (b *book) ease() {
	left, untouched := b.budget()
	spend := func(n int) bool {
		if n <= 0 {
			return true // only this plan put it there
		}
		if n > left && !untouched {
			return false
		}
		left, untouched = left-n, false
		return true
	}
	for i := range b.hosts {
		h := &b.hosts[i]
		if !h.hot {
			continue
		}
		since, hot := find(b.in.State.Hot, h.Name)
		if !hot {
			since = b.in.At
		}
		if b.in.At-since >= seconds(b.in.Rules.HotFor) {
			b.coolDown(int32(i), spend)
			since = b.in.At
		}
		b.state.Hot = append(b.state.Hot, Since{h.Name, since})
	}
	for i := range b.hosts {
		if h := &b.hosts[i]; h.leaving && h.usable() {
			for _, r := range b.residents(int32(i)) {
				if !b.swap(r.service, int32(i), markVacated, spend) {
					b.merge(r.service, int32(i), spend)
				}
			}
		}
	}
}

// resident is a service on a host.
type resident struct {
	service *service
	n       int
}

// residents lists the services that may be moved off a host, small ones first:
// by their size on it, then in all.
func (b *book) residents(i int32) []resident {
	var out []resident
	for k := range b.services {
		s := &b.services[k]
		if s.Hold {
			continue
		}
		if at := s.at(i); at >= 0 && s.seats[at].n > 0 {
			out = append(out, resident{s, s.seats[at].n})
		}
	}
	slices.SortFunc(out, func(a, c resident) int {
		return cmp.Or(cmp.Compare(a.n, c.n), cmp.Compare(a.service.placed(), c.service.placed()), cmp.Compare(a.service.Name, c.service.Name))
	})
	return out
}

// at returns the place of a host in the seats of s, -1: it has none.
func (s *service) at(i int32) int {
	k, ok := slices.BinarySearchFunc(s.seats, i, func(t seat, h int32) int { return cmp.Compare(t.host, h) })
	if !ok {
		return -1
	}
	return k
}

// coolDown moves services off a hot host until its load would be back to the
// mean and one deviation: each takes the load that its share of the host's CPU stands for.
func (b *book) coolDown(i int32, spend func(int) bool) {
	h := &b.hosts[i]
	load, used := h.Load, h.used.cpu
	for _, r := range b.residents(i) {
		if load <= h.cool || used <= 0 {
			return
		}
		takes := h.Load * float64(r.service.each.cpu*int64(r.n)) / float64(used)
		if takes <= 0 {
			continue
		}
		if b.swap(r.service, i, markHot, spend) {
			load -= takes
		}
	}
}

// swap moves all that a service has on a host to one that has none of it, the
// coolest with room, so that its spread stays what it is.
func (b *book) swap(s *service, from int32, why marks, spend func(int) bool) bool {
	at := s.at(from)
	n, zone := s.seats[at].n, b.hosts[from].zone
	x := b.open(s)
	best := int32(-1)
	b.pools[s.pool].ladder.ascend(b.hosts, func(i int32) bool {
		h := &b.hosts[i]
		if h.hot || x.has(i) || h.room(s, n) < n || s.Survive == Zone && h.zone != zone && b.sums[h.zone]+n > x.need.zone {
			return true
		}
		if best < 0 || h.load() < b.hosts[best].load() {
			best = i
		}
		return why == markHot
	})
	if best < 0 {
		return false
	}
	seats, before := slices.Clone(s.seats), s.moves(b)
	for k := range b.work {
		if b.work[k].host == from {
			x.add(k, -n)
		}
	}
	k := slices.IndexFunc(b.work, func(w spot) bool { return w.host == best })
	if k < 0 {
		b.work = append(b.work, spot{host: best})
		k = len(b.work) - 1
	}
	x.add(k, n)
	x.close()
	if !spend(s.moves(b) - before) {
		b.reseat(s, seats)
		return false
	}
	s.marks |= why
	return true
}

// reseat puts a service back where it was.
func (b *book) reseat(s *service, seats []seat) {
	for _, t := range s.seats {
		b.put(s, t.host, -t.n)
	}
	for _, t := range seats {
		b.put(s, t.host, t.n)
	}
	s.seats = seats
}

// merge moves what a service has on a host to the hosts that it is on already,
// when it is on all of them: it is then on one node less.
func (b *book) merge(s *service, from int32, spend func(int) bool) {
	h := &b.hosts[from]
	seats, marks, before := slices.Clone(s.seats), s.marks, s.moves(b)
	p := &b.pools[s.pool]
	most := s.wantAt(min(s.nodes(), len(p.ladder.heap)), p.zones)
	h.shunned = true
	b.shape(s)
	w, fine := b.fine(s)
	short := !fine || w.total > most || s.nodes() < w.least
	h.shunned = false
	if at := s.at(from); !short && (at < 0 || s.seats[at].n == 0) && spend(s.moves(b)-before) {
		s.marks = marks | markVacated
		return
	}
	b.reseat(s, seats)
	s.marks = marks
}

// nodes is on how many hosts s is.
func (s *service) nodes() (n int) {
	for _, t := range s.seats {
		n += min(t.n, 1)
	}
	return n
}

// load is the measured load, the placed one where nothing is measured.
func (h *host) load() float64 {
	if !measured(h) {
		return h.level
	}
	return h.Load
}

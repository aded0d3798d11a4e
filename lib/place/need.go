package place

// remain is what must be left of s after a loss; 0 when nothing is asked.
func (s *service) remain() int {
	if s.Fixed || s.Size <= 0 || s.Survive != Node && s.Survive != Zone {
		return 0
	}
	return max(s.Remain, 0)
}

// wantAt returns how many of s there must be on n nodes in z zones. When the
// largest of n equal shares may be lost and r must remain, then the share k must
// be so that n·k ≥ r+k: k = ⌈r/(n-1)⌉, and r+k are needed in all.
func (s *service) wantAt(n, z int) int {
	w := max(s.Size, 0)
	if w == 0 || s.Fixed {
		return w
	}
	w = max(w, s.MinNodes)
	r, parts := s.remain(), n
	if s.Survive == Zone {
		parts = min(z, n)
	}
	if r > 0 && parts > 1 {
		w = max(w, r+ceil(r, parts-1))
	}
	if s.Max > 0 {
		w = min(w, s.Max)
	}
	return w
}

// granted is what s may have for now of n workers.
func (s *service) granted(n int) int {
	if s.grant >= 0 {
		return min(n, s.grant)
	}
	return n
}

// thin is the number of nodes up to which a service that must survive is spread
// as far as that saves a worker; on more nodes each gets three workers or more.
const thin = 9

// leastNodes returns on how many nodes s must be, of n nodes in z zones.
func (s *service) leastNodes(n, z int) int {
	least := max(s.MinNodes, 1)
	if s.remain() > 0 {
		least = max(least, 2)
		if s.Survive == Zone {
			least = max(least, z)
		}
	}
	least = max(min(least, n), 1)
	if s.PerNode > 0 {
		least = min(max(least, ceil(s.wantAt(least, z), s.PerNode)), max(n, 1))
	}
	return min(least, s.wantAt(least, z))
}

// nodesFor returns on how many nodes, at least leastNodes, s should be of n
// nodes in z zones: as many as save it workers. Nothing is moved for these: they
// are found when it grows.
func (s *service) nodesFor(n, z int) int {
	want := max(s.MinNodes, 1)
	if r := s.remain(); r > 0 {
		all := max(s.Size, r+ceil(r, 31))
		want = max(want, 2, min(1+ceil(r, all-r), max(thin, all/3)))
		if s.Survive == Zone {
			want = max(want, z)
		}
	}
	want = max(min(want, n), 1)
	if s.PerNode > 0 {
		want = min(max(want, ceil(s.wantAt(want, z), s.PerNode)), max(n, 1))
	}
	return min(want, s.wantAt(want, z))
}

func ceil(a, b int) int { return (a + b - 1) / b }

// need is what a service must be on the nodes that it has.
type need struct {
	total int // workers
	all   int // workers, were there no bound for now
	least int // nodes, at least
	nodes int // nodes that it should be on when it grows
	hard  int // most on one node, so that enough remains
	zone  int // most in one zone; only with survive: zone
	soft  int // most on one node, so that it stays balanced
}

// needs says what s needs when it is on n nodes now or in the end.
func (b *book) needs(s *service, n int) need {
	p := &b.pools[s.pool]
	all := max(len(p.ladder.heap), n)
	var out need
	out.least, out.nodes = s.leastNodes(all, p.zones), s.nodesFor(all, p.zones)
	if s.Spread == Equal && s.Survive == Zone && p.zones > 1 {
		even := max(p.perZone*p.zones, 1) // as many in each zone
		out.least, out.nodes = min(out.least, even), min(out.nodes, even)
	}
	if n == 0 {
		n = out.nodes
	}
	n = max(n, out.least)
	out.total = s.wantAt(n, p.zones)
	out.all = out.total
	out.total = s.granted(out.total)
	out.least, out.nodes = min(out.least, out.total), min(out.nodes, out.total)
	out.hard, out.zone = out.total, out.total
	if r := s.remain(); r > 0 && out.total > r {
		if s.Survive == Zone && p.zones > 1 {
			out.zone = max(out.total-r, ceil(out.total, p.zones))
		}
		if n > 1 {
			out.hard = max(out.total-r, ceil(out.total, n))
		}
	}
	if s.PerNode > 0 {
		out.hard = min(out.hard, s.PerNode)
	}
	out.soft = out.hard
	if n > 0 && s.Spread != Equal {
		out.soft = min(out.hard, max(1, int(b.in.Rules.Skew*float64(out.total)/float64(n)+0.999999)))
	}
	return out
}

// fine reports whether s has what it needs where it is.
func (b *book) fine(s *service) (need, bool) {
	n, sum, least, most := 0, 0, 1<<30, 0
	ok := true
	for _, t := range s.seats {
		if t.n == 0 {
			continue
		}
		if h := &b.hosts[t.host]; !h.usable() || h.pool != s.pool {
			ok = false
			continue
		}
		n, sum = n+1, sum+t.n
		least, most = min(least, t.n), max(most, t.n)
	}
	w := b.needs(s, n)
	if !ok || sum != w.total || n < w.least {
		return w, false
	}
	if most > w.soft || most > w.hard || s.Spread == Equal && most-least > 1 {
		return w, n == 0
	}
	return w, s.Survive != Zone || b.zonesFine(s, w)
}

func (b *book) zonesFine(s *service, w need) bool {
	clear(b.sums)
	for _, t := range s.seats {
		if b.sums[b.hosts[t.host].zone] += t.n; b.sums[b.hosts[t.host].zone] > w.zone {
			return false
		}
	}
	return true
}

// placed is how many workers s has on alive nodes, wherever.
func (s *service) placed() (n int) {
	for _, t := range s.seats {
		n += t.n
	}
	return n
}

package place

import (
	"cmp"
	"slices"
)

// host is a node in the books. Hosts are sorted by name, so that the smaller
// index is the smaller name.
type host struct {
	*Host
	pool     int32 // index of the pool; changes when it is lent
	zone     int32
	home     string
	next     int32   // the pool that it goes to when it is empty; -1: home
	used     cost    // by what is placed now
	level    float64 // how used it is
	rank     float64 // the smaller, the sooner it gets more
	guest    bool    // on loan: the last to get more, the first to be lowered
	draining bool    // must be emptied: by order, for its due date or for a vip pool
	recalled bool    // and what finds no other room is cut
	leaving  bool
	shunned  bool // for the service at hand it counts as drained
	hot      bool
	busy     bool    // something runs here now
	held     bool    // something here is left alone by order
	cool     float64 // load at which it is no longer helped
	rung     int32   // its place in the pool's ladder; -1: none
}

// cost is an amount of CPU (thousandths of a core) and memory (bytes).
type cost struct{ cpu, mem int64 }

func (c cost) plus(d cost, n int) cost { return cost{c.cpu + d.cpu*int64(n), c.mem + d.mem*int64(n)} }

// share returns the larger part of c that d is; 0 of 0 is 0, and something of 0 is more than everything.
func (c cost) share(d cost) float64 { return max(part(d.cpu, c.cpu), part(d.mem, c.mem)) }

func part(a, of int64) float64 {
	switch {
	case a <= 0:
		return 0
	case of <= 0:
		return 1e9
	}
	return float64(a) / float64(of)
}

func (h *host) capacity() cost { return cost{h.CPU, h.Memory} }
func (h *host) usable() bool   { return h.Alive && !h.draining && !h.shunned }
func (h *host) grows() bool    { return h.usable() && !h.leaving }

// pool is a pool in the books.
type pool struct {
	Pool
	hosts   []int32 // all of them, by name
	members []int32 // its services: vip first, then by name
	ladder  ladder  // those that may get more, least used first
	zones   int     // zones with such hosts
	inZone  []bool  // which
	perZone int     // hosts of the smallest of them
	vip     bool
	cap     cost // of the hosts that may get more
	largest cost // host of any kind
	want    cost // of all its services at the size that they want
	full    cost // a worker of this cost found no room, and nothing was released since; zero: not known
	loaned  int  // hosts of others, without those that leave
	alive   int  // hosts that can be used
}

// seat is a service on a host.
type seat struct {
	host int32
	n    int // placed
	was  int // in the input
}

// service is a demand in the books.
type service struct {
	*Demand
	pool  int32
	each  cost
	floor int
	grant int // may have no more for now; -1: no bound
	seats []seat
	marks marks
}

// marks are what happened to a service, for its reasons.
type marks uint16

const (
	markLost marks = 1 << iota
	markDrained
	markStuck // stays on a drained node for lack of room
	markEvened
	markCut
	markHot
	markVacated
	markSkewed
)

// book is the working state of one plan.
type book struct {
	in       Input
	hosts    []host
	pools    []pool
	services []service // by name
	order    []int32   // of services: vip first, then by name
	zones    []string
	unasked  []Share
	loans    []Loan
	state    State

	stamp   []uint32 // host → mark of the last service that looked at it
	clock   uint32
	work    []spot // the hosts of the service at hand
	sums    []int  // zone → workers of the service at hand
	kept    []seat // scratch of close
	changed bool   // whether the last service changed
}

func newBook(in Input) *book {
	b := &book{in: in}
	b.addHosts()
	b.addServices()
	b.addShares()
	b.dueHome()
	b.heat()
	for p := range b.pools {
		b.raiseLadder(int32(p))
	}
	return b
}

func (b *book) addHosts() {
	b.hosts = make([]host, len(b.in.Hosts))
	for i := range b.in.Hosts {
		b.hosts[i].Host = &b.in.Hosts[i]
	}
	slices.SortFunc(b.hosts, func(a, c host) int { return cmp.Compare(a.Name, c.Name) })
	names := map[string]bool{}
	for _, p := range b.in.Pools {
		names[p.Name] = true
		b.pools = append(b.pools, pool{Pool: p})
	}
	add := func(name string) {
		if !names[name] {
			names[name] = true
			b.pools = append(b.pools, pool{Pool: Pool{Name: name}})
		}
	}
	for i := range b.hosts {
		add(b.hosts[i].Pool)
	}
	for i := range b.in.Demands {
		add(b.in.Demands[i].Pool)
	}
	slices.SortFunc(b.pools, func(a, c pool) int { return cmp.Compare(a.Name, c.Name) })
	zones := map[string]int32{}
	for i := range b.hosts {
		zones[b.hosts[i].Zone] = 0
	}
	for z := range zones {
		b.zones = append(b.zones, z)
	}
	slices.Sort(b.zones)
	for i, z := range b.zones {
		zones[z] = int32(i)
	}
	for i := range b.hosts {
		h := &b.hosts[i]
		h.pool, h.zone, h.rung = b.poolOf(h.Pool), zones[h.Zone], -1
		h.home, h.next = cmp.Or(h.Home, h.Pool), -1
		h.draining, h.leaving = h.Draining, h.Leaving
		b.pools[h.pool].hosts = append(b.pools[h.pool].hosts, int32(i))
	}
	for i := range b.pools {
		p := &b.pools[i]
		p.Class = cmp.Or(p.Class, Production)
		p.vip = p.Class == VIP
	}
	b.stamp, b.sums = make([]uint32, len(b.hosts)), make([]int, len(b.zones))
}

// floors sets what each service gets before others have more than that: its
// minimum, and one on each of its minimum of nodes; as far as is quickly seen no
// more than the pool could hold if it were empty, so that nobody is cut for what cannot be.
func (b *book) floors() {
	for i := range b.services {
		s := &b.services[i]
		s.floor = min(max(s.Min, 0), max(s.Size, 0))
		if s.Size > 0 {
			s.floor = max(s.floor, 1)
			if !s.Fixed {
				s.floor = max(s.floor, s.MinNodes)
			}
		}
		p := &b.pools[s.pool]
		if s.PerNode > 0 {
			s.floor = min(s.floor, s.PerNode*(p.alive+max(p.Loans-p.loaned, 0)))
		}
		if p.largest.cpu < s.each.cpu || p.largest.mem < s.each.mem {
			s.floor = 0
		}
	}
}

func (b *book) poolOf(name string) int32 {
	i, _ := slices.BinarySearchFunc(b.pools, name, func(p pool, n string) int { return cmp.Compare(p.Name, n) })
	return int32(i)
}

func (b *book) addServices() {
	b.services = make([]service, len(b.in.Demands))
	for i := range b.in.Demands {
		b.services[i].Demand = &b.in.Demands[i]
	}
	slices.SortFunc(b.services, func(a, c service) int { return cmp.Compare(a.Name, c.Name) })
	b.order = make([]int32, 0, len(b.services))
	for _, vip := range []bool{true, false} {
		for i := range b.services {
			if b.services[i].VIP == vip {
				b.order = append(b.order, int32(i))
			}
		}
	}
	for i := range b.services {
		s := &b.services[i]
		s.pool, s.grant = b.poolOf(s.Pool), -1
		s.each = cost{max(s.CPU, 0), max(s.Memory, 0)}
	}
	for _, i := range b.order {
		p := &b.pools[b.services[i].pool]
		p.members = append(p.members, i)
	}
}

// addShares puts what runs now into the books. Workers on hosts that are gone do not count.
func (b *book) addShares() {
	services := make(map[string]int32, len(b.services))
	for i := range b.services {
		services[b.services[i].Name] = int32(i)
	}
	hosts := make(map[string]int32, len(b.hosts))
	for i := range b.hosts {
		hosts[b.hosts[i].Name] = int32(i)
	}
	last, at, known := "", int32(0), false
	for _, x := range b.in.Shares {
		if x.Count <= 0 {
			continue
		}
		if x.Name != last || last == "" {
			last = x.Name
			at, known = services[x.Name]
		}
		h, there := hosts[x.Node]
		if !known {
			b.unasked = append(b.unasked, x)
			if there {
				b.hosts[h].busy = true
			}
			continue
		}
		if s := &b.services[at]; there {
			n := x.Count
			if !b.hosts[h].Alive && !s.Hold {
				n, s.marks = 0, s.marks|markLost
			}
			s.seats = append(s.seats, seat{host: h, n: n, was: x.Count})
		} else {
			s.marks |= markLost
		}
	}
	slices.SortFunc(b.unasked, func(a, c Share) int { return cmp.Or(cmp.Compare(a.Name, c.Name), cmp.Compare(a.Node, c.Node)) })
	for i := range b.services {
		s := &b.services[i]
		slices.SortFunc(s.seats, func(a, c seat) int { return cmp.Compare(a.host, c.host) })
		s.seats = merged(s.seats)
		for _, t := range s.seats {
			h := &b.hosts[t.host]
			h.used = h.used.plus(s.each, t.n)
			h.held, h.busy = h.held || s.Hold, true
		}
	}
	for i := range b.hosts {
		b.hosts[i].weigh()
	}
}

// weigh ranks a host. Hosts of the pool's own are filled evenly; those on loan
// come when these are four fifths full, the fullest first, so that what comes and goes
// with the day is on few of them and they can be given back. Hot hosts are last.
func (h *host) weigh() {
	h.level = h.capacity().share(h.used)
	h.rank = h.level
	if h.guest {
		h.rank = 0.8 + 0.1*(1-min(h.level, 1))
	}
	if h.hot {
		h.rank += 1e10
	}
}

// merged joins seats of the same host.
func merged(seats []seat) []seat {
	out := seats[:0]
	for _, t := range seats {
		if n := len(out); n > 0 && out[n-1].host == t.host {
			out[n-1].n, out[n-1].was = out[n-1].n+t.n, out[n-1].was+t.was
			continue
		}
		out = append(out, t)
	}
	return out
}

// raiseLadder counts what a pool has and sorts its hosts.
func (b *book) raiseLadder(p int32) {
	q := &b.pools[p]
	q.cap, q.zones, q.loaned, q.alive, q.full = cost{}, 0, 0, 0, cost{}
	q.ladder.reset()
	q.inZone = make([]bool, len(b.zones))
	in := make([]int, len(b.zones))
	for _, i := range q.hosts {
		h := &b.hosts[i]
		h.rung = -1
		h.guest = b.lent(h) && q.Class != Free
		h.weigh()
		q.alive += int(truth(h.usable()))
		q.largest = cost{max(q.largest.cpu, h.CPU), max(q.largest.mem, h.Memory)}
		if !h.grows() {
			continue
		}
		in[h.zone]++
		if !q.inZone[h.zone] {
			q.inZone[h.zone] = true
			q.zones++
		}
		if b.lent(h) {
			q.loaned++
		}
		q.cap = q.cap.plus(h.capacity(), 1)
		q.ladder.push(b.hosts, i)
	}
	q.perZone = 0
	for _, n := range in {
		if n > 0 && (q.perZone == 0 || n < q.perZone) {
			q.perZone = n
		}
	}
}

// lent reports whether a host works for another pool than its own.
func (b *book) lent(h *host) bool { return h.home != b.pools[h.pool].Name }

// put gives a host n more workers of a service, or takes them when n is below 0.
func (b *book) put(s *service, i int32, n int) {
	h := &b.hosts[i]
	h.used = h.used.plus(s.each, n)
	h.weigh()
	p := &b.pools[h.pool]
	if n < 0 {
		p.full = cost{}
	}
	if h.rung >= 0 {
		p.ladder.fix(b.hosts, h.rung)
	}
}

// room returns how many more workers of s fit on a host, at most `most`.
func (h *host) room(s *service, most int) int {
	free := cost{h.CPU - h.used.cpu, h.Memory - h.used.mem}
	if s.each.cpu > 0 {
		most = min(most, int(max(free.cpu, 0)/s.each.cpu))
	}
	if s.each.mem > 0 {
		most = min(most, int(max(free.mem, 0)/s.each.mem))
	}
	return max(most, 0)
}

// isFull reports whether it is known that no host of the pool has room for a worker of s.
func (p *pool) isFull(s *service) bool {
	return p.full != (cost{}) && s.each.cpu >= p.full.cpu && s.each.mem >= p.full.mem
}

// fullFor notes that none has. It is forgotten when something is released.
func (p *pool) fullFor(s *service) { p.full = s.each }

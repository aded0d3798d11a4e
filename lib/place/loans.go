package place

import (
	"cmp"
	"fmt"
	"slices"
)

// classRank orders pools that want free nodes.
func classRank(c Class) int { return slices.Index([]Class{VIP, Production, Stable, Internal, Free}, c) }

// count adds up what the services of each pool want.
func (b *book) count() {
	for p := range b.pools {
		b.pools[p].want = cost{}
	}
	for i := range b.services {
		s := &b.services[i]
		p := &b.pools[s.pool]
		n := b.wantOf(s)
		if s.Hold {
			n = b.settled(s)
		}
		p.want = p.want.plus(s.each, n)
	}
}

// dueHome marks hosts on loan whose time is up: they are drained.
func (b *book) dueHome() {
	for i := range b.hosts {
		h := &b.hosts[i]
		if !b.lent(h) || !b.dueSoon(h) {
			continue
		}
		if !h.leaving {
			b.loan(Recall, int32(i), h.home, fmt.Sprintf("is due home in %s at %s", h.home, dateText(h.Due)))
		}
		h.draining, h.leaving = true, true
	}
}

func (b *book) dueSoon(h *host) bool {
	return h.Due > 0 && b.in.At >= h.Due-seconds(b.in.Rules.DueAhead)
}

// lend moves free hosts to the pools that need them, at once, and reports whether it moved any.
func (b *book) lend() bool {
	before := len(b.loans)
	b.count()
	for _, p := range b.byRank() {
		q := &b.pools[p]
		if q.Class == Free {
			continue
		}
		for b.wants(q) && (b.keepOne(p) || b.borrowOne(p, cost{}, percent(q.cap.share(q.want))+" is wanted")) {
			b.count() // on more nodes other numbers may survive
		}
		if q.vip && b.wants(q) {
			b.recall(p)
		}
	}
	return len(b.loans) > before
}

func (b *book) wants(q *pool) bool { return q.cap.share(q.want) > b.in.Rules.BorrowAt }

// byRank returns pools in the order in which they are served: by class, then by how much they lack.
func (b *book) byRank() []int32 {
	out := make([]int32, len(b.pools))
	for i := range out {
		out[i] = int32(i)
	}
	slices.SortFunc(out, func(x, y int32) int {
		p, q := &b.pools[x], &b.pools[y]
		return cmp.Or(cmp.Compare(classRank(p.Class), classRank(q.Class)), cmp.Compare(q.cap.share(q.want), p.cap.share(p.want)), cmp.Compare(x, y))
	})
	return out
}

func (b *book) loan(kind LoanKind, i int32, to, reason string) {
	h := &b.hosts[i]
	due := int64(0)
	if kind == Borrow || kind == Recall {
		due = h.Due
	}
	b.loans = append(b.loans, Loan{Kind: kind, Node: h.Name, From: b.pools[h.pool].Name, To: to, Due: due, Reason: reason})
}

// keepOne takes back that a host of the pool leaves: the fullest one.
func (b *book) keepOne(p int32) bool {
	best := int32(-1)
	for _, i := range b.pools[p].hosts {
		if h := &b.hosts[i]; h.leaving && h.usable() && (best < 0 || h.level > b.hosts[best].level) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	b.hosts[best].leaving = false
	b.loan(Keep, best, b.pools[p].Name, percent(b.pools[p].cap.share(b.pools[p].want))+" of the other nodes is wanted")
	b.raiseLadder(p)
	return true
}

// borrowOne takes a free host into a pool, one that has room for a worker of that cost.
func (b *book) borrowOne(p int32, worker cost, reason string) bool {
	q := &b.pools[p]
	if q.loaned >= q.Loans {
		return false
	}
	best, from := int32(-1), int32(-1)
	inZone := make([]int, len(b.zones))
	for _, i := range q.hosts {
		if b.hosts[i].grows() {
			inZone[b.hosts[i].zone]++
		}
	}
	for f := range b.pools {
		free := &b.pools[f]
		if free.Class != Free || int32(f) == p {
			continue
		}
		left := 0
		for _, i := range free.hosts {
			if h := &b.hosts[i]; h.grows() && !h.busy {
				left++
			}
		}
		if !q.vip && left <= free.Reserve {
			continue
		}
		for _, i := range free.hosts {
			h := &b.hosts[i]
			if !h.grows() || h.busy || h.CPU < worker.cpu || h.Memory < worker.mem || h.CPU <= 0 || b.dueSoon(h) {
				continue
			}
			if best < 0 || b.betterFree(h, &b.hosts[best], inZone) {
				best, from = i, int32(f)
			}
		}
	}
	if best < 0 {
		return false
	}
	b.loan(Borrow, best, q.Name, reason)
	b.transfer(best, from, p)
	return true
}

// betterFree prefers zones that the pool has less of, loans without a date, large hosts, names.
func (b *book) betterFree(a, c *host, inZone []int) bool {
	return cmp.Or(cmp.Compare(inZone[a.zone], inZone[c.zone]), cmp.Compare(truth(a.Due > 0), truth(c.Due > 0)), cmp.Compare(c.CPU, a.CPU), cmp.Compare(a.Name, c.Name)) < 0
}

// transfer moves a host between pools.
func (b *book) transfer(i, from, to int32) {
	f, t := &b.pools[from], &b.pools[to]
	f.hosts = slices.DeleteFunc(f.hosts, func(x int32) bool { return x == i })
	at, _ := slices.BinarySearch(t.hosts, i)
	t.hosts = slices.Insert(t.hosts, at, i)
	b.hosts[i].pool = to
	b.raiseLadder(from)
	b.raiseLadder(to)
}

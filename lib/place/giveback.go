package place

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// recall empties hosts that pools of lower class have on loan, for a vip pool
// that lacks them and finds no free one: the lowest class first, the emptiest host first.
func (b *book) recall(p int32) {
	q := &b.pools[p]
	coming := q.cap
	for coming.share(q.want) > b.in.Rules.BorrowAt && q.loaned < q.Loans {
		best := int32(-1)
		for i := range b.hosts {
			h := &b.hosts[i]
			from := &b.pools[h.pool]
			if !h.usable() || h.held || !b.lent(h) || from.vip || from.Class == Free || b.pools[b.poolOf(h.home)].Class != Free {
				continue
			}
			if best < 0 || b.cheaper(int32(i), best) {
				best = int32(i)
			}
		}
		if best < 0 {
			return
		}
		h := &b.hosts[best]
		if !h.leaving {
			b.loan(Recall, best, q.Name, fmt.Sprintf("%s of %s is wanted and no node is free", percent(q.cap.share(q.want)), q.Name))
		}
		h.draining, h.recalled, h.leaving, h.next = true, true, true, p
		coming = coming.plus(h.capacity(), 1)
		q.loaned++
		b.raiseLadder(h.pool)
	}
}

func (b *book) cheaper(x, y int32) bool {
	hx, hy := &b.hosts[x], &b.hosts[y]
	if rx, ry := classRank(b.pools[hx.pool].Class), classRank(b.pools[hy.pool].Class); rx != ry {
		return rx > ry
	}
	return hx.level < hy.level || hx.level == hy.level && x < y
}

// giveBack marks a host of each pool to be given back when the pool could have
// done without it for long enough. A large pool gives back several at once.
func (b *book) giveBack() {
	b.count()
	for p := range b.pools {
		if b.pools[p].Class != Free {
			b.giveBackOf(int32(p))
		}
	}
}

func (b *book) giveBackOf(p int32) {
	q := &b.pools[p]
	best := b.spare(q)
	since, low := find(b.in.State.Low, q.Name)
	switch {
	case best < 0:
		return
	case !low:
		since = b.in.At
	}
	if b.in.At-since >= seconds(b.in.Rules.ReturnAfter) {
		for n := max(1, len(q.hosts)/50); n > 0 && best >= 0; n-- {
			less := q.cap.plus(b.hosts[best].capacity(), -1).share(b.wantOn(q, len(q.ladder.heap)-1))
			b.loan(Leave, best, b.hosts[best].home, fmt.Sprintf("%s of the other nodes is wanted, for %s", percent(less), time.Duration(b.in.At-since)*time.Second))
			b.hosts[best].leaving = true
			b.raiseLadder(p)
			best = b.spare(q)
		}
		since = b.in.At
	}
	b.state.Low = append(b.state.Low, Since{q.Name, since})
}

// spare returns the host on loan that a pool can do without: the one that is due
// first, else the least used; -1: none.
func (b *book) spare(q *pool) int32 {
	best := int32(-1)
	want := b.wantOn(q, len(q.ladder.heap)-1)
	for _, i := range q.hosts {
		h := &b.hosts[i]
		if !h.grows() || !b.lent(h) {
			continue
		}
		if less := q.cap.plus(h.capacity(), -1); less.share(want) > b.in.Rules.ReturnAt {
			continue
		}
		if best < 0 || sooner(h, &b.hosts[best]) {
			best = i
		}
	}
	return best
}

// wantOn adds up what the services of a pool want on so many nodes: on fewer
// nodes more must be there for the same to be left after a loss.
func (b *book) wantOn(q *pool, nodes int) (want cost) {
	for _, i := range q.members {
		s := &b.services[i]
		on := 0
		for _, t := range s.seats {
			if t.n > 0 && b.hosts[t.host].pool == s.pool {
				on++
			}
		}
		n := b.settled(s)
		if !s.Hold {
			if on == 0 {
				on = s.nodesFor(nodes, q.zones)
			}
			n = s.wantAt(max(min(on, nodes), s.leastNodes(nodes, q.zones)), q.zones)
		}
		want = want.plus(s.each, n)
	}
	return want
}

func sooner(a, c *host) bool {
	if da, dc := due(a), due(c); da != dc {
		return da < dc
	}
	return a.level < c.level || a.level == c.level && a.Name < c.Name
}

func due(h *host) int64 {
	if h.Due == 0 {
		return math.MaxInt64
	}
	return h.Due
}

// rescue keeps or borrows hosts for services that found no room although their
// pool has capacity: it is in pieces that are too small for them. A host that
// does not help is put back. It reports whether any helped.
func (b *book) rescue() (changed bool) {
	for p := range b.pools {
		for range b.hosts {
			s := b.shortest(int32(p))
			if s == nil || !b.helped(int32(p), s) {
				break
			}
			changed = true
		}
	}
	return changed
}

// helped tries a host that the pool was to leave, then a free one.
func (b *book) helped(p int32, s *service) bool {
	for _, try := range []func() bool{
		func() bool { return b.keepOne(p) },
		func() bool { return b.borrowOne(p, s.each, s.Name+" finds no room on the other nodes") },
	} {
		lacks, loans, old := b.wantOf(s)-b.settled(s), len(b.loans), b.save()
		if !try() {
			continue
		}
		if b.settle(); b.wantOf(s)-b.settled(s) < lacks {
			return true
		}
		b.undo(b.loans[loans])
		b.loans = b.loans[:loans]
		b.restore(old)
	}
	return false
}

// undo takes back that a host was kept or borrowed.
func (b *book) undo(l Loan) {
	i := int32(slices.IndexFunc(b.hosts, func(h host) bool { return h.Name == l.Node }))
	if l.Kind == Keep {
		b.hosts[i].leaving = true
		b.raiseLadder(b.hosts[i].pool)
		return
	}
	b.transfer(i, b.poolOf(l.To), b.poolOf(l.From))
}

// shortest returns the first service of a pool, vip before others, that has less than it wants.
func (b *book) shortest(p int32) *service {
	for _, i := range b.pools[p].members {
		if s := &b.services[i]; !s.Hold && b.settled(s) < b.wantOf(s) {
			return s
		}
	}
	return nil
}

// goHome sends hosts on loan that are to leave and are empty to where they belong.
func (b *book) goHome() {
	left := make([]int, len(b.hosts))
	for i := range b.services {
		for _, t := range b.services[i].seats {
			left[t.host] += t.n
		}
	}
	for _, u := range b.unasked {
		if i, ok := slices.BinarySearchFunc(b.hosts, u.Node, func(h host, n string) int { return strings.Compare(h.Name, n) }); ok {
			left[i] += u.Count
		}
	}
	for i := range b.hosts {
		h := &b.hosts[i]
		if !b.lent(h) || !h.leaving && !h.draining || left[i] > 0 {
			continue
		}
		to, reason := h.home, "is empty"
		if h.next >= 0 {
			to = b.pools[h.next].Name
		}
		b.loan(Return, int32(i), to, reason)
	}
}

// find returns the time of a name in a list of them.
func find(list []Since, name string) (int64, bool) {
	for _, s := range list {
		if s.Name == name {
			return s.At, true
		}
	}
	return 0, false
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func percent(share float64) string {
	if share > 99 {
		return "more than there is"
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

func dateText(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02 15:04 UTC") }

package place

import (
	"fmt"
	"slices"
	"strings"
)

// Decide makes the plan of an input.
func Decide(in Input) Plan {
	if in.Rules == (Rules{}) {
		in.Rules = Defaults()
	}
	b := newBook(in)
	b.floors()
	b.relieve()
	b.arrange()
	b.giveBack()
	b.ease()
	b.arrange()
	b.goHome()
	return b.plan()
}

func (b *book) plan() Plan {
	out := Plan{
		Services: make([]Placement, 0, len(b.services)), Loans: append([]Loan{}, b.loans...),
		Short: []Shortage{}, Unasked: append([]Share{}, b.unasked...), Waves: b.waves(), State: b.state,
	}
	for i := range b.services {
		s := &b.services[i]
		p := b.placement(s)
		out.Moves += p.Moves
		if want := p.Wanted; p.Total < want && !s.Hold {
			out.Short = append(out.Short, Shortage{s.Name, s.VIP, want, p.Total, s.floor, b.shortReason(s)})
		}
		out.Services = append(out.Services, p)
	}
	for _, m := range b.in.State.Moves {
		if m.At > b.in.At-3600 && m.At <= b.in.At {
			out.State.Moves = append(out.State.Moves, m)
		}
	}
	if minute := b.in.At / 60 * 60; out.Moves > 0 {
		if n := len(out.State.Moves); n > 0 && out.State.Moves[n-1].At == minute {
			out.State.Moves = slices.Clone(out.State.Moves)
			out.State.Moves[n-1].Count += out.Moves
		} else {
			out.State.Moves = append(out.State.Moves, Moved{minute, out.Moves})
		}
	}
	return out
}

func (b *book) placement(s *service) Placement {
	w, _ := b.fine(s)
	p := Placement{Name: s.Name, Size: max(s.Size, 0), Wanted: w.total, Total: s.placed(), Moves: s.moves(b), Nodes: make([]Seat, 0, len(s.seats))}
	if s.Hold {
		p.Wanted = p.Total
	}
	for _, t := range s.seats {
		p.Nodes = append(p.Nodes, Seat{b.hosts[t.host].Name, t.was, t.n})
	}
	p.Loss = b.loss(s)
	p.Reasons = b.reasons(s, p)
	return p
}

// loss finds what a service loses at worst of what it must survive.
func (b *book) loss(s *service) Outcome {
	out := Outcome{Of: s.Survive, Need: s.remain()}
	if out.Of != Node && out.Of != Zone {
		out.Of = None
		return out
	}
	clear(b.sums)
	most, sum := 0, 0
	for _, t := range s.seats {
		h := &b.hosts[t.host]
		if !h.Alive {
			continue
		}
		sum += t.n
		name, n := h.Name, t.n
		if out.Of == Zone {
			b.sums[h.zone] += t.n
			name, n = h.Zone, b.sums[h.zone]
		}
		if n > most {
			most, out.Name = n, name
		}
	}
	out.Remain = sum - most
	return out
}

func (b *book) reasons(s *service, p Placement) []Note {
	if s.Hold {
		return []Note{{Held, "is left alone"}}
	}
	var out []Note
	note := func(c Code, format string, args ...any) { out = append(out, Note{c, fmt.Sprintf(format, args...)}) }
	before, changed := s.before(), false
	for _, t := range s.seats {
		changed = changed || t.n != t.was
	}
	if p.Wanted > p.Size {
		if s.remain() > 0 {
			note(Survives, "%d wanted, %d so that %d are left after the loss of a %s", p.Size, p.Wanted, s.remain(), s.Survive)
		} else {
			note(Spreads, "%d wanted, %d for at least %d nodes", p.Size, p.Wanted, s.MinNodes)
		}
	}
	if s.marks&markLost != 0 {
		note(Lost, "%s gone; what ran there starts elsewhere", b.lost(s))
	}
	if s.marks&markStuck != 0 {
		note(Drained, "stays on a drained node until there is room elsewhere")
	} else if s.marks&markDrained != 0 {
		note(Drained, "leaves a node that is drained; raised elsewhere first")
	}
	if s.marks&markCut != 0 {
		note(Cut, "gives room to what comes first")
	}
	if s.marks&markHot != 0 {
		note(Rebalance, "moves off a hot node, smallest services first")
	}
	if s.marks&markVacated != 0 {
		note(Vacated, "moves off a node that the pool gives back")
	}
	if s.marks&markEvened != 0 && p.Moves > 0 {
		note(Evened, "shares were too uneven, or a node too full")
	}
	if p.Total < p.Wanted {
		note(NoRoom, "%d of %d: %s", p.Total, p.Wanted, b.shortReason(s))
	}
	if s.marks&markSkewed != 0 && changed {
		note(Skewed, "more uneven than wanted: no other node has room")
	}
	if p.Loss.Remain < p.Loss.Need {
		note(Exposed, "the loss of %s would leave %d of the %d that it needs", p.Loss.Name, p.Loss.Remain, p.Loss.Need)
	}
	if before != p.Total {
		note(Sized, "%d become %d", before, p.Total)
	}
	if len(out) == 0 || !changed && len(out) == 1 && (out[0].Code == Survives || out[0].Code == Spreads) {
		out = append(out, Note{Stays, "fine where it is"})
	}
	return out
}

// lost names the hosts of s that are gone.
func (b *book) lost(s *service) string {
	var names []string
	for _, t := range s.seats {
		if h := &b.hosts[t.host]; !h.Alive {
			names = append(names, h.Name)
		}
	}
	switch len(names) {
	case 0:
		return "a node is"
	case 1:
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// shortReason says why a service gets less than it wants.
func (b *book) shortReason(s *service) string {
	p := &b.pools[s.pool]
	switch {
	case len(p.hosts) == 0:
		return fmt.Sprintf("pool %s has no nodes", p.Name)
	case len(p.ladder.heap) == 0:
		return fmt.Sprintf("pool %s has no node that may take it", p.Name)
	}
	free, fits := cost{}, false
	for _, i := range p.ladder.heap {
		h := &b.hosts[i]
		free = cost{free.cpu + max(h.CPU-h.used.cpu, 0), free.mem + max(h.Memory-h.used.mem, 0)}
		fits = fits || h.room(s, 1) > 0
	}
	what := fmt.Sprintf("%s free in pool %s", amount(free), p.Name)
	switch {
	case fits && s.PerNode > 0:
		return fmt.Sprintf("at most %d on a node, and pool %s has %d nodes", s.PerNode, p.Name, len(p.ladder.heap))
	case fits:
		return what + ", not where its spread allows"
	case s.VIP:
		return what + ", not on one node"
	}
	if p.Loans > 0 && p.loaned >= p.Loans {
		what += fmt.Sprintf(", which has its %d loans", p.Loans)
	}
	return what + "; vip services and floors come first, the rest is shared"
}

func amount(c cost) string {
	return fmt.Sprintf("%.1f cores and %.1f GiB", float64(c.cpu)/1000, float64(c.mem)/(1<<30))
}

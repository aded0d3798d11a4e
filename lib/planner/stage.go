package planner

import (
	"cmp"
	"fmt"
	"slices"

	"svckit/lib/place"
)

// Stage is what nodes are told on the way from one placement to the next: first
// what grows, and what shrinks only as far as what grew serves.
type Stage struct {
	Told    []place.Share // what each node is to be told now, by service and node; 0: the service leaves it
	Raised  []place.Share // the entries of Told that grow, as told now
	Lowered []place.Share // those that shrink
	Waits   []Held        // services that are on their way, and for what they wait, by name
}

// StageInput is what a stage is decided from.
type StageInput struct {
	Told  []place.Share // what nodes were told until now
	Want  []place.Share // where it is to end, without entries of 0
	Ready []place.Share // what serves, of the nodes that were seen
	Hosts []Node        //
	// Services are the shapes by name. One that is not there is left as it was told.
	Services  map[string]Shape
	RaiseOnly string // why nothing may shrink now; "": it may
	// Bounds are, of each service whose shape is exact, the nodes that may run some of it.
	Bounds map[string][]Bound
}

// Bound is how much of a service a node may run now, at most, whatever is not known of it.
type Bound struct {
	Node    string
	Most    int    // what it was told counts, too
	Unknown string // why nobody can say; "": Most is sure
}

// seat is one service on one node.
type seat struct {
	node              string
	told, want, ready int
	seen, alive       bool
}

// Advance decides the next stage. A node is never told more than it has room
// for, counting what still runs there; a service that may not run twice shrinks
// first and grows when that is done.
func Advance(in StageInput) Stage {
	s := newStaging(in)
	var out Stage
	for _, name := range s.names {
		seats := s.seats[name]
		shape, known := in.Services[name]
		before := tolds(seats)
		wait := ""
		switch {
		case !known:
		case shape.Exact:
			wait = s.exactly(seats, shape, in.Bounds[name])
		case shape.NoOverlap:
			wait = s.shrinkFirst(seats, shape)
		default:
			wait = s.growFirst(seats, shape)
		}
		if wait != "" {
			out.Waits = append(out.Waits, Held{name, wait})
		}
		for i, x := range seats {
			share := place.Share{Name: name, Node: x.node, Count: x.told}
			out.Told = append(out.Told, share)
			switch {
			case x.told > before[i]:
				out.Raised = append(out.Raised, share)
			case x.told < before[i]:
				out.Lowered = append(out.Lowered, share)
			}
		}
	}
	return out
}

type staging struct {
	in    StageInput
	names []string
	seats map[string][]*seat
	free  map[string][2]int64 // node → thousandths of a core and bytes
}

func newStaging(in StageInput) *staging {
	s := &staging{in: in, seats: map[string][]*seat{}, free: map[string][2]int64{}}
	hosts := map[string]Node{}
	for _, h := range in.Hosts {
		hosts[h.Name] = h
		s.free[h.Name] = [2]int64{h.CPU, h.Memory}
	}
	at := map[[2]string]*seat{}
	get := func(x place.Share) *seat {
		key := [2]string{x.Name, x.Node}
		if at[key] == nil {
			h, ok := hosts[x.Node]
			at[key] = &seat{node: x.Node, alive: ok && h.Alive, seen: ok && h.Alive && !h.Silent}
			s.seats[x.Name] = append(s.seats[x.Name], at[key])
		}
		return at[key]
	}
	for _, x := range in.Told {
		get(x).told = x.Count
	}
	for _, x := range in.Want {
		get(x).want = x.Count
	}
	for _, x := range in.Ready {
		if e := at[[2]string{x.Name, x.Node}]; e != nil {
			e.ready = x.Count
		}
	}
	for name, seats := range s.seats {
		s.names = append(s.names, name)
		slices.SortFunc(seats, func(a, b *seat) int { return cmp.Compare(a.node, b.node) })
		for _, x := range seats {
			s.use(x.node, in.Services[name], max(x.told, x.ready))
		}
	}
	slices.Sort(s.names)
	return s
}

func (s *staging) use(node string, shape Shape, n int) {
	f := s.free[node]
	s.free[node] = [2]int64{f[0] - int64(n)*shape.CPU, f[1] - int64(n)*shape.Memory}
}

// room is how many more a node has room for.
func (s *staging) room(node string, shape Shape) int {
	n := int64(1 << 30)
	for i, each := range []int64{shape.CPU, shape.Memory} {
		if each > 0 {
			n = min(n, max(s.free[node][i], 0)/each)
		}
	}
	return int(n)
}

// grow raises what can be raised and says what has no room yet.
func (s *staging) grow(seats []*seat, shape Shape) (wait string) {
	for _, x := range seats {
		by := x.want - x.told
		if by <= 0 {
			continue
		}
		has := max(x.told, x.ready)
		fits := min(x.want, has+s.room(x.node, shape))
		if fits < x.want {
			wait = fmt.Sprintf("%s has no room for %d more yet", x.node, x.want-fits)
		}
		if fits > x.told {
			s.use(x.node, shape, max(fits-has, 0))
			x.told = fits
		}
	}
	return wait
}

// growFirst shrinks only by what serves beyond the number that is wanted in all.
func (s *staging) growFirst(seats []*seat, shape Shape) string {
	wait := s.grow(seats, shape)
	slack, missing := 0, ""
	for _, x := range seats {
		if x.seen {
			slack += min(x.ready, x.told)
		}
		slack -= x.want
		if x.alive && x.want > min(x.ready, x.told) && missing == "" {
			missing = fmt.Sprintf("%s has %d of %d ready", x.node, min(x.ready, x.told), x.want)
		}
	}
	for _, x := range seats {
		by := x.told - x.want
		if by <= 0 {
			continue
		}
		switch {
		case !x.alive:
			x.told = x.want // it is not there, whatever it is told
		case s.in.RaiseOnly != "":
			wait = cmp.Or(wait, s.in.RaiseOnly)
		case !x.seen:
			wait = cmp.Or(wait, x.node+" is silent")
		case missing == "":
			x.told = x.want
		default:
			less := min(by, max(slack, 0))
			x.told, slack = x.told-less, slack-less
			if less < by {
				wait = cmp.Or(wait, missing)
			}
		}
	}
	return wait
}

// shrinkFirst grows only when all that was to shrink has done so.
func (s *staging) shrinkFirst(seats []*seat, shape Shape) (wait string) {
	for _, x := range seats {
		switch {
		case x.told > x.want && s.in.RaiseOnly != "" && x.alive:
			return s.in.RaiseOnly
		case x.told > x.want:
			x.told = x.want
		}
		switch {
		case x.alive && !x.seen && x.want < max(x.told, x.ready):
			wait = cmp.Or(wait, x.node+" is silent")
		case x.alive && x.ready > x.want:
			wait = cmp.Or(wait, fmt.Sprintf("%s still has %d, and it may not run twice", x.node, x.ready))
		}
	}
	if wait != "" {
		return wait
	}
	return s.grow(seats, shape)
}

func tolds(seats []*seat) []int {
	out := make([]int, len(seats))
	for i, x := range seats {
		out[i] = x.told
	}
	return out
}

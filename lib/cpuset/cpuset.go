// Package cpuset decides which cores of a node a container may run on. A bound
// container of n.m cores gets n cores that are its alone and, for the rest, a
// share of one fragment core that it has in common with other fragments.
// Unbound containers run on the cores that nobody owns alone; they must be
// remapped after every change, which is what makes exclusive cores exclusive.
//
// Pure: the books come from the containers that are there, nothing is stored.
// The order of any input does not change a result.
package cpuset

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Whole is one core in hundredths, the unit of all arithmetic here.
const Whole = 100

// Claim is one container in the books.
type Claim struct {
	ID        string
	Bound     bool    // owns or shares cores; an unbound one runs on what is left
	CPU       float64 // cores it declared; 0: unlimited
	Cores     []int   // bound: its exclusive cores first, then its fragment core. Unbound: where it may run now, nil: on every core
	Exclusive int     // how many of Cores are its alone
	Running   bool    // can be remapped
}

// Request is what a new container wants.
type Request struct {
	CPU     float64 // cores; 0: unlimited, unbound only
	Binding bool    // exclusive cores and at most one fragment core
}

// Allocation is where a container runs.
type Allocation struct {
	Bound     bool    // whether Cores go into the books (its labels)
	Cores     []int   // as in Claim; nil: every core
	Exclusive int     // as in Claim
	Quota     float64 // cores; 0: none
	Reason    string  // one line for the plan
}

// Change is an unbound container whose cores must be set again.
type Change struct {
	ID    string
	Cores []int // sorted, never empty
}

// Books makes claims of the containers on the node. A container with cores in
// its labels is bound. Stopped ones count too, since they can be started again.
func Books(instances []fleet.Instance) []Claim {
	var out []Claim
	for _, i := range instances {
		if i.State == fleet.Dead || i.State == fleet.Removing {
			continue
		}
		c := Claim{
			ID: i.ID, Bound: len(i.Cores) > 0, CPU: i.CPU, Cores: i.Cores, Exclusive: i.Exclusive,
			Running: i.State == fleet.Running || i.State == fleet.Paused || i.State == fleet.Restarting,
		}
		if !c.Bound {
			c.Cores = i.Allowed
		}
		out = append(out, c)
	}
	return out
}

// Allocate finds cores for a request. Granularity is the smallest fragment in
// hundredths of a core: 1 or 10. A request that does not fit is a fault of kind
// Refused that says what is free; a malformed one is of kind Invalid.
func Allocate(cores []int, granularity int, books []Claim, r Request) (Allocation, error) {
	want, err := hundredths(r.CPU, granularity)
	if err != nil {
		return Allocation{}, err
	}
	t := tally(cores, books)
	if r.CPU > float64(len(t.load)) {
		return Allocation{}, fault.New(fault.Refused, "allocate %s cores: the node has %d", text(want), len(t.load))
	}
	if !r.Binding {
		return t.unbound(want)
	}
	if want == 0 {
		return Allocation{}, fault.New(fault.Invalid, "bind cores: the number of cores is not set")
	}
	return t.bound(want, books)
}

// hundredths reads a number of cores that was written in decimal.
func hundredths(cpu float64, granularity int) (int, error) {
	if granularity < 1 || granularity > Whole || Whole%granularity != 0 {
		return 0, fault.New(fault.Invalid, "allocate cores: granularity %d does not divide a core of %d", granularity, Whole)
	}
	h := math.Round(cpu * Whole)
	if math.IsNaN(h) || h < 0 || h > 1e6 || math.Abs(cpu*Whole-h) > 1e-6 {
		return 0, fault.New(fault.Invalid, "allocate cores: %v is not a number of cores in hundredths", cpu)
	}
	if int(h)%granularity != 0 {
		return 0, fault.New(fault.Invalid, "allocate %s cores: expected a multiple of %s", text(int(h)), text(granularity))
	}
	return int(h), nil
}

// text writes hundredths as cores: 150 is 1.5.
func text(h int) string { return strconv.FormatFloat(float64(h)/Whole, 'f', -1, 64) }

// sheet is the state of each core.
type sheet struct {
	load  map[int]int  // core → hundredths that fragments have of it; every core has an entry
	owned map[int]bool // cores that belong to one container alone
}

// tally adds up the books. It believes the worst of books that contradict
// themselves: a core that is named without a known share counts as full. Cores
// that the node does not have are left out.
func tally(cores []int, books []Claim) sheet {
	s := sheet{load: map[int]int{}, owned: map[int]bool{}}
	for _, c := range cores {
		s.load[c] = 0
	}
	for _, b := range books {
		if !b.Bound {
			continue
		}
		exclusive := min(max(b.Exclusive, 0), len(b.Cores))
		for _, c := range b.Cores[:exclusive] {
			if _, here := s.load[c]; here {
				s.owned[c] = true
			}
		}
		share := int(math.Round(b.CPU*Whole)) - exclusive*Whole
		if len(b.Cores)-exclusive > 1 || share <= 0 || share > Whole {
			share = Whole
		}
		for _, c := range b.Cores[exclusive:] {
			if _, here := s.load[c]; here {
				s.load[c] += share
			}
		}
	}
	return s
}

// free lists the cores that nobody has any part of, lowest first.
func (s sheet) free() (out []int) {
	for _, c := range slices.Sorted(maps.Keys(s.load)) {
		if s.load[c] == 0 && !s.owned[c] {
			out = append(out, c)
		}
	}
	return out
}

// shared lists the cores that nobody owns alone, lowest first.
func (s sheet) shared() (out []int) {
	for _, c := range slices.Sorted(maps.Keys(s.load)) {
		if !s.owned[c] {
			out = append(out, c)
		}
	}
	return out
}

// fragment picks the core for a fragment: the fullest one it still fits on, so
// that whole cores stay whole; else a free core, the highest, since exclusive
// cores are taken from the lowest up.
func (s sheet) fragment(share int) (int, bool) {
	var fits []int
	for c, load := range s.load {
		if load > 0 && !s.owned[c] && load+share <= Whole {
			fits = append(fits, c)
		}
	}
	if len(fits) > 0 {
		return slices.MinFunc(fits, func(a, b int) int { return cmp.Or(cmp.Compare(s.load[b], s.load[a]), cmp.Compare(a, b)) }), true
	}
	if free := s.free(); len(free) > 0 {
		return free[len(free)-1], true
	}
	return 0, false
}

func (s sheet) bound(want int, books []Claim) (Allocation, error) {
	a := Allocation{Bound: true, Exclusive: want / Whole, Quota: float64(want) / Whole}
	share := want % Whole
	free := s.free()
	fragment := -1
	if share > 0 {
		c, ok := s.fragment(share)
		if !ok {
			return Allocation{}, s.refuse(want)
		}
		fragment = c
		free = slices.DeleteFunc(free, func(f int) bool { return f == c })
	}
	if len(free) < a.Exclusive {
		return Allocation{}, s.refuse(want)
	}
	a.Cores = slices.Clone(free[:a.Exclusive])
	if a.Exclusive == len(s.shared()) && slices.ContainsFunc(books, func(b Claim) bool { return !b.Bound }) {
		return Allocation{}, fault.New(fault.Refused, "allocate %s cores: that leaves no core to the unbound containers of the node; %s", text(want), s.spare())
	}
	a.Reason = "cores " + List(a.Cores) + " alone"
	switch {
	case share > 0 && a.Exclusive > 0:
		a.Reason += fmt.Sprintf(" and %s of core %d", text(share), fragment)
	case share > 0:
		a.Reason = fmt.Sprintf("%s of core %d", text(share), fragment)
	}
	if share > 0 {
		a.Cores = append(a.Cores, fragment)
	}
	return a, nil
}

func (s sheet) unbound(want int) (Allocation, error) {
	shared := s.shared()
	switch {
	case len(shared) == 0:
		return Allocation{}, fault.New(fault.Refused, "allocate cores: every core of the node belongs to a container alone")
	case len(shared) == len(s.load):
		return Allocation{Quota: float64(want) / Whole, Reason: "not bound: every core"}, nil
	}
	return Allocation{Cores: shared, Quota: float64(want) / Whole, Reason: "not bound: cores " + List(shared) + ", which nobody owns"}, nil
}

func (s sheet) refuse(want int) error {
	return fault.New(fault.Refused, "allocate %s cores: %s", text(want), s.spare())
}

// spare says what is free.
func (s sheet) spare() string {
	free := s.free()
	parts := []string{fmt.Sprintf("%d of %d cores are free", len(free), len(s.load))}
	for _, c := range slices.Sorted(maps.Keys(s.load)) {
		if load := s.load[c]; load > 0 && load < Whole && !s.owned[c] {
			parts = append(parts, fmt.Sprintf("%s of core %d", text(Whole-load), c))
		}
	}
	if len(parts) > 6 {
		parts = append(parts[:6], "…")
	}
	return strings.Join(parts, ", ")
}

// Shared lists the cores that unbound containers run on: those that nobody owns alone, sorted.
func Shared(cores []int, books []Claim) []int { return tally(cores, books).shared() }

// Remap lists the running unbound containers whose cores differ from the
// shared ones, sorted by ID. Call it with the books as they are after a change,
// and carry it out before a container on exclusive cores starts.
func Remap(cores []int, books []Claim) []Change {
	t := tally(cores, books)
	shared := t.shared()
	if len(shared) == 0 {
		return nil // no place is better than another; Allocate does not let it come to this
	}
	all := slices.Sorted(maps.Keys(t.load))
	var out []Change
	for _, b := range books {
		if b.Bound || !b.Running {
			continue
		}
		now := slices.Sorted(slices.Values(b.Cores))
		if len(now) == 0 {
			now = all
		}
		if !slices.Equal(now, shared) {
			out = append(out, Change{ID: b.ID, Cores: shared})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// List writes cores as the label does: 0,1. Order is kept, since it tells
// exclusive cores from the fragment core.
func List(cores []int) string {
	parts := make([]string, len(cores))
	for i, c := range cores {
		parts[i] = strconv.Itoa(c)
	}
	return strings.Join(parts, ",")
}

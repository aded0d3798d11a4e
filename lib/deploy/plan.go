package deploy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"svckit/lib/spec"
)

// Wanted is what a deploy is asked for.
type Wanted struct {
	App, Release, Image string
	Rollback            bool
	Only                string
	Place               bool
	Services, Tight     []string
	Stable              map[string]Aim
	Nodes               map[string]string // name → zone
	How                 spec.Deploy
	Run, Holder         string
}

// Plan is a deploy that has not begun, and what is worth saying about it.
//
// The canary goes first. A batch holds nodes of one zone only, so that a release
// that is bad in a way that no check sees has reached one zone when people do. Nodes
// are sorted by zone and name. A service that stops before it starts is never
// changed on so many nodes at once that fewer than the floor are left.
func Plan(w Wanted, now time.Time) (State, []string) {
	total := len(w.Nodes)
	s := State{
		App: w.App, Release: w.Release, Image: w.Image, Rollback: w.Rollback, Only: w.Only, Place: w.Place, Services: w.Services, Tight: w.Tight, Stable: w.Stable,
		Run: w.Run, Holder: w.Holder, Began: now, Beat: now, Phase: Pull, Size: max(w.How.Batch.Of(total), 1), Nodes: map[string]Node{},
	}
	var notes []string
	if len(w.Tight) > 0 {
		s.Floor = min(w.How.Floor.Of(total), max(total-1, 0))
		if most := max(total-s.Floor, 1); s.Size > most {
			notes = append(notes, fmt.Sprintf("batches of %d instead of %d: %s stops before it starts, and %d nodes must go on serving",
				most, s.Size, strings.Join(w.Tight, ", "), s.Floor))
			s.Size = most
		}
		if total == 1 {
			notes = append(notes, fmt.Sprintf("%s stops before it starts, and no other node has it: it will be away for a moment", strings.Join(w.Tight, ", ")))
		}
	}
	for name, zone := range w.Nodes {
		s.Nodes[name] = Node{Zone: zone, Is: Waiting}
	}
	for _, key := range w.Services {
		if w.Stable[key].Release == "" {
			notes = append(notes, fmt.Sprintf("%s has no stable release: if this deploy fails, there is nothing to go back to", key))
		}
	}
	names := s.byZone(slices.Collect(maps.Keys(w.Nodes)))
	canary := min(w.How.Canary, total)
	s.Batches = append(s.chunks(names[:canary]), s.chunks(names[canary:])...)
	return s, notes
}

// byZone sorts names of nodes by zone, then name.
func (s State) byZone(names []string) []string {
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Nodes[a].Zone, s.Nodes[b].Zone), cmp.Compare(a, b))
	})
	return names
}

// chunks cuts nodes in this order into batches: a new one begins when one is full, or with a new zone.
func (s State) chunks(names []string) (out [][]string) {
	for _, name := range names {
		last := len(out) - 1
		if last < 0 || len(out[last]) == s.Size || s.Nodes[out[last][0]].Zone != s.Nodes[name].Zone {
			out = append(out, nil)
			last++
		}
		out[last] = append(out[last], name)
	}
	return out
}

// Rounds is how often the nodes of a deploy must be called at most until it has
// ended: for the pull, for each batch, and for the way back, in which those that
// failed make one batch more. Nodes that an earlier run has left may need a batch each.
func (s State) Rounds() int {
	if s.Phase == Back {
		return len(s.Returns)
	}
	left := len(s.Nodes) - len(s.planned())
	return 1 + len(s.Batches) + min(len(s.Batches)+1+left, len(s.Nodes))
}

// returns are the batches in which a deploy goes back: the nodes that failed first, since they may serve what is bad.
func (s State) returns() [][]string {
	var broken, others []string
	for name, n := range s.Nodes {
		switch {
		case !n.Touched || n.Is == Returned:
		case n.Is == Broken:
			broken = append(broken, name)
		default:
			others = append(others, name)
		}
	}
	return append(s.chunks(s.byZone(broken)), s.chunks(s.byZone(others))...)
}

// Step is one thing that a deploy does, and why then.
type Step struct {
	Do  string `json:"do"`
	Why string `json:"why"`
}

func (s Step) String() string { return s.Do + ": " + s.Why }

// Steps is a plan in words, for people and for the journal.
func (s State) Steps() []Step {
	out := []Step{{fmt.Sprintf("pull %s on %s", s.Image, strings.Join(s.planned(), ", ")), "no node changes before all have the images"}}
	for i, b := range s.Batches {
		why := fmt.Sprintf("at most %d at once, of one zone", s.Size)
		if i == 0 && len(s.Batches) > 1 {
			why = "first, so that what is bad reaches no more"
		}
		out = append(out, Step{fmt.Sprintf("bring %s to %s", strings.Join(b, ", "), s.Release), why})
	}
	return append(out, Step{fmt.Sprintf("make %s the current release, and mark it stable", s.Release), "every node runs it"})
}

// Package peers holds the rules of other autoscalers, each written down from its
// published source or documentation, to be played on the same traces. They are
// controllers of lib/simulate. What is modelled is the rule and its timing, not
// the API servers around it: none of the peers pays for its own load.
//
// Where a peer needs a signal that it does not prescribe, it gets the best one
// that its users commonly have; each says which.
package peers

import (
	"math"
	"slices"

	"svckit/lib/fault"
	"svckit/lib/simulate"
)

// World is what a peer may be told before it starts: what an operator knows.
type World struct {
	Trace   *simulate.Trace // static peers look at its peak; the oracle at all of it
	Usual   *simulate.Trace // an ordinary day; nil: Trace
	Service float64         // usual service time in seconds
	StartUp int             // seconds
}

// Peer is one row of the scoreboard.
type Peer struct {
	Name  string // e.g. hpa-tuned
	About string
	Queue bool // it reads a queue
	Web   bool // it reads requests
	New   func(World) simulate.Controller
}

// All lists the peers in the order of the scoreboard.
func All() []Peer {
	return slices.Concat(hpaPeers(), kpaPeers(), nomadPeers(), kedaPeers(), awsPeers(), daePeers(), staticPeers())
}

// Find returns the peers of a name: itself, or all whose name begins with it
// and a dash. An unknown one is a fault of kind Usage.
func Find(name string) ([]Peer, error) {
	var out []Peer
	var known []string
	for _, p := range All() {
		known = append(known, p.Name)
		if p.Name == name {
			return []Peer{p}, nil
		}
		if len(p.Name) > len(name) && p.Name[:len(name)+1] == name+"-" {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Usage, "compare with %q: expected some of oracle, %v", name, known)
	}
	return out, nil
}

func ceil(f float64) int {
	switch c := math.Ceil(f - 1e-9); {
	case !(c > 0):
		return 0
	case c > 1e6:
		return 1e6
	default:
		return int(c)
	}
}

// capped keeps a number within 1 and what fits.
func capped(n int, v *simulate.View) int {
	if v.Capacity > 0 {
		n = min(n, v.Capacity)
	}
	return max(n, 1)
}

package lead

import (
	"cmp"
	"slices"
	"time"

	"svckit/lib/fleet"
)

// How long a node must be away before what it runs is placed elsewhere.
const (
	goneAfter = 15 * time.Second // that Consul's failure detector calls dead
	leftAfter = time.Minute      // that Consul does not know any more: an agent that restarts leaves for a moment
)

// presence remembers when each node was last there.
type presence map[string]time.Time

// look returns the nodes as the planner takes them: one that went away only just
// now still counts as alive, and silent. told are the nodes that have a wish.
func (p presence) look(now time.Time, list []fleet.Monitor, told map[string]fleet.Want) []fleet.Monitor {
	out := slices.Clone(list)
	there := map[string]bool{}
	for i := range out {
		m := &out[i]
		there[m.Node] = true
		last, known := p[m.Node]
		switch {
		case m.Alive:
			p[m.Node] = now
		case !known:
			p[m.Node] = now.Add(-goneAfter) // nobody here has seen it alive
		case now.Sub(last) < goneAfter:
			m.Alive, m.Address = true, ""
		}
	}
	for node := range told {
		if there[node] {
			continue
		}
		if _, known := p[node]; !known {
			p[node] = now
		}
		if now.Sub(p[node]) < leftAfter {
			out = append(out, fleet.Monitor{Node: node, Alive: true})
		}
	}
	for node, last := range p {
		if _, ok := told[node]; !ok && !there[node] && now.Sub(last) > leftAfter {
			delete(p, node)
		}
	}
	slices.SortFunc(out, func(a, b fleet.Monitor) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

package wish

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	shortFor   = 3  // seconds in a row that memory must be short
	shortPause = 30 // seconds until a stop has shown what it gave back
)

// SpareFor is how many seconds a container that was given up stays away.
const SpareFor = 10 * 60

// Use is the memory of one service on this node, in bytes.
type Use struct {
	Name     string // app/service
	VIP      bool   //
	Used     int64  // by its containers together
	Declared int64  // by them together; 0: one of them declared nothing
}

// over is how much more it uses than it said.
func (u Use) over() int64 { return u.Used - u.Declared }

// Guard is what the memory guard of a node remembers. The zero value: nothing.
type Guard struct {
	Short int   // seconds in a row that memory was short
	Last  int64 // when it last named a service, in unix seconds
}

// Step looks at one second of a node. When memory was short for a few of them it
// names the service that is to give up a container: the one that is furthest over
// what it declared, one of priority vip only when no other is over. Where nobody
// is over it names none and says so. reason is "" while memory is not short.
func (g Guard) Step(at, total, used int64, uses []Use) (next Guard, name, reason string) {
	free, floor := total-used, min(max(total*3/100, 128<<20), total/10)
	if total <= 0 || used <= 0 || free >= floor {
		return Guard{Last: g.Last}, "", ""
	}
	if g.Short++; g.Short < shortFor || at-g.Last < shortPause {
		return g, "", ""
	}
	g.Short = 0
	short := fmt.Sprintf("%d MiB of %d MiB are left on this node", free>>20, total>>20)
	over := slices.DeleteFunc(slices.Clone(uses), func(u Use) bool { return u.over() <= 0 })
	if len(over) == 0 {
		return g, "", short + ", and no service that the planner placed here uses more than it declared"
	}
	slices.SortFunc(over, func(a, b Use) int {
		if a.VIP != b.VIP {
			return map[bool]int{true: 1, false: -1}[a.VIP]
		}
		return cmp.Or(cmp.Compare(b.over(), a.over()), cmp.Compare(a.Name, b.Name))
	})
	u := over[0]
	g.Last = at
	return g, u.Name, fmt.Sprintf("%s, and %s uses %d MiB where it declared %d MiB", short, u.Name, u.Used>>20, u.Declared>>20)
}

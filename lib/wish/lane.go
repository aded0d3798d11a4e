package wish

import (
	"svckit/lib/fleet"
	"svckit/lib/scale"
)

const (
	adopts = 10  // seconds after which a new wish knows of what the fast lane did: two ticks of the planner
	stays  = 300 // seconds that workers of the fast lane stay when the planner says nothing new
)

// Lane is what the fast lane of one service did since the planner last said how
// many workers it wants. The zero value: nothing.
type Lane struct {
	State scale.LaneState
	Extra int // workers above the count
}

// Step lets the fast lane see one second of a service. A freeze that forbids
// changes forbids this one too.
func (l Lane) Step(in scale.LaneInput, a fleet.Allotment, mode scale.FreezeMode) Lane {
	if l.Extra > 0 && in.At-l.State.Last >= stays {
		l.Extra = 0
	}
	if a.Unit != Workers || a.Count == 0 || mode == scale.Observe || mode == scale.NoChange {
		return Lane{Extra: l.Extra, State: scale.LaneState{Last: l.State.Last}}
	}
	in.Room = max(a.Room-l.Extra, 0)
	add, next := scale.Lane(l.State, in)
	l.State = next
	l.Extra += add
	return l
}

// Adopt is the lane after a new wish of this age (unix seconds). One that was
// written with knowledge of what the lane did counts as it is; an older one
// never takes away what the lane added.
func (l Lane) Adopt(before, now fleet.Allotment, at int64) Lane {
	if at >= l.State.Last+adopts || now.Unit != before.Unit || now.Count == 0 {
		l.Extra = 0
		return l
	}
	l.Extra = min(max(before.Count+l.Extra-now.Count, 0), max(now.Room, l.Extra))
	return l
}

package simulate

import (
	"testing"
	"time"

	"svckit/lib/scale"
)

// After the loss of any one node the service level holds without an action:
// the size that the rule chose before must do, while nobody decides any more.
func TestWhatSurvivesANodeKeepsTheServiceLevelWithoutAnAction(t *testing.T) {
	for _, row := range []struct {
		rps   float64
		nodes int
	}{{20, 2}, {200, 3}, {200, 8}, {1000, 6}} {
		trace := steady(1800, row.rps, 0.2)
		trace.Nodes = make([]int, trace.Len())
		for s := range trace.Nodes {
			trace.Nodes[s] = row.nodes
			if s >= 900 {
				trace.Nodes[s]--
			}
		}
		p := scale.Policy{
			Strategy: scale.BusyRatio, Wait: 0.03, WaitOver: 100 * time.Millisecond, Survive: "node",
			StartUp: 15 * time.Second, Tick: 5 * time.Second, Down: scale.Down{After: time.Hour},
		}
		// It decides until the loss, and what is lost is not replaced.
		r := Run(Draw(trace, 1), Setup{Initial: int(row.rps/5) + 10, StartUp: 10000}, until{&Rule{Policy: p}, 890}, nil)
		if r.SLOMinutes > 0 {
			t.Errorf("%v requests/s on %d nodes: %d of 30 minutes broken", row.rps, row.nodes, r.SLOMinutes)
		}
	}
}

// until decides up to a second, and gives what it wants at once.
type until struct {
	*Rule
	end int
}

func (u until) Decide(v *View) int {
	if v.At > u.end {
		return v.Size
	}
	n := u.Rule.Decide(v)
	u.w(v).ready = n
	u.w(v).starting = nil
	u.w(v).spread()
	return n
}

func (until) w(v *View) *world { return v.w }

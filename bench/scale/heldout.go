package main

import (
	"fmt"
	"math"

	"svckit/lib/simulate"
)

// heldOut plays random services that the rule was never looked at with: sizes
// from under 1 to 400 Erlangs, start-up times of 5 to 120 s, service times of
// 20 ms to 2 s, and shapes of their own.
func heldOut(o options) error {
	fmt.Printf("| service | Erlangs | start-up | policy | SLO minutes | late %% | cost | actions |\n|---|---|---|---|---|---|---|---|\n")
	type total struct {
		slo, actions int
		cost, late   float64
	}
	sums := map[string]*total{}
	for n := 1; n <= o.heldOut; n++ {
		t, startUp := simulate.Random(uint64(n))
		work := simulate.Draw(t, uint64(n))
		setup := simulate.Setup{StartUp: startUp, Seed: uint64(n)}
		best, _ := simulate.RunOracle(work, setup, 0.003)
		most := 0.0
		for s := range t.Len() {
			most = max(most, t.Erlangs(s))
		}
		for _, c := range contenders() {
			if !c.web || !o.wants(c.name) || c.name == "svckit-history" {
				continue
			}
			ctl := c.make(t, nil, startUp)
			r := simulate.Run(work, setup, ctl, nil)
			fmt.Printf("| %d %s | %.1f | %d s | %s | %d | %.3f | %.2f | %d |\n", n, t.Name, most, startUp, c.name, r.SLOMinutes, r.LatePercent(), r.Paid/best.Paid, r.Actions)
			s := sums[c.name]
			if s == nil {
				s = &total{}
				sums[c.name] = s
			}
			s.slo, s.actions = s.slo+r.SLOMinutes, s.actions+r.Actions
			s.cost, s.late = s.cost+math.Log(r.Paid/best.Paid), s.late+r.LatePercent()
		}
	}
	fmt.Printf("\n| policy | SLO minutes | late %%, mean | cost, geometric mean | actions |\n|---|---|---|---|---|\n")
	for _, c := range contenders() {
		if s := sums[c.name]; s != nil {
			k := float64(o.heldOut)
			fmt.Printf("| %s | %d | %.3f | %.3f | %d |\n", c.name, s.slo, s.late/k, math.Exp(s.cost/k), s.actions)
		}
	}
	return nil
}

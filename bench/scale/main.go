package main

import (
	"fmt"
	"os"
	"time"

	"svckit/lib/scale"
	"svckit/lib/simulate"
	"svckit/lib/spec"
)

func main() {
	p := scale.Policy{
		Strategy: scale.BusyRatio, Wait: 0.02, WaitOver: 100 * time.Millisecond, Min: 2, StartUp: 15 * time.Second,
		Down: spec.ScaleDown{After: 10 * time.Minute, Step: 0.10}, OnBlind: scale.BlindForecast, Seasonal: true, Tick: 5 * time.Second,
	}
	slo, act, cost, n := 0, 0, 0.0, 0
	for _, st := range simulate.Stories() {
		if len(os.Args) > 1 && os.Args[1] != st.Name {
			continue
		}
		tr, _ := simulate.Generate(st.Name, 1)
		t0 := time.Now()
		w := simulate.Draw(tr, 1)
		t1 := time.Now()
		setup := simulate.Setup{StartUp: 15, NodeSlots: 8}
		o, share := simulate.RunOracle(w, setup)
		t2 := time.Now()
		q := p
		if tr.Queue() {
			q.Strategy = scale.Queue
		}
		r := simulate.Run(w, setup, &simulate.Rule{Policy: q, Lane: true}, nil)
		t3 := time.Now()
		fmt.Printf("%s n=%d oracle slo %d share %.4f late %.3f  | ours slo %d late %.3f cost %.3f /work %.2f act %d turns %d react %.0f killed %d | %v %v %v\n", st.Name, w.Total(), o.SLOMinutes, share, o.LatePercent(), r.SLOMinutes, r.LatePercent(), r.Paid/o.Paid, r.Paid/r.Work, r.Actions, r.Turns, r.Reaction, r.Killed, t1.Sub(t0), t2.Sub(t1), t3.Sub(t2))
		if st.Name != "Q" {
			slo += r.SLOMinutes
			act += r.Actions
			cost += r.Paid / o.Paid
			n++
		}
	}
	fmt.Println(slo, act, cost/float64(n))
}

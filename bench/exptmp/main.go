package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"svckit/lib/scale"
	"svckit/lib/simulate"
	"svckit/lib/spec"
)

// args: wait over_ms hold_min traces...
func main() {
	f := func(i int) float64 { v, _ := strconv.ParseFloat(os.Args[i], 64); return v }
	p := scale.Policy{
		Strategy: scale.BusyRatio, Wait: f(1), WaitOver: time.Duration(f(2)) * time.Millisecond, Min: 2, StartUp: 15 * time.Second,
		Down: spec.ScaleDown{After: time.Duration(f(3)) * time.Minute, Step: 0.10}, OnBlind: scale.BlindForecast, Seasonal: true, Tick: 5 * time.Second,
	}
	oracle := map[string]float64{"T1": 1, "T6": 1}
	_ = oracle
	slo, act, cost, n := 0, 0, 0.0, 0
	for _, name := range os.Args[4:] {
		tr, err := simulate.Generate(name, 1)
		if err != nil {
			panic(err)
		}
		w := simulate.Draw(tr, 1)
		setup := simulate.Setup{StartUp: 15, NodeSlots: 8}
		o := simulate.Run(w, setup, simulate.NewOracle(tr, 15, 0.0031), nil)
		q := p
		if tr.Queue() {
			q.Strategy = scale.Queue
			o.Paid = o.Work
		}
		r := simulate.Run(w, setup, &simulate.Rule{Policy: q, Lane: true}, nil)
		fmt.Printf("%s slo %d late %.3f cost %.3f act %d turns %d react %.0f drained %d most %d\n", name, r.SLOMinutes, r.LatePercent(), r.Paid/o.Paid, r.Actions, r.Turns, r.Reaction, r.Drained, r.MostQueued)
		if name != "Q" {
			slo += r.SLOMinutes
			act += r.Actions
			cost += r.Paid / o.Paid
			n++
		}
	}
	fmt.Println(slo, act, cost/float64(n))
}

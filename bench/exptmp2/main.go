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

func main() {
	from, _ := strconv.Atoi(os.Args[2])
	to, _ := strconv.Atoi(os.Args[3])
	tr, _ := simulate.Generate(os.Args[1], 1)
	w := simulate.Draw(tr, 1)
	setup := simulate.Setup{StartUp: 15, NodeSlots: 8}
	or := simulate.NewOracle(tr, 15, 0.0031)
	p := scale.Policy{
		Strategy: scale.BusyRatio, Wait: .02, WaitOver: 100 * time.Millisecond, Min: 2, StartUp: 15 * time.Second,
		Down: spec.ScaleDown{After: 10 * time.Minute, Step: 0.10}, OnBlind: scale.BlindForecast, Seasonal: true, Tick: 5 * time.Second,
	}
	if tr.Queue() {
		p.Strategy = scale.Queue
	}
	last := -1
	simulate.Run(w, setup, &simulate.Rule{Policy: p, Lane: true, Journal: func(p scale.Policy, s scale.State, in scale.Input, d scale.Decision) {
		at := int(in.At - 1748822400)
		if at < from || at > to || d.Size == d.From && at-last < 600 {
			return
		}
		last = at
		v := simulate.View{At: at}
		fmt.Printf("%.3fh E %.1f ready %d %d->%d wish %d oracle %d %s hold %.0f guard %d ", float64(at)/3600, tr.Erlangs(min(at, 86399)), in.Ready, d.From, d.Size, d.Wish, or.Decide(&v), d.Reason, s.Hold, s.Guard.Since)
		if l := in.Signals[0].Load; l != nil {
			fmt.Printf("l60 %.0f l10 %.0f l1 %.0f wait %.0f ", l.Rate60, l.Rate10, l.Rate1, l.Waiting)
		}
		if l := in.Signals[0].Backlog; l != nil {
			fmt.Printf("%+v ", *l)
		}
		fmt.Println(d.Proposals[0], d.Limits, d.Alarms)
	}}, nil)
}

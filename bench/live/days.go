package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"svckit/lib/simulate"
)

// peak is the largest load of a usual day here, in requests per second: six busy
// workers, so that sleeping workers and the load itself fit on two cores.
const peak = 60

// tracePeak is the same in the traces of scaled trace.
const tracePeak = 200

// story is one trace as it is played: seconds of real time, and the load at each.
type story struct {
	name, words string
	seconds     float64
	rate        func(second float64) float64
}

func stories() ([]story, error) {
	var days [3]*simulate.Trace
	for k, name := range []string{"T1", "T3", "T5"} {
		var err error
		if days[k], err = simulate.Generate(name, 1); err != nil {
			return nil, err
		}
	}
	load := func(k int, second float64) float64 {
		return days[k].RPS[min(int(second), days[k].Len()-1)] * peak / tracePeak
	}
	const (
		day                          = 240.0        // seconds that T1 takes
		push                         = 14*3600 - 30 // T3 from here, as it is
		cut, away, outage, usual, up = 20*3600 + 1800, 25 * 60, 30.0, 65.0, 35.0
	)
	return []story{
		{"T1", "a day in 240 s", day, func(s float64) float64 { return load(0, s/day*simulate.Day) }},
		{"T3", "four times the load within 30 s, not announced", 130, func(s float64) float64 { return load(1, push+s) }},
		{"T5", "an outage, of 30 s: 3 % of the load, then 120 % within 10 s", usual + outage + up, func(s float64) float64 {
			if s < usual+outage {
				return load(2, cut-usual+s)
			}
			return load(2, cut+away+s-usual-outage)
		}},
	}, nil
}

// figures are what a story came to for one service.
type figures struct {
	sent, failed, late int
	violated, pieces   int     // pieces of 5 s whose p95 wait is over 250 ms
	paid               float64 // worker-seconds
}

const (
	piece   = 5.0
	promise = 0.25
	lateBy  = 0.5

	maxFailed = 10 // readings of the number of workers, of hundreds
)

// days plays each story on a service that is scaled and, at the same time and on
// the same node, on one of a static size: the one that the peak of a usual day
// needs. The long story is alone, the short ones go on at once.
func (g *ground) days(pace float64) error {
	list, err := stories()
	if err != nil {
		return err
	}
	fmt.Printf("| trace | service | requests | failed | later than 0.5 s | SLO minutes (p95 wait > 250 ms) | worker-seconds | of static |\n|---|---|---|---|---|---|---|---|\n")
	for _, at := range [][]story{list[:1], list[1:]} {
		done := make([][2]figures, len(at))
		errs := make([]error, len(at))
		var all sync.WaitGroup
		for k, s := range at {
			all.Go(func() { done[k][0], done[k][1], errs[k] = g.play(s, pace) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for k, s := range at {
			for n, name := range []string{"scaled", fmt.Sprintf("static, %d workers", g.static)} {
				f := done[k][n]
				fmt.Printf("| %s: %s | %s | %d | %d | %.2f %% | %.2f of %.1f | %.0f | %.2f |\n", s.name, s.words, name, f.sent, f.failed,
					100*float64(f.late)/float64(max(f.sent, 1)), float64(f.violated)*piece/60, float64(f.pieces)*piece/60, f.paid, f.paid/done[k][1].paid)
			}
		}
	}
	fmt.Println()
	return nil
}

// play puts one story on both services.
func (g *ground) play(s story, pace float64) (ours, static figures, err error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(s.seconds/pace*float64(time.Second)))
	defer stop()
	service := app + "/" + strings.ToLower(s.name)
	urls := [2]string{}
	for k, name := range []string{service, service + "-static"} {
		if urls[k], err = g.address(name); err != nil {
			return ours, static, err
		}
	}
	var all sync.WaitGroup
	var answered [2][]answer
	var paid [2]float64
	var errs [2]error
	for k, name := range []string{service, service + "-static"} {
		all.Go(func() { answered[k] = load(ctx, urls[k], func(at float64) float64 { return s.rate(at * pace) }) })
		all.Go(func() { paid[k], errs[k] = g.pay(ctx, name) })
	}
	all.Wait()
	ours, static = count(answered[0]), count(answered[1])
	ours.paid, static.paid = paid[0], paid[1]
	return ours, static, errors.Join(errs[:]...)
}

// pay sums the workers of a service over time. A reading that fails is taken to be as the one before.
func (g *ground) pay(ctx context.Context, service string) (sum float64, err error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, have, failed := time.Now(), 0, 0
	for {
		select {
		case <-ctx.Done():
			return sum, nil
		case now := <-tick.C:
			n, err := g.ready(service)
			switch {
			case err == nil:
				have = n
			case failed >= maxFailed:
				return sum, err
			default:
				failed++
			}
			sum += float64(have) * now.Sub(last).Seconds()
			last = now
		}
	}
}

func count(list []answer) (f figures) {
	by := map[int][]float64{}
	for _, a := range list {
		f.sent++
		wait := a.waited
		if a.failed {
			f.failed++
			wait = 10
		}
		if wait > lateBy {
			f.late++
		}
		by[int(a.at/piece)] = append(by[int(a.at/piece)], wait)
	}
	for _, waits := range by {
		f.pieces++
		if quantile(waits, 0.95) > promise {
			f.violated++
		}
	}
	return f
}

package peers

import (
	"math"

	"svckit/lib/simulate"
)

// kpa is the Knative pod autoscaler, after autoscaler.go and multiscaler.go:
// it decides every 2 s on concurrency with what is queued, over 60 s, or over
// 6 s in panic. Panic begins when the 6 s want twice what is ready, and ends
// after 60 s below that; in panic the number never falls.
type kpa struct {
	target float64 // of one request per worker
	stable int     // seconds
	panics int     // seconds
	delay  int     // scale-down-delay in seconds

	panicUntil int
	panicMost  int
	recent     []recommendation
}

func kpaPeers() []Peer {
	return []Peer{
		{Name: "kpa", Web: true, About: "Knative, container concurrency 1 at 70 %, all defaults", New: func(World) simulate.Controller {
			return &kpa{target: 0.7, stable: 60, panics: 6}
		}},
		{Name: "kpa-tuned", Web: true, About: "Knative with a scale-down delay of 5 min", New: func(World) simulate.Controller {
			return &kpa{target: 0.7, stable: 60, panics: 6, delay: 300}
		}},
	}
}

func (k *kpa) Every() int { return 2 }

func (k *kpa) Decide(v *simulate.View) int {
	if !v.Metrics || v.Ready == 0 && v.Size > 0 && v.Starting == 0 {
		return v.Size
	}
	ready := max(1, v.Ready)
	concurrency := func(span int) float64 { return v.BusyMean(0, span) + v.WaitingMean(0, span) }
	up, down := 1000*float64(ready), math.Floor(float64(ready)/2)
	bound := func(c float64) int { return int(min(max(math.Ceil(c/k.target-1e-9), down), up)) }
	stable, panicked := bound(concurrency(k.stable)), bound(concurrency(k.panics))
	if math.Ceil(concurrency(k.panics)/k.target-1e-9)/float64(ready) >= 2 {
		if k.panicUntil <= v.At {
			k.panicMost = ready // enters panic
		}
		k.panicUntil = v.At + k.stable
	}
	want := stable
	if v.At < k.panicUntil {
		k.panicMost = max(k.panicMost, panicked)
		want = k.panicMost
	}
	if k.delay > 0 {
		keep := k.recent[:0]
		highest := want
		for _, r := range k.recent {
			if v.At-r.at < k.delay {
				keep = append(keep, r)
				highest = max(highest, r.n)
			}
		}
		k.recent = append(keep, recommendation{v.At, want})
		want = highest
	}
	return capped(want, v)
}

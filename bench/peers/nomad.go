package peers

import (
	"math"

	"svckit/lib/simulate"
)

// nomadTarget is the target-value strategy of nomad-autoscaler: factor =
// metric/target of the newest point, nothing within 0.99 and 1.01, ceil(count ×
// factor). It is asked every 10 s, and after an action rests for the cooldown.
type nomadTarget struct {
	target   float64 // of busy workers
	every    int
	cooldown int // after any action
	up       int // after a raise; 0: cooldown
	window   int
	queued   bool // counts waiting requests too
	rest     int
}

// nomadThreshold is its threshold strategy: it acts when at least 5 points of
// the window lie in a range.
type nomadThreshold struct {
	upper, lower float64
	upBy, downBy float64 // shares
	cooldown     int
	rest         int
}

func nomadPeers() []Peer {
	return []Peer{
		{Name: "nomad", Web: true, About: "nomad-autoscaler target-value 70 % busy, every 10 s, cooldown 5 min: defaults", New: func(World) simulate.Controller {
			return &nomadTarget{target: 0.7, every: 10, cooldown: 300, window: 60}
		}},
		{Name: "nomad-tuned", Web: true, About: "the same with waiting requests in the metric and 30 s cooldown after a raise", New: func(World) simulate.Controller {
			return &nomadTarget{target: 0.7, every: 10, cooldown: 300, up: 30, window: 30, queued: true}
		}},
		{Name: "nomad-threshold", Web: true, About: "nomad-autoscaler threshold: above 80 % plus 25 %, below 55 % minus 10 %", New: func(World) simulate.Controller {
			return &nomadThreshold{upper: 0.8, lower: 0.55, upBy: 0.25, downBy: 0.10, cooldown: 60}
		}},
	}
}

func (n *nomadTarget) Every() int { return n.every }

func (n *nomadTarget) Decide(v *simulate.View) int {
	if !v.Metrics || v.At < n.rest || v.Ready == 0 {
		return v.Size
	}
	metric := v.BusyMean(0, n.window)
	if n.queued {
		metric += v.WaitingMean(0, n.window)
	}
	factor := metric / float64(v.Ready) / n.target
	if factor >= 0.99 && factor <= 1.01 {
		return v.Size
	}
	want := capped(ceil(float64(v.Size)*factor), v)
	if want != v.Size {
		n.rest = v.At + n.cooldown
		if want > v.Size && n.up > 0 {
			n.rest = v.At + n.up
		}
	}
	return want
}

func (n *nomadThreshold) Every() int { return 10 }

func (n *nomadThreshold) Decide(v *simulate.View) int {
	if !v.Metrics || v.At < n.rest || v.Ready == 0 {
		return v.Size
	}
	high, low := 0, 0
	for k := range 6 { // one point each 10 s
		ready := v.ReadyMean(10*k, 10)
		if ready == 0 {
			continue
		}
		switch share := v.BusyMean(10*k, 10) / ready; {
		case share >= n.upper:
			high++
		case share < n.lower:
			low++
		}
	}
	want := v.Size
	switch {
	case high >= 5:
		want = capped(ceil(float64(v.Size)*(1+n.upBy)), v)
	case low >= 5:
		want = capped(int(math.Floor(float64(v.Size)*(1-n.downBy))), v)
	}
	if want != v.Size {
		n.rest = v.At + n.cooldown
	}
	return want
}

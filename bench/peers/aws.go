package peers

import (
	"svckit/lib/simulate"
)

// aws is target tracking of AWS: two alarms on points of one minute. Out: three
// of three points above the target, then in proportion at once. In: fifteen of
// fifteen below 90 % of it, then gradually: one tenth at a time. Missing data
// means no action. New workers do not count until they have warmed up.
type aws struct {
	target float64
	high   int // points
	low    int
	rest   int
}

func awsPeers() []Peer {
	return []Peer{
		{Name: "aws", Web: true, About: "AWS target tracking 70 % busy: 3 minutes out, 15 in", New: func(World) simulate.Controller {
			return &aws{target: 0.7, high: 3, low: 15}
		}},
		{Name: "aws-tuned", Web: true, About: "the same at 50 %", New: func(World) simulate.Controller {
			return &aws{target: 0.5, high: 3, low: 15}
		}},
	}
}

func (a *aws) Every() int { return 60 }

func (a *aws) Decide(v *simulate.View) int {
	if !v.Metrics || v.Ready == 0 || v.At < a.rest {
		return v.Size
	}
	point := func(k int) float64 {
		ready := v.ReadyMean(60*k, 60)
		if ready == 0 {
			return 0
		}
		return v.BusyMean(60*k, 60) / ready
	}
	all := func(n int, holds func(float64) bool) bool {
		if v.At < 60*n {
			return false
		}
		for k := range n {
			if !holds(point(k)) {
				return false
			}
		}
		return true
	}
	switch {
	case all(a.high, func(p float64) bool { return p > a.target }):
		return capped(max(v.Size, ceil(float64(v.Size)*point(0)/a.target)), v)
	case all(a.low, func(p float64) bool { return p < 0.9*a.target }):
		want := max(ceil(float64(v.Size)*point(0)/a.target), v.Size-max(1, v.Size/10))
		a.rest = v.At + 60
		return capped(min(want, v.Size), v)
	}
	return v.Size
}

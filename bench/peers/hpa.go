package peers

import (
	"math"

	"svckit/lib/simulate"
)

// hpa is the horizontal pod autoscaler v2 of Kubernetes, after
// replica_calculator.go and horizontal.go with the defaults of the controller
// manager: sync 15 s, tolerance 10 %, scaling up at most max(100 %, 4) per 15 s,
// scaling down to the highest recommendation of the last 300 s.
type hpa struct {
	target     float64 // of busy workers, as CPU utilisation would show them
	sync       int     // seconds
	tolerance  float64
	stabilise  int     // seconds, downwards
	downShare  float64 // share per minute, downwards; 1: at once
	lag        int     // age of the newest sample in seconds: kubelet and metrics-server
	window     int     // seconds that a sample is averaged over
	recent     []recommendation
	minuteFrom int
	minute     int
}

type recommendation struct{ at, n int }

func hpaPeers() []Peer {
	return []Peer{
		{Name: "hpa", Web: true, About: "HPA v2, CPU 80 %, all defaults", New: func(World) simulate.Controller {
			return &hpa{target: 0.80, sync: 15, tolerance: 0.10, stabilise: 300, downShare: 1, lag: 15, window: 15}
		}},
		{Name: "hpa-tuned", Web: true, About: "HPA v2, CPU 55 %, down 600 s and 10 % a minute", New: func(World) simulate.Controller {
			return &hpa{target: 0.55, sync: 15, tolerance: 0.10, stabilise: 600, downShare: 0.10, lag: 15, window: 15}
		}},
	}
}

func (h *hpa) Every() int { return h.sync }

func (h *hpa) Decide(v *simulate.View) int {
	want := v.Size
	if v.Metrics {
		want = h.utilisation(v)
	}
	return capped(h.behave(v, want), v)
}

// utilisation is GetResourceReplicas: pods that are not ready yet count as idle when it would scale up.
func (h *hpa) utilisation(v *simulate.View) int {
	usage := v.BusyMean(h.lag, h.window)
	if v.Ready == 0 {
		return v.Size
	}
	ratio := usage / (h.target * float64(v.Ready))
	if ratio > 1 && v.Starting > 0 {
		all := float64(v.Ready + v.Starting)
		again := usage / (h.target * all)
		if math.Abs(again-1) <= h.tolerance || again < 1 {
			return v.Size
		}
		return ceil(again * all)
	}
	if math.Abs(ratio-1) <= h.tolerance {
		return v.Size
	}
	return ceil(ratio * float64(v.Ready))
}

// behave is the stabilisation and the rates.
func (h *hpa) behave(v *simulate.View, want int) int {
	keep := h.recent[:0]
	highest := want
	for _, r := range h.recent {
		if v.At-r.at < h.stabilise {
			keep = append(keep, r)
			highest = max(highest, r.n)
		}
	}
	h.recent = append(keep, recommendation{v.At, want})
	switch {
	case want > v.Size:
		return min(want, max(2*v.Size, v.Size+4))
	case min(highest, v.Size) < v.Size:
		to := highest
		if v.At/60 != h.minute {
			h.minute, h.minuteFrom = v.At/60, v.Size
		}
		if h.downShare < 1 {
			to = max(to, h.minuteFrom-max(1, int(h.downShare*float64(h.minuteFrom))))
		}
		return min(to, v.Size)
	}
	return v.Size
}

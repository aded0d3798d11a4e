package peers

import (
	"svckit/lib/simulate"
)

// dae is the rule of Douban's app engine: every 5 minutes the ratio of busy
// workers; up at once to the target, down slowly; with announcements the
// announced rate counts from the announcement to the end of its hold.
type dae struct {
	target    float64
	every     int
	announced bool
	service   float64
}

func daePeers() []Peer {
	make := func(target float64, every int, announced bool) func(World) simulate.Controller {
		return func(w World) simulate.Controller {
			return &dae{target: target, every: every, announced: announced, service: w.Service}
		}
	}
	return []Peer{
		{Name: "dae", Web: true, About: "DAE busy ratio 60 % every 5 min", New: make(0.6, 300, false)},
		{Name: "dae-announced", Web: true, About: "the same with announcements", New: make(0.6, 300, true)},
		{Name: "dae-tuned", Web: true, About: "the same every minute", New: make(0.6, 60, true)},
	}
}

func (d *dae) Every() int { return min(d.every, 10) }

func (d *dae) Decide(v *simulate.View) int {
	floor := 1
	if d.announced {
		for _, a := range v.Announced {
			if v.At < a.At+a.Hold {
				floor = max(floor, ceil(a.RPS*d.service/d.target))
			}
		}
	}
	if v.At%d.every != 0 || !v.Metrics {
		return capped(max(v.Size, floor), v)
	}
	want := ceil(v.BusyMean(0, d.every) / d.target)
	if want < v.Size {
		want = max(want, v.Size-max(1, v.Size/10))
	}
	return capped(max(want, floor), v)
}

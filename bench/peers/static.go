package peers

import (
	"svckit/lib/simulate"
)

// fixed never changes.
type fixed int

func staticPeers() []Peer {
	peak := func(t *simulate.Trace) float64 {
		a := 0.0
		for s := 60; s <= t.Len(); s += 60 {
			sum := 0.0
			for k := s - 60; k < s; k++ {
				sum += t.Erlangs(k)
			}
			a = max(a, sum/60)
		}
		return a
	}
	return []Peer{
		{Name: "static", Web: true, Queue: true, About: "the peak of an ordinary day and 30 %", New: func(w World) simulate.Controller {
			usual := w.Usual
			if usual == nil {
				usual = w.Trace
			}
			return fixed(ceil(peak(usual) * 1.3))
		}},
		{Name: "static-peak", Web: true, Queue: true, About: "the peak of this very day and 15 %", New: func(w World) simulate.Controller {
			return fixed(ceil(peak(w.Trace) * 1.15))
		}},
	}
}

func (fixed) Every() int { return 60 }

func (f fixed) Decide(v *simulate.View) int { return capped(int(f), v) }

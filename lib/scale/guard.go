package scale

import (
	"math"
	"slices"
)

// The numbers behind the collapse guard. Times are seconds.
const (
	collapseShare  = 0.5  // of what was there a few minutes ago
	collapseSure   = 5.0  // standard deviations of the requests of a minute
	collapseLeast  = 1.0  // Erlangs below which a fall costs nothing to follow
	collapseMargin = 1.3  // clients that come back bring what they could not do meanwhile
	collapseMost   = 3600 // then the new level is believed
	collapseKnown  = 0.8  // share of a level of the last hours at which a fall is a return
	backShare      = 0.8  // of the expectation: demand is back
	backFor        = 120  //
)

// guard looks for demand that falls faster than any evening: an outage of the
// callers, or an attack that keeps them out. Workers look idle then, and are
// needed all at once when it ends.
func (w *work) guard(add func(string, int, float64, Why)) {
	g := &w.s.Guard
	if w.p.Strategy == Queue {
		return // a queue keeps what its consumers miss, and says so
	}
	if g.Since == 0 {
		if before, fell := w.collapsed(); fell {
			*g = Guard{Since: w.in.At, Expect: before}
		}
	}
	if g.Since == 0 {
		return
	}
	if e := w.in.Expected; w.p.Seasonal && good(e.Soon, e.Spread) && e.Spread <= historyRough && e.Soon > 0 {
		g.Expect = max(g.Expect, e.Soon)
	}
	switch back := w.fresh && w.live >= backShare*g.Expect; {
	case !back:
		g.Back = 0
	case g.Back == 0:
		g.Back = w.in.At
	}
	switch {
	case g.Back > 0 && w.in.At-g.Back >= backFor, w.in.At-g.Since >= collapseMost:
		*g = Guard{Done: w.in.At}
		return
	}
	demand := g.Expect * collapseMargin
	add("guard", w.sturdy(staff(w.p, demand, w.service(), 0), demand), demand, WhyReturn)
}

// collapsed reports whether demand has just fallen too fast, and from what.
func (w *work) collapsed() (before float64, fell bool) {
	s := &w.s
	if !w.fresh || s.Guard.Done > 0 && w.in.At-s.Guard.Done < 600 {
		return 0, false
	}
	var seen []float64
	for _, d := range s.Demands[1:7] {
		if d > 0 {
			seen = append(seen, d)
		}
	}
	if len(seen) < 3 {
		return 0, false
	}
	slices.Sort(seen)
	before = seen[len(seen)/2]
	if before < collapseLeast || w.live >= collapseShare*before {
		return 0, false
	}
	if e := w.in.Expected; w.p.Seasonal && good(e.Now, e.Spread) && e.Now > 0 && e.Spread <= historyRough && w.live >= collapseShare*e.Now {
		return 0, false // it falls to what is usual now
	}
	for _, q := range s.Quarters[1:] {
		if q > 0 && w.live >= collapseKnown*q {
			return 0, false // it was here not long ago
		}
	}
	if t := w.service(); t > 0 && (before-w.live)/t*60 < collapseSure*math.Sqrt(before/t*60) {
		return 0, false // chance
	}
	return before, true
}

const (
	fleetShare  = 0.30
	fleetLeast  = 3 // services: one or two have guards of their own
	fleetWithin = 120
	silentShare = 0.45
	silentMore  = 3
	fleetClears = 120
	fleetAtMost = 3600
)

func fleet(s FleetState, in FleetInput) (FleetVerdict, FleetState) {
	all, young, active, fell := 0, 0, 0, 0
	for _, f := range in.Services {
		n := clamp(f.Workers, 0, MaxSize)
		all += n
		if f.Collapsed > 0 {
			active += n
			if in.At-f.Collapsed <= fleetWithin {
				young += n
				fell++
			}
		}
	}
	v := FleetVerdict{}
	if all > 0 {
		v.Collapsed = float64(young) / float64(all)
	}
	for _, p := range in.Pools {
		if p.Silent > silentMore && float64(p.Silent) > silentShare*float64(p.Nodes) {
			v.Pools = append(v.Pools, p.Pool)
		}
	}
	slices.Sort(v.Pools)
	cause := v.Collapsed > fleetShare && fell >= fleetLeast || len(v.Pools) > 0
	still := cause || s.Since > 0 && all > 0 && float64(active) > fleetShare*float64(all)
	switch {
	case cause && s.Since == 0:
		s = FleetState{Since: in.At}
	case s.Since == 0:
		return v, s
	case still:
		s.Clear = 0
	case s.Clear == 0:
		s.Clear = in.At
	}
	if s.Clear > 0 && in.At-s.Clear >= fleetClears || len(v.Pools) == 0 && in.At-s.Since >= fleetAtMost {
		return v, FleetState{}
	}
	why := "more than 30 % of the services lost their traffic within two minutes"
	if len(v.Pools) > 0 {
		why = "more than 45 % of the nodes of a pool are silent"
	}
	v.Freeze = Freeze{Mode: NoDown, Who: "fleet guard", Why: why}
	v.Page = true
	return v, s
}

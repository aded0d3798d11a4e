package scale

import (
	"math"
)

// view is one signal as a decision sees it.
type view struct {
	name  string
	fresh bool
	why   Why
	a     float64 // Erlangs that will be there when a new worker serves
	live  float64 // Erlangs now, as seen over a minute
	size  int     // workers for a
	calm  int     // workers for live: what holds remember
	drain int     // workers on top, for what already waits
	busy  int     // workers that must not be taken away
	limit int     // queue: no more than this many; 0: no limit
	rate  float64 // completions per second over 10 s
	full  bool    // all workers are busy and work waits
	s     float64 // service time in seconds
	state SignalState
}

// The numbers behind the sizing. Times are seconds.
const (
	doubtFactor  = 20.0   // a sample this many times the last demand needs a second one
	doubtLeast   = 5.0    // Erlangs below which nothing is absurd
	memory       = 2000.0 // requests that the service time is averaged over
	fewRequests  = 20.0   // below them a window says too little about the service time
	unknownTime  = 1.0    // service time of which nothing is known
	drainTime    = 10.0   // in which waiting requests are worked off
	patience     = 10.0   // seconds after which a waiting request is gone anyway
	roughMemory  = 600.0  // seconds over which roughness is averaged
	growthAtMost = 2.0    // a trend is continued to at most this many times the demand
)

// good reports whether every number is finite and none is negative.
func good(numbers ...float64) bool {
	for _, n := range numbers {
		if !(n >= 0) || math.IsInf(n, 0) {
			return false
		}
	}
	return true
}

// readLoad turns requests into a size.
//
// Demand is arrivals × service time. Arrivals do not saturate when workers do,
// and the service time is the busy time of the workers per completion (Little's
// law on the workers alone), which holds at any load. So a service that is
// overloaded tenfold is seen to be that at the first sample.
func readLoad(p Policy, st SignalState, in Input, l Load) view {
	v := view{state: st}
	v.s = serviceTime(p, &v.state, l, tickOf(p))
	roughness(&v.state, l, tickOf(p))
	lambda, ahead, why := arrivals(p, v.state, l)
	v.live = max(l.Rate60*v.s, min(l.Busy60, l.Rate60*v.s*1.5))
	v.a, v.why = lambda*v.s, why
	v.size = staff(p, v.a*(1+margin(v.state)), v.s, l.CV2)
	if ahead > lambda && v.size > in.Size {
		// It grows, and beyond what is there or ordered: a wave back to a known level is no growth.
		v.a, v.why = ahead*v.s, WhyGrowth
		v.size = staff(p, v.a*(1+margin(v.state)), v.s, l.CV2)
	}
	v.calm = min(v.size, staff(p, v.live*(1+margin(v.state)), v.s, l.CV2))
	// What waits, and what will have come to wait until new workers serve.
	if l.Waiting > 0 && v.s > 0 {
		missing := max(0, lambda-float64(in.Ready)/v.s)
		queue := min(l.Waiting+missing*(p.StartUp.Seconds()+1), lambda*patience)
		if work := queue * v.s / drainTime; work > 1 {
			v.drain = ceil(work)
		}
	}
	v.busy = ceil(l.Busy)
	v.rate = l.Done10
	v.full = in.Ready > 0 && l.Waiting > 0 && l.Busy >= 0.95*float64(in.Ready)
	return v
}

// arrivals returns the rate of arrivals now, and what it will be when a worker
// that is ordered now serves. The last minute counts, unless the last ten
// seconds, or the last one, are above it by more than chance and the usual
// roughness of this service; then growth is continued over the start-up time.
func arrivals(p Policy, st SignalState, l Load) (now, ahead float64, why Why) {
	rough := margin(st)
	limit := func(rate, seconds, sigmas float64) float64 {
		return rate + sigmas*math.Sqrt(rate/seconds+rough*rough*rate*rate)
	}
	now, why = l.Rate60, WhySteady
	if l.Rate10 > limit(l.Rate60, 10, 4) {
		now, why = l.Rate10, WhySurge
	}
	ahead = now
	if l.Rate10 > limit(l.Rate60, 10, 5) {
		ahead = now + (l.Rate10-l.Rate60)/25*p.StartUp.Seconds() // the middles of the windows are 25 s apart
	}
	if l.Rate1 > limit(l.Rate10, 1, 6)+3 && l.Rate1 > now {
		now, why = l.Rate1, WhySurge
		ahead = max(ahead, now+(l.Rate1-l.Rate10)/9*p.StartUp.Seconds())
	}
	return now, min(ahead, now*growthAtMost), why
}

// serviceTime is the mean service time in seconds, over as many requests as it
// takes to know it, or over the last seconds where it has clearly changed.
func serviceTime(p Policy, st *SignalState, l Load, tick float64) float64 {
	if p.Strategy == RPSRatio || l.Busy60 == 0 && l.Busy10 == 0 {
		if l.Service > 0 {
			st.S = l.Service
		}
		if st.S == 0 {
			return unknownTime
		}
		return st.S
	}
	window, n, s := 10.0, l.Done10*10, 0.0
	if n < fewRequests {
		window, n = 60, l.Done60*60
		if n > 0 {
			s = l.Busy60 / l.Done60
		}
	} else {
		s = l.Busy10 / l.Done10
	}
	switch {
	case n <= 0 && st.S > 0:
		return st.S // nothing was completed: what is known stays
	case n <= 0 && l.Busy60 > 0: // nothing ever was: it takes at least as long as we have looked
		return max(l.Service, l.Busy60*60/max(l.Busy, 1))
	case n <= 0:
		return max(l.Service, unknownTime)
	}
	cv := math.Sqrt(l.CV2)
	if cv == 0 {
		cv = 1
	}
	if st.S == 0 || n >= fewRequests && math.Abs(s-st.S) > 4*cv*st.S/math.Sqrt(n)+0.05*st.S {
		st.S, st.Weight = s, n
		return s
	}
	fresh := n * min(1, tick/window)
	st.Weight = min(st.Weight, memory)
	st.S = (st.S*st.Weight + s*fresh) / (st.Weight + fresh)
	st.Weight += fresh
	return st.S
}

// roughness measures how far ten seconds differ from their minute beyond chance.
func roughness(st *SignalState, l Load, tick float64) {
	if l.Rate60*60 < fewRequests {
		return
	}
	d := (l.Rate10 - l.Rate60) / l.Rate60
	square := min(max(0, d*d-1/(l.Rate60*10)), 0.04) // a surge is no roughness
	keep := math.Exp(-tick / roughMemory)
	st.Rough = st.Rough*keep + square*(1-keep)
}

// margin is what a demand may differ from its minute while a worker starts, as a share of it.
func margin(st SignalState) float64 { return math.Sqrt(max(0, st.Rough)) }

// staff is the size for a Erlangs.
func staff(p Policy, a, s, cv2 float64) int {
	if !(a > 0) {
		return 0
	}
	if p.Target > 0 {
		return StaffRatio(a, p.Target)
	}
	if cv2 == 0 {
		cv2 = 1
	}
	return StaffWait(a, p.Wait, p.WaitOver.Seconds(), s, cv2)
}

func tickOf(p Policy) float64 { return max(1, p.Tick.Seconds()) }

package simulate

import "svckit/lib/scale"

// The oracle's service level: the share of requests that wait longer than 250 ms.
const (
	oracleShare = 0.05
	oracleWait  = 0.25
)

// need is the number of workers that a second of a trace needs.
func need(t *Trace, s int, share float64) int {
	a := t.Erlangs(s)
	if t.Queue() {
		return max(1, int(a+0.999))
	}
	return max(1, scale.StaffWait(a, share, oracleWait, t.Service[s], CV*CV))
}

// Oracle knows the demand of every second to come, and the start-up time. Every
// second it has the fewest workers that keep the service level. It is what costs
// are compared with.
type Oracle struct{ sizes []int }

// NewOracle makes the oracle of a trace. share is the part of the requests that
// it lets wait longer than 250 ms.
func NewOracle(t *Trace, startUp int, share float64) *Oracle {
	n := t.Len()
	needs := make([]int, n)
	type key struct{ rate, service float64 }
	known := map[key]int{}
	for s := range needs {
		k := key{t.rate(s), t.Service[s]}
		size, ok := known[k]
		if !ok {
			size = need(t, s, share)
			known[k] = size
		}
		needs[s] = size
	}
	// The size ordered now is the largest need from now until an order would serve:
	// a sliding maximum.
	o := &Oracle{sizes: make([]int, n)}
	var peaks []int // indices of falling needs
	for s := n - 1; s >= 0; s-- {
		for len(peaks) > 0 && needs[peaks[len(peaks)-1]] <= needs[s] {
			peaks = peaks[:len(peaks)-1]
		}
		peaks = append(peaks, s)
		for peaks[0] > s+startUp+1 {
			peaks = peaks[1:]
		}
		o.sizes[s] = needs[peaks[0]]
	}
	return o
}

// Every is one second.
func (o *Oracle) Every() int { return 1 }

// Decide returns what the future needs.
func (o *Oracle) Decide(v *View) int { return o.sizes[min(v.At, len(o.sizes)-1)] }

// RunOracle finds the cheapest oracle that breaks the service level in at most
// one minute: its share is halved until it does. near is a share to begin at,
// such as that of another seed; 0: the service level itself.
func RunOracle(load *Workload, setup Setup, near float64) (Result, float64) {
	share, best, found := near, Result{}, 0.0
	if share <= 0 || share > oracleShare {
		share = oracleShare
	}
	startUp := setup.StartUp
	if startUp <= 0 {
		startUp = 15
	}
	fell := near <= 0
	for {
		r := Run(load, setup, NewOracle(load.Trace, startUp, share), nil)
		switch {
		case r.SLOMinutes <= 1:
			best, found = r, share
			if fell || share >= oracleShare {
				return best, found
			}
			share = min(2*share, oracleShare)
		case found > 0:
			return best, found
		case share < 1e-6:
			return r, share
		default:
			fell = true
			share /= 2
		}
	}
}

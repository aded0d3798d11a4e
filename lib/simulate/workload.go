package simulate

import "math"

// Workload is every request of a trace: the same for all policies, so that they
// are compared on the same luck.
type Workload struct {
	Trace *Trace
	first []uint32 // index of the first request of each second, and one beyond
	at    []uint16 // millisecond within its second
	time  []uint32 // service time in milliseconds, at least 1
}

// MaxRequests bounds a workload: 200 million requests take 1.2 GB.
const MaxRequests = 200_000_000

// CV is the coefficient of variation of service times in the model.
const CV = 1.2

// longest service time of one request, as a multiple of the mean: the tail of the lognormal is cut there.
const longest = 30

// Requests is how many a trace brings, on average.
func (t *Trace) Requests() float64 {
	n := 0.0
	for s := range t.RPS {
		n += t.rate(s)
	}
	return n
}

// Draw makes the requests of a trace from a seed.
func Draw(t *Trace, seed uint64) *Workload {
	n := int(t.Requests()*1.02) + 1000
	w := &Workload{Trace: t, first: make([]uint32, 0, t.Len()+1), at: make([]uint16, 0, n), time: make([]uint32, 0, n)}
	arrivals, service := NewDice(seed, "arrivals"), NewDice(seed, "service")
	shape := lognormal(CV)
	left := arrivals.Exp()
	for s := range t.Len() {
		w.first = append(w.first, uint32(len(w.at)))
		rate := t.rate(s)
		if rate <= 0 {
			continue
		}
		mean := t.Service[s] * 1000
		// left is the work of the process until the next arrival, in units of 1/rate.
		for used := 0.0; ; {
			if used+left/rate >= 1 {
				left -= (1 - used) * rate
				break
			}
			used += left / rate
			left = arrivals.Exp()
			w.at = append(w.at, uint16(used*1000))
			w.time = append(w.time, uint32(max(1, math.Round(mean*shape[service.Below(len(shape))]))))
		}
	}
	w.first = append(w.first, uint32(len(w.at)))
	return w
}

// lognormal is a table of quantiles of a lognormal distribution with mean 1.
// Drawing from it is drawing from the distribution, with a cut tail.
func lognormal(cv float64) []float64 {
	sigma := math.Sqrt(math.Log(1 + cv*cv))
	table := make([]float64, 1<<14)
	sum := 0.0
	for i := range table {
		p := (float64(i) + 0.5) / float64(len(table))
		table[i] = min(math.Exp(sigma*math.Sqrt2*math.Erfinv(2*p-1)), longest)
		sum += table[i]
	}
	for i := range table {
		table[i] *= float64(len(table)) / sum
	}
	return table
}

// Total is how many requests there are.
func (w *Workload) Total() int { return len(w.at) }

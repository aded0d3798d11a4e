// Package simulate plays a scaling policy against a trace of demand, request by
// request, without clock or network. The policy is the same pure code that the
// live planner runs; other rules can be put in its place to compare with.
//
// The model: a worker serves one request at a time. Requests wait in one queue,
// first come first served, or in one queue per node. Service times are
// lognormal. A worker that is ordered serves after the start-up time and is
// paid from the order on. A worker that is taken away finishes its request. A
// request that waits longer than the time-out is gone. Time runs in
// milliseconds; chance comes from a seed.
package simulate

// Trace is demand over time, one value per second.
type Trace struct {
	Name      string
	RPS       []float64 // arrivals per second, mean; the arrivals themselves are a Poisson process
	Service   []float64 // mean service time in seconds of what arrives then
	Metrics   []bool    // whether metrics can be read; nil: always
	Nodes     []int     // alive nodes; nil: not said
	QueueIn   []float64 // messages per second; nil: it is no queue
	Stuck     []bool    // consumers take nothing and finish nothing; nil: never
	Announced []Announced
}

// Announced is a load that was told of at second At.
type Announced struct {
	At   int     // second of the announcement
	RPS  float64 // expected arrivals per second
	Hold int     // seconds
}

// Len is the length in seconds.
func (t *Trace) Len() int { return len(t.RPS) }

// Queue reports whether the trace is one of messages.
func (t *Trace) Queue() bool { return t.QueueIn != nil }

// rate is what arrives per second.
func (t *Trace) rate(s int) float64 {
	if t.QueueIn != nil {
		return t.QueueIn[s]
	}
	return t.RPS[s]
}

// Erlangs is the demand at a second.
func (t *Trace) Erlangs(s int) float64 { return t.rate(s) * t.Service[s] }

func (t *Trace) metrics(s int) bool { return t.Metrics == nil || t.Metrics[s] }

func (t *Trace) stuck(s int) bool { return t.Stuck != nil && t.Stuck[s] }

// NodesAt is how many nodes are alive at a second; 0: the trace does not say.
func (t *Trace) NodesAt(s int) int {
	if t.Nodes == nil {
		return 0
	}
	return t.Nodes[s]
}

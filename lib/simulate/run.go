package simulate

import "math"

// Setup is the world that a policy is tried in.
type Setup struct {
	StartUp   int  // seconds until an ordered worker serves; default 15
	Timeout   int  // seconds after which a waiting request is gone; default 10; queues have none
	PerNode   bool // one queue per node instead of one for all: requests go to nodes by their ready workers
	NodeSlots int  // workers that fit on a node of Trace.Nodes; 0: no bound
	Initial   int  // workers at the beginning; 0: as many as the demand of the first second needs
	Seed      uint64
}

// Controller is a scaling rule.
type Controller interface {
	// Every is how many seconds pass between two decisions.
	Every() int
	// Decide returns the wanted number of workers.
	Decide(v *View) int
}

// Result is what a run came to. Seconds and counts are of the whole trace.
type Result struct {
	Minutes    int     `json:"minutes"`
	SLOMinutes int     `json:"slo_minutes"` // minutes whose 95th percentile of the wait is over 250 ms
	Requests   int     `json:"requests"`
	Late       int     `json:"late"`        // waited longer than 0.5 s, or timed out
	TimedOut   int     `json:"timed_out"`   //
	Killed     int     `json:"killed"`      // cut off by the loss of a node
	Paid       float64 `json:"paid"`        // worker-seconds
	Work       float64 `json:"work"`        // worker-seconds that requests took
	Actions    int     `json:"actions"`     // changes of the wanted number
	Turns      int     `json:"turns"`       // changes of direction
	Reaction   float64 `json:"reaction"`    // mean seconds from a step of demand to 90 % of the workers it needs; -1: no step
	MostQueued int     `json:"most_queued"` // longest queue at the end of a second
	Drained    int     `json:"drained"`     // messages left at the end
}

// LatePercent is the share of late requests in percent.
func (r Result) LatePercent() float64 {
	if r.Requests == 0 {
		return 0
	}
	return 100 * float64(r.Late) / float64(r.Requests)
}

// Second is what a watcher of a run sees after each second.
type Second struct {
	At, Want, Ready, Starting, Busy, Waiting int
	Demand                                   float64 // Erlangs
}

type batch struct{ due, n int }

// world is a run in progress.
type world struct {
	setup    Setup
	load     *Workload
	trace    *Trace
	stations []*station
	want     int
	ready    int
	starting []batch // in the order of their due time
	alive    int
	view     View
	result   Result
	up       int // last direction: 1, -1, 0
	minute   struct{ over, all int }
	watch    func(Second)
}

// Run plays a controller against a workload. watch may be nil.
func Run(load *Workload, setup Setup, c Controller, watch func(Second)) Result {
	w := newWorld(load, setup, watch)
	every := max(1, c.Every())
	for s := range w.trace.Len() {
		w.nodes(s)
		w.mature(s)
		out := w.play(s)
		w.count(s, out)
		if (s+1)%every == 0 {
			w.look(s)
			w.order(c.Decide(&w.view))
		}
		w.apply(s)
		if l, ok := c.(quick); ok {
			w.look(s)
			if add := l.Quick(&w.view); add > 0 {
				w.want += add
				w.apply(s)
			}
		}
	}
	w.close()
	return w.result
}

// quick is a controller with a fast lane on the nodes: asked each second, it may only add.
type quick interface{ Quick(v *View) int }

func newWorld(load *Workload, setup Setup, watch func(Second)) *world {
	t := load.Trace
	if setup.StartUp <= 0 {
		setup.StartUp = 15
	}
	if setup.Timeout <= 0 {
		setup.Timeout = 10
	}
	w := &world{setup: setup, load: load, trace: t, alive: t.NodesAt(0), watch: watch}
	timeout := int64(setup.Timeout) * 1000
	if t.Queue() {
		timeout = 0
	}
	n := 1
	if setup.PerNode {
		n = max(1, w.alive)
	}
	dice := NewDice(setup.Seed, "nodes")
	for range n {
		w.stations = append(w.stations, newStation(dice, timeout))
	}
	w.want = setup.Initial
	if w.want == 0 {
		w.want = need(t, 0, oracleShare)
	}
	w.ready = w.want
	w.spread()
	w.view.w = w
	w.view.sums = newSums(t.Len())
	w.result.Reaction = -1
	return w
}

// nodes follows the number of alive nodes: workers of a lost one are gone with what they work on.
func (w *world) nodes(s int) {
	n := w.trace.NodesAt(s)
	if n == w.alive {
		return
	}
	if n < w.alive {
		out := tally{}
		lost := w.ready - w.ready*n/w.alive
		if len(w.stations) > 1 {
			lost = 0
			for _, st := range w.stations[n:] {
				lost += st.cap
				st.lose(st.busy, &out)
			}
		} else if st := w.stations[0]; st.busy > 0 {
			st.lose(int(math.Round(float64(st.busy)*float64(lost)/float64(max(w.ready, 1)))), &out)
		}
		w.ready -= lost
		w.result.Killed += out.killed
	}
	w.alive = n
	w.spread()
}

// spread gives the ready workers to the stations.
func (w *world) spread() {
	n := len(w.stations)
	if n > 1 && w.alive > 0 {
		n = min(n, w.alive)
	}
	for i, st := range w.stations {
		st.cap = 0
		if i < n {
			st.cap = w.ready / n
			if i < w.ready%n {
				st.cap++
			}
		}
	}
}

func (w *world) mature(s int) {
	n := 0
	for len(w.starting) > 0 && w.starting[0].due <= s {
		n += w.starting[0].n
		w.starting = w.starting[1:]
	}
	if n > 0 {
		w.ready += n
		w.spread()
	}
}

func (w *world) startingNow() int {
	n := 0
	for _, b := range w.starting {
		n += b.n
	}
	return n
}

// capacity is how many workers the alive nodes hold; 0: no bound.
func (w *world) capacity() int { return w.alive * w.setup.NodeSlots }

// order takes the controller's word.
func (w *world) order(want int) {
	want = max(0, want)
	if want == w.want {
		return
	}
	w.result.Actions++
	way := 1
	if want < w.want {
		way = -1
	}
	if w.up != 0 && way != w.up {
		w.result.Turns++
	}
	w.up, w.want = way, want
}

// apply starts and stops workers: those that do not serve yet are stopped first.
func (w *world) apply(s int) {
	want := w.want
	if c := w.capacity(); c > 0 {
		want = min(want, c)
	}
	have := w.ready + w.startingNow()
	switch {
	case want > have:
		due := s + w.setup.StartUp
		if k := len(w.starting) - 1; k >= 0 && w.starting[k].due == due {
			w.starting[k].n += want - have
		} else {
			w.starting = append(w.starting, batch{due, want - have})
		}
	case want < have:
		less := have - want
		for less > 0 && len(w.starting) > 0 {
			last := &w.starting[len(w.starting)-1]
			n := min(less, last.n)
			last.n -= n
			less -= n
			if last.n == 0 {
				w.starting = w.starting[:len(w.starting)-1]
			}
		}
		w.ready -= less
		w.spread()
	}
}

// play lets the stations serve for one second.
func (w *world) play(s int) tally {
	now := int64(s) * 1000
	from, to := w.load.first[s], w.load.first[s+1]
	at, time := w.load.at[from:to], w.load.time[from:to]
	var out tally
	stuck := w.trace.stuck(s)
	for _, st := range w.stations {
		st.begin = !stuck
		st.fill(now, &out)
	}
	if len(w.stations) == 1 {
		w.stations[0].second(now, at, time, &out)
		return out
	}
	w.routed(now, at, time, &out)
	return out
}

// routed sends requests to nodes at random, as weights in DNS do.
func (w *world) routed(now int64, at []uint16, time []uint32, out *tally) {
	var ats [64][]uint16
	var times [64][]uint32
	n := min(len(w.stations), len(ats))
	total := max(1, w.ready)
	for i := range at {
		pick, k := w.stations[0].dice.Below(total), 0
		for k < n-1 && pick >= w.stations[k].cap {
			pick -= w.stations[k].cap
			k++
		}
		ats[k], times[k] = append(ats[k], at[i]), append(times[k], time[i])
	}
	for k := range n {
		w.stations[k].second(now, ats[k], times[k], out)
	}
}

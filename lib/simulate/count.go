package simulate

// count adds one second to the books.
func (w *world) count(s int, out tally) {
	busy, waiting := 0, 0
	for _, st := range w.stations {
		busy += st.busy
		waiting += st.waiting()
	}
	starting := w.startingNow()
	r := &w.result
	r.Requests += out.arrived
	r.Late += out.late
	r.TimedOut += out.gone
	r.Paid += float64(max(w.ready, busy) + starting)
	r.Work += float64(out.busy) / 1000
	r.MostQueued = max(r.MostQueued, waiting)
	w.minute.over += out.over
	w.minute.all += out.started + out.gone
	if (s+1)%60 == 0 {
		w.closeMinute()
	}
	w.view.sums.add(s, out, waiting)
	w.view.busy, w.view.waiting = busy, waiting
	if w.watch != nil {
		w.watch(Second{At: s, Want: w.want, Ready: w.ready, Starting: starting, Busy: busy, Waiting: waiting, Demand: w.trace.Erlangs(s)})
	}
	w.view.ready = append(w.view.ready, uint32(w.ready))
}

func (w *world) closeMinute() {
	w.result.Minutes++
	if !w.trace.Queue() && float64(w.minute.over) > 0.05*float64(w.minute.all) {
		w.result.SLOMinutes++
	}
	w.minute.over, w.minute.all = 0, 0
}

func (w *world) close() {
	if w.minute.all > 0 {
		w.closeMinute()
	}
	for _, st := range w.stations {
		w.result.Drained += st.waiting()
	}
	w.result.Reaction = reaction(w.trace, w.view.ready)
}

// reaction is the mean time from a step to 90 % of the workers that it needs.
// A step is demand that grows by half within half a minute, to more than 2 Erlangs.
func reaction(t *Trace, ready []uint32) float64 {
	sum, n := 0.0, 0
	for s := 30; s+120 < t.Len(); s++ {
		before, after := t.Erlangs(s-30), t.Erlangs(s)
		if after < 2 || after < 1.5*before {
			continue
		}
		at := s - 30
		for at < s && t.Erlangs(at+1) < before*1.1 {
			at++ // where it begins
		}
		most := s
		for k := s; k < s+90; k++ {
			if t.Erlangs(k) > t.Erlangs(most) {
				most = k
			}
		}
		want := 0.9 * float64(need(t, most, oracleShare))
		k := at
		for k < t.Len()-1 && float64(ready[k]) < want && k-at < 1800 {
			k++
		}
		sum, n = sum+float64(k-at), n+1
		s += 300
	}
	if n == 0 {
		return -1
	}
	return sum / float64(n)
}

// sums are running totals per second, so that the mean of any window costs two reads.
type sums struct {
	arrived, done []uint32
	busy          []float64 // worker-seconds
	waiting       []float64 // request-seconds
}

func newSums(n int) sums {
	return sums{arrived: make([]uint32, n+1), done: make([]uint32, n+1), busy: make([]float64, n+1), waiting: make([]float64, n+1)}
}

func (u *sums) add(s int, out tally, waiting int) {
	u.arrived[s+1] = u.arrived[s] + uint32(out.arrived)
	u.done[s+1] = u.done[s] + uint32(out.done)
	u.busy[s+1] = u.busy[s] + float64(out.busy)/1000
	u.waiting[s+1] = u.waiting[s] + float64(waiting)
}

// View is what a controller may know: nothing of the future.
type View struct {
	At        int         // seconds since the beginning
	Size      int         // what it wanted last
	Ready     int         // workers that serve
	Starting  int         // workers that are paid and do not serve yet
	Busy      int         // workers that are busy now
	Waiting   int         // requests or messages that nobody has yet
	Metrics   bool        // false: Busy, Waiting and all means are not to be used
	Nodes     int         // alive; 0: not said
	Capacity  int         // workers that fit; 0: no bound
	Announced []Announced // made so far
	Queue     bool

	w             *world
	sums          sums
	ready         []uint32
	busy, waiting int
}

// look fills the view at the end of second s.
func (w *world) look(s int) {
	v := &w.view
	v.At, v.Size, v.Ready, v.Starting = s+1, w.want, w.ready, w.startingNow()
	v.Busy, v.Waiting = v.busy, v.waiting
	v.Metrics = w.trace.metrics(s)
	v.Nodes, v.Capacity = w.alive, w.capacity()
	v.Queue = w.trace.Queue()
	v.Announced = w.trace.Announced
	for i, a := range v.Announced {
		if a.At > s {
			v.Announced = v.Announced[:i]
			break
		}
	}
}

func (v *View) window(ago, span int) (from, to int) {
	to = max(0, v.At-ago)
	return max(0, to-span), to
}

// Arrived is the mean of arrivals per second over span seconds that ended ago seconds before.
func (v *View) Arrived(ago, span int) float64 {
	from, to := v.window(ago, span)
	return ratio(float64(v.sums.arrived[to]-v.sums.arrived[from]), to-from)
}

// Done is the same of completions.
func (v *View) Done(ago, span int) float64 {
	from, to := v.window(ago, span)
	return ratio(float64(v.sums.done[to]-v.sums.done[from]), to-from)
}

// BusyMean is the mean number of busy workers.
func (v *View) BusyMean(ago, span int) float64 {
	from, to := v.window(ago, span)
	return ratio(v.sums.busy[to]-v.sums.busy[from], to-from)
}

// WaitingMean is the mean number of waiting requests.
func (v *View) WaitingMean(ago, span int) float64 {
	from, to := v.window(ago, span)
	return ratio(v.sums.waiting[to]-v.sums.waiting[from], to-from)
}

// ReadyMean is the mean number of ready workers.
func (v *View) ReadyMean(ago, span int) float64 {
	from, to := v.window(ago, span)
	sum := 0.0
	for _, r := range v.ready[from:to] {
		sum += float64(r)
	}
	return ratio(sum, to-from)
}

func ratio(sum float64, n int) float64 {
	if n <= 0 {
		return 0
	}
	return sum / float64(n)
}

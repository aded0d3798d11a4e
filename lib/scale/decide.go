package scale

import (
	"cmp"
	"slices"
)

// work is one decision in the making.
type work struct {
	p      Policy
	s      State
	in     Input
	d      Decision
	views  []view
	low    int // bounds of the policy, by hand and by schedule
	high   int
	live   float64 // Erlangs seen now, of all signals that are there
	steady int     // wish without what only works off what waits
	busy   int
	fresh  bool // every needed signal is
}

func decide(p Policy, s State, in Input) (Decision, State) {
	w := &work{p: p, s: s, in: in}
	w.d = Decision{At: in.At, From: clamp(in.Size, 0, MaxSize), Act: in.Freeze.mode(in.At) != Observe}
	w.turn()
	w.bounds()
	if p.Strategy == Noop || w.hand() {
		w.fixed()
	} else {
		w.look()
		w.propose()
		w.choose()
	}
	w.finish()
	return w.d, w.s
}

// turn moves the memory on to this moment.
func (w *work) turn() {
	s := &w.s
	if s.At == 0 || w.in.At < s.At || w.in.At-s.At > 3600 {
		*s = State{First: w.in.At} // nothing is known, or too little of now
	}
	if steps := int(w.in.At/60 - s.At/60); s.At > 0 && steps > 0 {
		shift(s.Wishes[:], steps)
		shift(s.Demands[:], steps)
		s.Samples = 0
	}
	if steps := int(w.in.At/900 - s.At/900); s.At > 0 && steps > 0 {
		shift(s.Quarters[:], steps)
	}
	s.At = w.in.At
}

// shift moves everything n places on; what comes in is zero.
func shift[T any](a []T, n int) {
	n = min(n, len(a))
	copy(a[n:], a)
	clear(a[:n])
}

// bounds finds the smallest and the largest size that is allowed, and moves the
// size in force there before any signal is read.
func (w *work) bounds() {
	p := w.p
	w.low, w.high = clamp(p.Min, 0, MaxSize), MaxSize
	if p.Max > 0 {
		w.high = min(p.Max, MaxSize)
	}
	if h := w.handNow(); h != nil {
		if h.Min != nil {
			w.low = clamp(*h.Min, 0, MaxSize)
		}
		if h.Max != nil {
			w.high = clamp(*h.Max, 0, MaxSize)
		}
	}
	if w.low == 0 && !p.Zero {
		w.low = 1
	}
	w.high = max(w.high, w.low)
	floor, ceiling, name := w.schedule()
	if floor > w.low {
		w.low = min(floor, w.high)
		w.d.Proposals = append(w.d.Proposals, Proposal{Source: "schedule " + name, Size: w.low, Why: WhySchedule})
	} else if w.low > 0 {
		w.d.Proposals = append(w.d.Proposals, Proposal{Source: "min", Size: w.low, Why: WhyMin})
	}
	if ceiling > 0 && ceiling < w.high {
		w.high = max(ceiling, w.low)
	}
	w.d.Size = w.d.From
	w.to(LimitMin, max(w.d.Size, w.low))
	w.to(LimitMax, min(w.d.Size, w.high))
}

// to changes the size because of a limit.
func (w *work) to(code LimitCode, size int) {
	if size != w.d.Size {
		w.d.Limits = append(w.d.Limits, Limit{Code: code, From: w.d.Size, To: size})
		w.d.Size = size
	}
}

func (w *work) handNow() *Hand {
	if h := w.p.Hand; h != nil && (h.Until == 0 || h.Until > w.in.At) {
		return h
	}
	return nil
}

// hand reports whether an operator set the size itself.
func (w *work) hand() bool {
	h := w.handNow()
	return h != nil && h.Size != nil
}

func (w *work) fixed() {
	size, why := w.low, Fixed
	if w.hand() {
		size, why = clamp(*w.handNow().Size, 0, MaxSize), ByHand
	}
	w.d.Limits = nil
	w.d.Wish, w.d.Floor, w.d.Size, w.d.Reason = size, size, size, why
	if mode := w.in.Freeze.mode(w.in.At); why == Fixed && w.d.Size < w.d.From && (mode == NoDown || mode == NoChange) {
		w.to(LimitFreeze, w.d.From)
		w.d.Reason = Frozen
	}
}

// look reads the signals and moves the memories that hang on them.
func (w *work) look() {
	w.views, w.d.Blind = readSignals(w.p, &w.s, w.in)
	w.fresh = w.d.Blind == 0
	for _, v := range w.views {
		if v.fresh {
			w.live = max(w.live, v.live)
		}
		w.busy = max(w.busy, v.busy)
	}
	if !w.fresh {
		return
	}
	s := &w.s
	switch {
	case w.live > 0 || w.busy > 0:
		s.Idle = 0
	case s.Idle == 0:
		s.Idle = w.in.At
	}
	s.Demands[0] = (s.Demands[0]*float64(s.Samples) + w.live) / float64(s.Samples+1)
	s.Samples++
	if m := s.Demands[1]; m > 0 && (s.Quarters[0] == 0 || m < s.Quarters[0]) {
		s.Quarters[0] = m
	}
}

// propose collects what every source wants. The largest is the wish.
func (w *work) propose() {
	add := func(source string, size int, demand float64, why Why) {
		if size > 0 {
			w.d.Proposals = append(w.d.Proposals, Proposal{Source: source, Size: min(size, MaxSize), Demand: demand, Why: why})
		}
	}
	extra := 0
	for _, v := range w.views {
		if v.size+v.drain == 0 {
			continue
		}
		size := w.sturdy(v.size, v.a)
		w.steady = max(w.steady, min(w.sturdy(v.calm, v.live), size))
		why := v.why
		if v.drain > 0 && why != WhyStuck && why != WhyDoubt {
			why = WhyWaiting
			if w.p.Strategy == Queue {
				why = WhyBacklog
			}
		}
		size += v.drain
		if v.limit > 0 {
			size = min(size, v.limit)
		}
		extra = max(extra, v.drain)
		add("signal "+v.name, size, v.a, why)
	}
	w.announced(add)
	w.history(add)
	w.blind(add)
	w.guard(add)
	slices.SortStableFunc(w.d.Proposals, func(a, b Proposal) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Source, b.Source))
	})
	if len(w.d.Proposals) > 0 {
		first := w.d.Proposals[0]
		w.d.Wish, w.d.Demand = first.Size, first.Demand
	}
	w.d.Floor = clamp(max(w.low, Degraded(w.live)), w.low, max(w.d.Wish, w.low))
	// Holds remember what a minute needed, not its noise, nor what was added to catch up.
	for _, p := range w.d.Proposals {
		switch p.Why {
		case WhyMin, WhySchedule, WhyAnnounced, WhyHistory, WhyTrend, WhyReturn:
			w.steady = max(w.steady, p.Size)
		}
	}
	w.steady = min(w.steady, w.d.Wish)
}

// sturdy adds what must be there so that losing a node or a zone leaves enough
// to keep a plain service level, if not the policy's: 3 % wait longer than 250 ms.
func (w *work) sturdy(size int, a float64) int {
	parts := 0
	switch w.p.Survive {
	case "node":
		parts = w.in.Nodes
	case "zone":
		parts = w.in.Zones
	default:
		return size
	}
	return max(size, Survivable(max(Degraded(a), StaffWait(a, 0.03, 0.25, w.service(), 1)), parts))
}

// choose goes from the size in force to the wish: up at once, down slowly.
func (w *work) choose() {
	bound := w.d.Size
	wish := clamp(w.d.Wish, w.low, w.high)
	w.limitAlarms(wish)
	if c := w.in.Capacity; c > 0 && wish > c {
		wish = max(c, w.low)
	}
	w.steady = clamp(w.steady, 0, wish)
	held := w.held()
	switch {
	case wish > bound:
		w.up(wish)
	case wish < bound:
		w.down(wish, held)
	case len(w.d.Limits) > 0:
		w.d.Reason = Bound
	default:
		w.d.Reason = Keep
	}
	w.freeze()
}

// up goes to the wish in one step.
func (w *work) up(wish int) {
	size := w.d.Size
	band := upBand
	if w.p.Strategy == Queue {
		band = queueBand / 2
	}
	if wish-size < max(1, ceil(float64(size)*band)) && size >= w.busy && size > 0 && !w.overfull() {
		w.d.Reason = Stay
		return
	}
	if w.noMore() {
		w.d.Limits = append(w.d.Limits, Limit{Code: LimitStuck, From: wish, To: size})
		w.d.Reason = Hold
		return
	}
	if w.d.Wish > wish {
		code := LimitMax
		if w.in.Capacity > 0 && wish == w.in.Capacity {
			code = LimitCapacity
		}
		w.d.Limits = append(w.d.Limits, Limit{Code: code, From: w.d.Wish, To: wish})
	}
	// A little more, so that the next raise is not due in a minute.
	room := w.high
	if c := w.in.Capacity; c > 0 {
		room = min(room, max(c, wish))
	}
	more := 0
	if w.d.Proposals[0].Why == WhySteady {
		more = int(float64(wish) * upHead)
	}
	w.d.Size, w.d.Reason = min(wish+more, room), Raise
}

// overfull: requests wait although the size is what it should be, so even one more helps.
func (w *work) overfull() bool {
	if w.p.Strategy == Queue {
		return false
	}
	for _, v := range w.views {
		if v.full {
			return true
		}
	}
	return false
}

func (w *work) finish() {
	w.effect()
	w.short()
	w.alarms()
	w.s.Size = w.d.Size
	slices.SortFunc(w.d.Alarms, func(a, b Alarm) int { return cmp.Compare(a.Code, b.Code) })
}

func clamp(n, low, high int) int { return max(low, min(n, high)) }

// mode is the freeze in force at a moment.
func (f Freeze) mode(at int64) FreezeMode {
	if f.Until != 0 && f.Until <= at {
		return NotFrozen
	}
	return f.Mode
}

func (f Freeze) any(at int64) bool { return f.mode(at) != NotFrozen }

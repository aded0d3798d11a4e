package scale

import "math"

// The numbers behind getting smaller. Times are seconds.
const (
	upBand    = 0.025  // a raise smaller than this share is not worth it
	upHead    = 0.06   // share that a raise goes beyond the wish
	downBand  = 0.10   // nor a lowering than this
	holdMost  = 3600.0 // longest hold that flapping leads to
	holdOver  = 2.0    // times the dip that came back: a whole wave, if it is one
	holdKeeps = 4      // holds without another dip, after which it is halved
	dipBelow  = 0.75   // demand below this share of what it was is a dip
	dipBack   = 0.90   // and over this share of it, it is back
	dipSure   = 5.0    // standard deviations of the requests of a minute
	takeover  = 60     // after nothing was known, sizes only grow for this long
)

// held returns the largest steady wish of the hold time, this one included, and
// remembers this one.
func (w *work) held() int {
	s := &w.s
	s.Wishes[0] = max(s.Wishes[0], w.steady)
	w.dip()
	hold := max(w.p.Down.After.Seconds(), s.Hold)
	minutes := min(int(math.Ceil(hold/60)), len(s.Wishes)-1)
	held := 0
	for _, m := range s.Wishes[:minutes+1] {
		held = max(held, m)
	}
	for k := minutes; k >= 0; k-- {
		if s.Wishes[k] == held {
			w.d.HoldUntil = (w.in.At/60-int64(k)+1)*60 + int64(hold)
			break
		}
	}
	return held
}

// dip learns how long demand is away before it comes back. A service whose
// demand flaps gets a hold that is longer than its dips, so that it is lowered
// no more between them. A dip counts by the wish, lowered or not: while the
// pattern goes on, it is seen.
func (w *work) dip() {
	s := &w.s
	switch {
	case s.Guard.Since > 0:
		s.Dip = Dip{} // an outage is no pattern
	case w.fresh:
		w.watchDip()
	}
	if s.Hold > 0 && float64(w.in.At-s.HoldSeen) > holdKeeps*s.Hold {
		s.Hold, s.HoldSeen = s.Hold/2, w.in.At
		if s.Hold <= w.p.Down.After.Seconds() {
			s.Hold = 0
		}
	}
}

func (w *work) watchDip() {
	s := &w.s
	if s.Dip.Since > 0 {
		gap := float64(w.in.At - s.Dip.Since)
		switch back := w.live >= dipBack*s.Dip.Peak; {
		case back && gap*holdOver > w.p.Down.After.Seconds():
			s.Hold = min(max(s.Hold, gap*holdOver), holdMost)
			s.HoldSeen, s.Dip = w.in.At, Dip{}
		case back || gap > holdMost:
			s.Dip = Dip{}
		}
	}
	if s.Dip.Since > 0 {
		return
	}
	peak := 0.0
	for _, d := range s.Demands[1:6] {
		peak = max(peak, d)
	}
	requests := 60 / max(w.service(), 1e-3)
	if w.live < dipBelow*peak && (peak-w.live)*requests > dipSure*math.Sqrt(peak*requests) {
		s.Dip = Dip{Peak: peak, Since: w.in.At}
	}
}

// down goes towards the wish as far as holds, signals and rates allow.
func (w *work) down(wish, held int) {
	size := w.d.Size
	w.d.Reason = Lower
	target := wish
	refuse := func(code LimitCode, why Reason) {
		w.d.Limits = append(w.d.Limits, Limit{Code: code, From: wish, To: size})
		w.d.Reason = why
		target = size
	}
	switch {
	case !w.fresh:
		refuse(LimitBlind, Blind)
	case w.s.Guard.Since > 0:
		refuse(LimitGuard, Guarded)
	case w.in.Settling != "":
		refuse(LimitSettle, Settling)
	case w.in.Starting > 0 && !w.stuckStart():
		refuse(LimitSettle, Settling)
	case w.in.At-w.s.First < takeover:
		refuse(LimitHold, Hold)
	case wish == 0:
		w.zero(refuse)
	default:
		target = w.lower(wish, held)
	}
	if target >= size && w.d.Reason == Lower {
		w.d.Reason = Hold
	}
	w.d.Size = min(size, target)
	if w.d.Size < size {
		w.s.Effect = Effect{}
	}
}

// lower is the size after hold, rate and dead band.
func (w *work) lower(wish, held int) int {
	size, target := w.d.Size, wish
	limit := func(code LimitCode, to int) {
		if to > target {
			w.d.Limits = append(w.d.Limits, Limit{Code: code, From: target, To: to})
			target = to
		}
	}
	limit(LimitHold, min(held, size))
	if target < size {
		w.d.HoldUntil = 0
	}
	limit(LimitBusy, min(w.busyFloor(), size))
	band := downBand
	if w.p.Strategy == Queue {
		band = queueBand
	}
	if size-target < max(1, ceil(float64(size)*band)) && target > w.low {
		limit(LimitBand, size)
		if held < size {
			w.d.Reason = Stay
		}
		return target
	}
	minute := w.in.At / 60
	if w.s.Lowered.Minute != minute || w.s.Lowered.From < size {
		w.s.Lowered = Lowered{Minute: minute, From: size}
	}
	// Messages wait without harm, so consumers go in one step.
	if step := w.p.Down.Step; step > 0 && step < 1 && w.p.Strategy != Queue {
		from := w.s.Lowered.From
		limit(LimitRate, min(from-max(1, int(float64(from)*step)), size))
	}
	return target
}

// busyFloor is how many workers are busy in a way that must not be cut off: a
// queue's consumer holds a message. A web worker that is taken away finishes first.
func (w *work) busyFloor() int {
	if w.p.Strategy == Queue {
		return w.busy
	}
	return 0
}

// zero takes the last workers away once nothing came for long enough.
func (w *work) zero(refuse func(LimitCode, Reason)) {
	idle := w.s.Idle
	if idle == 0 || float64(w.in.At-idle) < max(w.p.ZeroAfter.Seconds(), 1) {
		refuse(LimitZero, Hold)
		if idle > 0 {
			w.d.HoldUntil = idle + int64(w.p.ZeroAfter.Seconds())
		}
		return
	}
	w.d.Reason = ToZero
}

// freeze has the last word.
func (w *work) freeze() {
	from := clamp(w.d.From, w.low, w.high)
	switch mode := w.in.Freeze.mode(w.in.At); {
	case mode == NoDown && w.d.Size < from, mode == NoChange && w.d.Size != from:
		w.to(LimitFreeze, from)
		w.d.Reason = Frozen
	}
}

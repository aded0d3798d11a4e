package scale

import "time"

// The numbers behind alarms. Times are seconds.
const (
	cappedAlarm  = 60
	blindAlarm   = 600
	shortSlack   = 30.0 // beyond twice the start-up time
	helpShare    = 0.30 // of the throughput that a raise should bring
	helpLeast    = 1.1  // raises by less than this factor prove nothing
	effectAtMost = 2    // raises in a row without effect, after which no more workers are added
	helpRetries  = 600  // after which a service that was not helped is tried again
)

func (w *work) alarm(code AlarmCode, since int64, missing int) {
	for _, a := range w.d.Alarms {
		if a.Code == code {
			return
		}
	}
	w.d.Alarms = append(w.d.Alarms, Alarm{Code: code, Since: since, Missing: missing})
}

// limitAlarms tells when a bound or the room keeps workers away that are needed.
func (w *work) limitAlarms(wish int) {
	s := &w.s
	if w.d.Wish > w.high && w.live > 0 {
		s.Capped = since(s.Capped, w.in.At)
		if w.in.At-s.Capped >= cappedAlarm {
			w.alarm(AlarmMax, s.Capped, w.d.Wish-w.high)
		}
	} else {
		s.Capped = 0
	}
	if c := w.in.Capacity; c > 0 && wish > c {
		s.Full = since(s.Full, w.in.At)
		w.alarm(AlarmCapacity, s.Full, wish-c)
	} else {
		s.Full = 0
	}
}

func since(before, now int64) int64 {
	if before > 0 {
		return before
	}
	return now
}

// short watches workers that were ordered and do not come.
func (w *work) short() {
	s := &w.s.Short
	want := min(w.d.From, w.d.Size)
	if w.in.Ready >= want {
		*s = Short{}
		return
	}
	if s.Since == 0 || w.in.Ready > s.Ready {
		s.Since, s.Ready = w.in.At, w.in.Ready // none yet, or it moves
	}
	if w.stuckStart() {
		w.alarm(AlarmStuck, s.Since, want-w.in.Ready)
	}
}

// stuckStart reports whether ordered workers have been missing for too long.
func (w *work) stuckStart() bool {
	s := w.s.Short
	return s.Since > 0 && float64(w.in.At-s.Since) > 2*w.p.StartUp.Seconds()+shortSlack
}

// effect watches whether a raise of a service that was full serves more. If S
// grows with the workers, something behind them is the bottleneck.
func (w *work) effect() {
	e := &w.s.Effect
	full, rate := false, 0.0
	for _, v := range w.views {
		if v.fresh && v.full {
			full = true
		}
		rate = max(rate, v.rate)
	}
	if e.At > 0 && w.in.Ready >= e.To && w.in.At-e.At >= int64(w.p.StartUp/time.Second)+15 {
		gain := float64(e.To)/float64(max(e.From, 1)) - 1
		switch {
		case full && rate < e.Done*(1+helpShare*gain):
			e.Fails++
			e.Since = since(e.Since, w.in.At)
		default:
			e.Fails, e.Since = 0, 0
		}
		if e.At = 0; e.Fails > 0 && w.in.Ready > e.To { // it was raised again meanwhile: that is watched next
			e.At, e.From, e.To, e.Done = w.in.At, e.To, w.in.Ready, rate
		}
	}
	if e.Fails > 0 && !full {
		*e = Effect{At: e.At, From: e.From, To: e.To, Done: e.Done}
	}
	if w.d.Reason == Raise && full && e.At == 0 && float64(w.d.Size) >= helpLeast*float64(max(w.in.Ready, 1)) {
		e.At, e.From, e.To, e.Done = w.in.At, w.in.Ready, w.d.Size, rate
	}
	if e.Fails >= effectAtMost {
		w.alarm(AlarmNoHelp, e.Since, 0)
	}
}

// noMore: the last raises did not help, so what is behind the service is the
// bottleneck, and more workers would only press on it. It is tried again later.
func (w *work) noMore() bool {
	e := &w.s.Effect
	if e.Fails < effectAtMost {
		return false
	}
	if w.in.At-e.Since > helpRetries {
		e.Fails, e.Since = effectAtMost-1, w.in.At
		return false
	}
	return true
}

// alarms are those that do not belong to one step.
func (w *work) alarms() {
	if w.d.Blind > blindAlarm {
		w.alarm(AlarmBlind, w.in.At-w.d.Blind, 0)
	}
	if w.p.Zero && w.d.Size == 0 && !w.fresh && w.p.Strategy != Noop {
		w.alarm(AlarmBlindZero, w.in.At-w.d.Blind, 0)
	}
	for _, v := range w.views {
		if v.why == WhyStuck {
			w.alarm(AlarmConsumers, v.state.Stuck, 0)
		}
		if w.p.Strategy == BusyRatio && v.fresh && v.busy > w.in.Ready+w.in.Starting+2 && w.in.Settling == "" && v.busy > w.d.From {
			w.alarm(AlarmLeak, w.in.At, 0)
		}
	}
	if g := w.s.Guard; g.Since > 0 {
		w.alarm(AlarmCollapse, g.Since, 0)
	}
}

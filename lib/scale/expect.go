package scale

import (
	"slices"
	"time"
)

// announcedLead is how many seconds before its beginning an announced load finds its workers ready.
const announcedLead = 30

// schedule returns the largest floor and the smallest ceiling in force when a
// worker that is ordered now will serve, and the floor's name.
func (w *work) schedule() (floor, ceiling int, name string) {
	for _, s := range w.p.Schedules {
		offset, known := w.in.Offsets[s.Zone]
		if !known && s.Zone != "" && s.Zone != "UTC" {
			w.alarm(AlarmZone, w.in.At, 0)
			if s.Min > floor { // in doubt there are enough
				floor, name = s.Min, s.Name
			}
			continue
		}
		now := w.in.At + int64(offset)
		soon := now + int64(w.p.StartUp/time.Second)
		if s.Min > floor && (s.in(now) || s.in(soon)) {
			floor, name = s.Min, s.Name
		}
		if s.Max > 0 && s.in(now) && (ceiling == 0 || s.Max < ceiling) {
			ceiling = s.Max
		}
	}
	return floor, ceiling, name
}

// in reports whether local, in seconds of local time, is in a window of s.
func (s Schedule) in(local int64) bool {
	day := dayOf(local)
	minute := int(local-day*86400) / 60
	today := s.on(day)
	if s.From < s.To {
		return today && minute >= s.From && minute < s.To
	}
	return today && minute >= s.From || s.on(day-1) && minute < s.To
}

// on reports whether s begins on a day, counted from 1970-01-01, a Thursday.
func (s Schedule) on(day int64) bool {
	weekday := time.Weekday(((day+4)%7 + 7) % 7)
	return len(s.Days) == 0 || slices.Contains(s.Days, weekday)
}

// dayOf is the day of a second, counted from 1970-01-01.
func dayOf(local int64) int64 {
	q := local / 86400
	if local%86400 < 0 {
		q--
	}
	return q
}

// announced proposes what was announced, from a little before its beginning to the end of its hold.
func (w *work) announced(add func(string, int, float64, Why)) {
	for _, a := range w.in.Announced {
		lead := int64(w.p.StartUp/time.Second) + announcedLead
		if w.in.At < a.From-lead || w.in.At >= a.Until || !good(a.RPS, a.Factor, a.Base) {
			continue
		}
		demand := a.Factor * a.Base
		if a.RPS > 0 {
			demand = a.RPS * w.service()
		}
		if a.RPS > 0 && w.service() <= 0 { // any number would be a guess
			w.alarm(AlarmUnknown, a.From, 0)
			continue
		}
		add("announcement "+a.ID, w.sturdy(staff(w.p, demand, w.service(), 0), demand), demand, WhyAnnounced)
		if half := (a.From + a.Until) / 2; w.fresh && w.in.At > half && w.live < 0.3*demand {
			w.alarm(AlarmNoTraffic, a.From, 0)
		}
	}
}

// service is the longest service time known, in seconds.
func (w *work) service() float64 {
	s := 0.0
	for _, v := range w.views {
		s = max(s, v.state.S)
	}
	return s
}

// The numbers behind history.
const (
	historyShare = 0.95 // of what is expected is a floor
	historyLeast = 0.40 // below this share of it, today is another day
	historyRough = 0.35 // history that differs more than this between days is none
)

// history proposes a floor from earlier days.
func (w *work) history(add func(string, int, float64, Why)) {
	e := w.in.Expected
	if !w.p.Seasonal || !good(e.Now, e.Soon, e.Spread) || e.Soon <= 0 || e.Spread > historyRough {
		return
	}
	if w.fresh && w.live < historyLeast*e.Now && w.s.Guard.Since == 0 {
		return
	}
	demand := historyShare * e.Soon
	add("history", w.sturdy(staff(w.p, demand, w.service(), 0), demand), demand, WhyHistory)
}

// blind proposes what to do without a signal.
func (w *work) blind(add func(string, int, float64, Why)) {
	if w.fresh {
		return
	}
	switch w.p.OnBlind {
	case BlindMax:
		if w.d.Blind > int64(freshTicks*tickOf(w.p)) && w.high < MaxSize {
			add("on_blind", w.high, 0, WhyBlindMax)
		}
	case BlindForecast:
		if last, slope := w.trend(); last > 0 && slope > 0 {
			ahead := float64(w.d.Blind) + w.p.StartUp.Seconds()
			demand := min(last+slope*ahead, last*1.5)
			add("trend", w.sturdy(staff(w.p, demand, w.service(), 0), demand), demand, WhyTrend)
		}
	}
}

// trend returns the demand of the last minutes that were seen, and its growth
// in Erlangs per second: the difference of two halves of up to 12 minutes.
func (w *work) trend() (last, slope float64) {
	d := w.s.Demands[:]
	for len(d) > 0 && d[0] == 0 {
		d = d[1:] // not seen
	}
	if len(d) < 4 {
		return 0, 0
	}
	d = d[:min(len(d), 12)]
	for i, v := range d {
		if v == 0 {
			d = d[:i]
			break
		}
	}
	half := len(d) / 2
	if half < 2 {
		return 0, 0
	}
	young, old := mean(d[:half]), mean(d[half:2*half])
	slope = (young - old) / float64(half) / 60
	return young + slope*float64(half)*30, slope
}

func mean(a []float64) float64 {
	sum := 0.0
	for _, v := range a {
		sum += v
	}
	return sum / float64(len(a))
}

package scale

import (
	"math"
	"slices"
	"time"
)

// slot is the length of one piece of a day in history, in seconds.
const (
	slot     = 300
	slots    = 86400 / slot
	keepDays = 28
)

// History is the demand of one service on earlier days, in Erlangs, by the time
// of day in its own zone. It is filled day by day and kept outside decisions.
type History struct {
	Days []HistoryDay `json:"days"` // oldest first, at most 28
}

// HistoryDay is one day: the mean demand of each 5 minutes; negative: not seen.
type HistoryDay struct {
	Day    int64     `json:"day"` // days since 1970-01-01, local
	Demand []float64 `json:"demand"`
}

// Learner holds what was seen of today, and compares it with history.
type Learner struct {
	Offset int          `json:"offset"` // seconds east of UTC
	Today  HistoryDay   `json:"today"`
	n      int          // samples in the slot at hand
	at     int          // the slot at hand
	past   []HistoryDay // finished days, to be added to History by the owner
}

// See takes one sample of the demand.
func (l *Learner) See(at int64, demand float64) {
	if !good(demand) {
		return
	}
	local := at + int64(l.Offset)
	day := dayOf(local)
	if l.Today.Demand == nil || day != l.Today.Day {
		if l.Today.Demand != nil {
			l.past = append(l.past, l.Today)
		}
		l.Today = HistoryDay{Day: day, Demand: unseen()}
		l.n, l.at = 0, -1
	}
	k := int(local-day*86400) / slot
	if k != l.at {
		l.n, l.at = 0, k
	}
	if l.n == 0 {
		l.Today.Demand[k] = 0
	}
	l.Today.Demand[k] = (l.Today.Demand[k]*float64(l.n) + demand) / float64(l.n+1)
	l.n++
}

// Sound reports whether history that was read can be used.
func (h *History) Sound() bool {
	return len(h.Days) <= keepDays && !slices.ContainsFunc(h.Days, func(d HistoryDay) bool { return !d.sound() })
}

// Sound reports whether a learner that was read can be used.
func (l *Learner) Sound() bool { return l.Today.Demand == nil || l.Today.sound() }

func (d HistoryDay) sound() bool {
	return len(d.Demand) == slots && !slices.ContainsFunc(d.Demand, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// Settle moves the days that ended since the last call into history.
func (l *Learner) Settle(h *History) {
	for _, day := range l.past {
		h.Add(day)
	}
	l.past = nil
}

func unseen() []float64 {
	d := make([]float64, slots)
	for i := range d {
		d[i] = -1
	}
	return d
}

// Add puts a finished day into history; days older than four weeks go.
func (h *History) Add(day HistoryDay) {
	h.Days = append(h.Days, day)
	if len(h.Days) > keepDays {
		h.Days = h.Days[len(h.Days)-keepDays:]
	}
}

// Expect is what history says about now and the next minutes.
//
// Each earlier day is a forecast for today: its curve, scaled to the level of
// today's last two hours. Spread is how wrong these forecasts would have been
// in those two hours. So a level shift is followed, and a day of another shape,
// a holiday or a history in a wrong time zone shows as a large spread and is
// not used. The same day of the week counts where it is at hand and fits better.
func (l *Learner) Expect(h *History, at int64, startUp time.Duration) Expected {
	if h == nil || len(h.Days) == 0 || l.Today.Demand == nil {
		return Expected{}
	}
	local := at + int64(l.Offset)
	day := dayOf(local)
	k := int(local-day*86400) / slot
	ahead := 1 + int(math.Ceil(startUp.Seconds()/slot))
	type guess struct{ now, soon, wrong float64 }
	var all []guess
	for _, past := range h.Days {
		if len(past.Demand) != slots {
			continue
		}
		level, wrong, ok := l.fit(past, k)
		if !ok {
			continue
		}
		g := guess{now: level * between(past.Demand, float64(local-day*86400)), wrong: wrong}
		for j := 0; j <= ahead; j++ {
			g.soon = max(g.soon, level*between(past.Demand, float64(local-day*86400)+float64(j*slot)))
		}
		all = append(all, g)
	}
	if len(all) == 0 {
		return Expected{}
	}
	slices.SortStableFunc(all, func(a, b guess) int {
		switch {
		case a.wrong < b.wrong:
			return -1
		case a.wrong > b.wrong:
			return 1
		}
		return 0
	})
	best := all[:(len(all)+1)/2] // the days that fit: weekdays on a weekday, Sundays on a Sunday
	var now, soon, wrong []float64
	for _, g := range best {
		now, soon, wrong = append(now, g.now), append(soon, g.soon), append(wrong, g.wrong)
	}
	return Expected{Now: median(now), Soon: median(soon), Spread: median(wrong), Days: len(best)}
}

// fit scales a past day to today's last two hours: level is the ratio of the
// means, wrong the relative root mean square of what is left.
func (l *Learner) fit(past HistoryDay, k int) (level, wrong float64, ok bool) {
	const back = 7200 / slot
	var mine, theirs []float64
	for j := k - back; j < k; j++ {
		if j < 0 {
			continue
		}
		if a, b := l.Today.Demand[j], past.Demand[j]; a >= 0 && b >= 0 {
			mine, theirs = append(mine, a), append(theirs, b)
		}
	}
	if len(mine) < 6 {
		return 0, 0, false
	}
	a, b := mean(mine), mean(theirs)
	if b <= 0 {
		return 0, 0, false
	}
	level = a / b
	if level < 0.5 || level > 2 {
		return 0, 0, false
	}
	sum := 0.0
	for i := range mine {
		d := level*theirs[i] - mine[i]
		sum += d * d
	}
	return level, math.Sqrt(sum/float64(len(mine))) / max(a, 0.1), true
}

// between reads a day's curve at a second of the day; slots count at their middle.
func between(d []float64, second float64) float64 {
	x := second/slot - 0.5
	i := int(math.Floor(x))
	a, b := d[wrap(i)], d[wrap(i+1)]
	switch {
	case a < 0 && b < 0:
		return 0
	case a < 0:
		return b
	case b < 0:
		return a
	}
	return a + (b-a)*(x-float64(i))
}

func wrap(i int) int { return ((i % slots) + slots) % slots }

func median(a []float64) float64 {
	slices.Sort(a)
	return a[len(a)/2]
}

package scale

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// PackedDay is one day of history in few bytes, for the next planner: 430 of them as JSON.
type PackedDay struct {
	Day  int64   `json:"day"`  // days since 1970-01-01, local
	Most float64 `json:"most"` // the largest demand of the day, in Erlangs
	Of   []byte  `json:"of"`   // each 5 minutes: 0 not seen, else 1 + 254 × demand / Most
}

// The numbers behind packed days.
const (
	packedSteps = 254
	mostDemand  = 1e9   // Erlangs: no fleet has more
	zonesApart  = 86400 // seconds: the day of another zone may have begun already
)

// Pack returns the last days of history, at most so many, and what was seen of today after them.
func (l *Learner) Pack(h *History, days int) []PackedDay {
	all := slices.Concat(h.Days, l.past)
	all = slices.Clone(all[max(len(all)-days, 0):])
	if l.Today.Demand != nil {
		all = append(all, l.Today)
	}
	out := make([]PackedDay, 0, len(all))
	for _, d := range all {
		out = append(out, d.pack())
	}
	return out
}

func (d HistoryDay) pack() PackedDay {
	out := PackedDay{Day: d.Day, Most: min(max(slices.Max(d.Demand), 0), mostDemand), Of: make([]byte, len(d.Demand))}
	for i, x := range d.Demand {
		switch {
		case x < 0:
		case out.Most == 0:
			out.Of[i] = 1
		default:
			out.Of[i] = 1 + byte(math.Round(packedSteps*min(x/out.Most, 1)))
		}
	}
	return out
}

func (p PackedDay) unpack() HistoryDay {
	d := HistoryDay{Day: p.Day, Demand: unseen()}
	for i, b := range p.Of {
		if b > 0 {
			d.Demand[i] = float64(b-1) / packedSteps * p.Most
		}
	}
	return d
}

// CheckDays says why packed days that were read at a moment cannot be used.
func CheckDays(list []PackedDay, at int64) error {
	if len(list) > keepDays+1 {
		return fmt.Errorf("%d days are more than %d", len(list), keepDays+1)
	}
	last := dayOf(at + zonesApart)
	for i, d := range list {
		switch {
		case len(d.Of) != slots:
			return fmt.Errorf("day %d has %d pieces, expected %d", d.Day, len(d.Of), slots)
		case !good(d.Most) || d.Most > mostDemand:
			return fmt.Errorf("day %d has a demand of %g Erlangs", d.Day, d.Most)
		case d.Day < 0 || d.Day > last:
			return fmt.Errorf("day %d has not come yet", d.Day)
		case i > 0 && list[i-1].Day >= d.Day:
			return fmt.Errorf("day %d is not in its order", d.Day)
		}
	}
	return nil
}

// Merge takes up days that another planner saw and that CheckDays found no fault
// with. What was seen here counts where both saw something.
func (l *Learner) Merge(h *History, list []PackedDay) {
	by := map[int64]HistoryDay{}
	for _, p := range list {
		by[p.Day] = p.unpack()
	}
	own := slices.Concat(h.Days, l.past)
	if l.Today.Demand != nil {
		own = append(own, l.Today)
	}
	for _, d := range own {
		both, ok := by[d.Day]
		if !ok {
			both = HistoryDay{Day: d.Day, Demand: unseen()}
		}
		for i, x := range d.Demand {
			if x >= 0 {
				both.Demand[i] = x
			}
		}
		by[d.Day] = both
	}
	if len(by) == 0 {
		return
	}
	all := make([]HistoryDay, 0, len(by))
	for _, d := range by {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b HistoryDay) int { return cmp.Compare(a.Day, b.Day) })
	newest := all[len(all)-1]
	if newest.Day != l.Today.Day || l.Today.Demand == nil {
		l.n, l.at = 0, -1
	}
	l.Today, l.past = newest, nil
	h.Days = nil
	for _, d := range all[:len(all)-1] {
		h.Add(d)
	}
}

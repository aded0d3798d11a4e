package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// InWindow is nil when a deploy may begin at now: there are no windows, or it is in one of them. local
// gives the time of a zone; false: the zone is not known here, and then its window is never open.
func InWindow(windows []spec.Window, now time.Time, local func(zone string, at time.Time) (time.Time, bool)) error {
	if len(windows) == 0 {
		return nil
	}
	var words []string
	for _, w := range windows {
		at, known := local(w.Zone, now)
		if known && within(w, at) {
			return nil
		}
		text := inWords(w)
		if !known {
			text += " (this machine does not know that zone)"
		}
		words = append(words, text)
	}
	return fault.WithHint(fault.New(fault.Refused, "it is %s, and deploys may begin %s", now.UTC().Format("Mon 15:04 MST"), strings.Join(words, ", or ")),
		"wait, or say why it cannot: --override REASON, which is kept in the journal")
}

// within reports whether a window is open at a time of its zone. One that ends on the next day belongs to the day it began on.
func within(w spec.Window, at time.Time) bool {
	clock := at.Format("15:04")
	today := onDay(w, at.Weekday())
	if w.From < w.To {
		return today && clock >= w.From && clock < w.To
	}
	return today && clock >= w.From || onDay(w, at.AddDate(0, 0, -1).Weekday()) && clock < w.To
}

func onDay(w spec.Window, d time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, strings.ToLower(d.String()[:3]))
}

// inWords is a window in words.
func inWords(w spec.Window) string {
	days := "every day"
	if len(w.Days) > 0 {
		days = strings.Join(w.Days, ", ")
	}
	return fmt.Sprintf("%s from %s to %s %s", days, w.From, w.To, w.Zone)
}

package rollout

import (
	"strings"
	"time"

	"svckit/lib/fleet"
)

// asideMark begins the reason of a maintenance of ours; its end follows.
const asideMark = "svckit reload until "

// AsideReason is the reason of a maintenance that a reload makes. It carries its
// end: a reload that is killed in the middle must not leave an instance out for ever.
func AsideReason(until time.Time, why string) string {
	return asideMark + until.UTC().Format(time.RFC3339) + ", " + why
}

// AsideUntil reads the end of such a maintenance; false for one that somebody
// else made, which is never ended by us.
func AsideUntil(r fleet.Registration) (time.Time, bool) { return until(r, asideMark) }

// until reads the end of a maintenance whose reason begins with mark.
func until(r fleet.Registration, mark string) (time.Time, bool) {
	rest, ours := strings.CutPrefix(r.Reason, mark)
	if r.Health != fleet.Maintenance || !ours {
		return time.Time{}, false
	}
	text, _, _ := strings.Cut(rest, ",")
	end, err := time.Parse(time.RFC3339, text)
	return end, err == nil
}

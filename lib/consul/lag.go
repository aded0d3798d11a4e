package consul

import "time"

// believeLower is how long an older state than one that was seen is not
// believed: longer than an election, since every server answers and one that is
// behind may answer until it has found the new leader.
const believeLower = 10 * time.Second

// lag tells a state that was restored, or a cluster that began anew, from a
// server that is behind. The zero value is ready.
type lag struct {
	highest uint64    // index that was seen
	since   time.Time // since when answers are older; zero: they are not
}

// behind reports whether an answer with this index is to be taken for that of a server that is behind.
func (l *lag) behind(index uint64, now time.Time) bool {
	if index >= l.highest {
		*l = lag{highest: index}
		return false
	}
	if l.since.IsZero() {
		l.since = now
	}
	if now.Sub(l.since) < believeLower {
		return true
	}
	*l = lag{highest: index}
	return false
}

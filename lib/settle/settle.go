// Package settle decides when a service whose keys changed is looked at: after
// a quiet period, so that many writes are one change; again, with growing
// pauses, when it could not be done; and which failures are worth a message. It
// is pure: time and chance are arguments. What is done with a service is no
// concern of it.
package settle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"svckit/lib/fault"
)

// Rules are the times that a Book goes by.
type Rules struct {
	Quiet    time.Duration // a change waits until nothing changed for this long,
	Longest  time.Duration // but no longer than this after the first of many
	Busy     time.Duration // first pause while somebody else holds the service or Consul is away; doubled each time up to MaxBusy
	MaxBusy  time.Duration //
	Pause    time.Duration // first pause after a failure; doubled each time up to MaxPause
	MaxPause time.Duration //
}

// Defaults are the rules unless somebody says otherwise.
func Defaults() Rules {
	return Rules{
		Quiet: 2 * time.Second, Longest: 30 * time.Second,
		Busy: 2 * time.Second, MaxBusy: 30 * time.Second,
		Pause: 10 * time.Second, MaxPause: 10 * time.Minute,
	}
}

// Book remembers of each service what was seen and what came of it.
type Book struct {
	rules    Rules
	services map[string]*entry
	told     map[string]string // service → digest of the problem that was told last and still stands
}

// entry is one service. It waits for the end of a quiet period (since is set),
// for another try (retry is set), for nothing, or it is being worked on (busy).
type entry struct {
	content string    // digest of what was seen last
	begun   string    // digest of what is, or was last, worked on
	since   time.Time // of the first change that waits; zero: none does
	last    time.Time // of the last one
	fresh   bool      // never worked on: waits for no quiet period
	retry   time.Time // zero: nothing to try again
	floor   time.Time // not before, whatever changes
	held    int       // tries in a row that found it held
	failed  int       // tries in a row that failed
	busy    bool
	gone    bool // left the node while it was busy
}

// NewBook makes an empty book. told is what an earlier one remembered; nil is nothing.
func NewBook(rules Rules, told map[string]string) *Book {
	b := &Book{rules: rules, services: map[string]*entry{}, told: map[string]string{}}
	for name, what := range told {
		b.told[name] = what
	}
	return b
}

// Saw notes what is there of a service, as a digest of its content. One that is
// seen for the first time is due at once.
func (b *Book) Saw(name, content string, now time.Time) {
	e := b.services[name]
	switch {
	case e == nil:
		b.services[name] = &entry{content: content, since: now, last: now, fresh: true}
		return
	case e.gone:
		e.gone = false
	case e.content == content:
		return
	}
	e.content, e.last = content, now
	if e.since.IsZero() {
		e.since = now
	}
}

// Keep forgets every service that is not among names.
func (b *Book) Keep(names []string) {
	for name, e := range b.services {
		switch {
		case slices.Contains(names, name):
		case e.busy:
			e.gone = true
		default:
			b.forget(name)
		}
	}
	for name := range b.told {
		if b.services[name] == nil && !slices.Contains(names, name) {
			delete(b.told, name) // an earlier book's
		}
	}
}

func (b *Book) forget(name string) {
	delete(b.services, name)
	delete(b.told, name)
}

// Due names the services whose turn it is, the longest waiting first, and when
// the next one's will be; the zero time when none waits.
func (b *Book) Due(now time.Time) (names []string, next time.Time) {
	turn := map[string]time.Time{}
	for name, e := range b.services {
		at := b.at(e)
		switch {
		case e.busy || at.IsZero():
		case !at.After(now):
			names, turn[name] = append(names, name), at
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(turn[x].Compare(turn[y]), cmp.Compare(x, y)) })
	return names, next
}

// at is when an entry's turn is; the zero time: it waits for nothing.
func (b *Book) at(e *entry) time.Time {
	if e.since.IsZero() {
		return e.retry
	}
	at := e.since
	if !e.fresh {
		at = earlier(e.last.Add(b.rules.Quiet), e.since.Add(b.rules.Longest))
	}
	if at.Before(e.floor) {
		at = e.floor
	}
	if !e.retry.IsZero() {
		at = earlier(at, e.retry)
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Begin notes that a service is being worked on. It is not due until Done.
func (b *Book) Begin(name string) {
	e := b.services[name]
	e.busy, e.fresh, e.begun = true, false, e.content
	e.since, e.retry = time.Time{}, time.Time{}
}

// Verdict is what a result leads to.
type Verdict struct {
	Tell  bool          // somebody should hear of it: it is not what was told last
	Retry time.Duration // until it is tried again; 0: only after a change
}

// Done notes how the work on a service ended. problem is the failure in words,
// nothing random in them for kind Invalid; chance is in [0, 1).
//
// A service that is held, or whose Consul is away, is tried again soon and
// nobody is told. Another failure is told once for each content of the service,
// or, when the content itself is what is wrong, once for each problem; it is
// told again only when something succeeded in between.
func (b *Book) Done(name string, kind fault.Kind, problem string, now time.Time, chance float64) Verdict {
	e := b.services[name]
	e.busy = false
	if e.gone {
		b.forget(name)
		return Verdict{}
	}
	var pause time.Duration
	switch kind {
	case fault.OK:
		e.held, e.failed, e.floor = 0, 0, time.Time{}
		delete(b.told, name)
		return Verdict{}
	case fault.Conflict, fault.Unreachable, fault.Interrupted, fault.Terminated:
		pause = jitter(doubled(b.rules.Busy, e.held, b.rules.MaxBusy), chance)
		e.held++
		e.retry = now.Add(pause)
		return Verdict{Retry: pause}
	case fault.Invalid:
		e.floor = time.Time{} // looking again touches nothing
	default:
		e.floor = now.Add(b.rules.Pause)
		problem = e.begun
	}
	pause = jitter(doubled(b.rules.Pause, e.failed, b.rules.MaxPause), chance)
	e.held = 0
	e.failed++
	e.retry = now.Add(pause)
	sum := sha256.Sum256([]byte(kind.String() + "\n" + problem))
	what := hex.EncodeToString(sum[:8])
	tell := b.told[name] != what
	b.told[name] = what
	return Verdict{Tell: tell, Retry: pause}
}

// Told is what is to be remembered for a later book.
func (b *Book) Told() map[string]string { return b.told }

// Waiting counts the services that will be looked at without another change.
func (b *Book) Waiting() (n int) {
	for _, e := range b.services {
		if !e.busy && !b.at(e).IsZero() {
			n++
		}
	}
	return n
}

// doubled is first after n doublings, at most limit.
func doubled(first time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 0 && first < limit; n-- {
		first *= 2
	}
	return min(first, limit)
}

// jitter spreads d over its upper half, so that many nodes do not try at the same moment.
func jitter(d time.Duration, chance float64) time.Duration {
	return d/2 + time.Duration(chance*float64(d/2))
}

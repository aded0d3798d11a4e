package settle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"svckit/lib/fault"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

// rules are round numbers; with chance 1 nothing is taken off a pause.
func rules() Rules {
	return Rules{
		Quiet: 2 * time.Second, Longest: 30 * time.Second, Busy: time.Second, MaxBusy: 4 * time.Second,
		Pause: 10 * time.Second, MaxPause: 60 * time.Second,
	}
}

// known is a book with one service that was looked at once and found well.
func known() *Book {
	b := NewBook(rules(), nil)
	b.Saw("shop/web", "a", t0)
	b.Begin("shop/web")
	b.Done("shop/web", fault.OK, "", t0, 1)
	return b
}

// turn is when the next service is due, in seconds; -1 when none will be.
func turn(b *Book, now float64) float64 {
	names, next := b.Due(at(now))
	switch {
	case len(names) > 0:
		return now
	case next.IsZero():
		return -1
	}
	return next.Sub(t0).Seconds()
}

func TestAServiceIsLookedAtOnceWhenItIsFirstSeenAndThenAfterChangesOnly(t *testing.T) {
	b := NewBook(rules(), nil)
	b.Saw("shop/web", "a", t0)
	if got := turn(b, 0); got != 0 {
		t.Errorf("first seen: due at %v, want at once", got)
	}
	b.Begin("shop/web")
	if got := turn(b, 0); got != -1 {
		t.Errorf("at work: due at %v, want never", got)
	}
	b.Done("shop/web", fault.OK, "", at(1), 1)
	b.Saw("shop/web", "a", at(5))
	if got := turn(b, 5); got != -1 {
		t.Errorf("the same content again: due at %v, want never", got)
	}
	b.Saw("shop/web", "b", at(6))
	if got := turn(b, 6); got != 8 {
		t.Errorf("a change: due at %v, want after the quiet period, 8", got)
	}
}

func TestABurstIsOneChangeAndCannotPutItOffForEver(t *testing.T) {
	b := known()
	for n := range 20 {
		b.Saw("shop/web", fmt.Sprint(n), at(10+float64(n)*0.1))
	}
	if got := turn(b, 12); got != 11.9+2 {
		t.Errorf("20 writes in 2 s: due at %v, want 2 s after the last, 13.9", got)
	}
	for n := range 100 {
		b.Saw("shop/web", fmt.Sprint("x", n), at(12+float64(n)))
	}
	if got := turn(b, 12); got != 40 {
		t.Errorf("a write each second: due at %v, want 30 s after the first, 40", got)
	}
}

func TestAChangeDuringTheWorkIsLookedAtAfterIt(t *testing.T) {
	b := known()
	b.Saw("shop/web", "b", at(10))
	b.Begin("shop/web")
	b.Saw("shop/web", "c", at(11))
	if got := turn(b, 20); got != -1 {
		t.Errorf("at work: due at %v", got)
	}
	b.Done("shop/web", fault.OK, "", at(20), 1)
	if got := turn(b, 20); got != 20 {
		t.Errorf("due at %v, want at once: its quiet period is over", got)
	}
}

func TestPausesGrowAndEndAndAChangeShortensThem(t *testing.T) {
	for _, row := range []struct {
		kind fault.Kind
		want []float64 // pauses in seconds
	}{
		{fault.Conflict, []float64{1, 2, 4, 4, 4}},
		{fault.Unreachable, []float64{1, 2, 4, 4, 4}},
		{fault.Unhealthy, []float64{10, 20, 40, 60, 60}},
		{fault.Invalid, []float64{10, 20, 40, 60, 60}},
		{fault.Refused, []float64{10, 20, 40, 60, 60}},
	} {
		b := known()
		for n, want := range row.want {
			b.Begin("shop/web")
			if got := b.Done("shop/web", row.kind, "x", at(100), 1).Retry.Seconds(); got != want {
				t.Errorf("%s, time %d: pause %v s, want %v", row.kind, n+1, got, want)
			}
			if got := turn(b, 100); got != 100+want {
				t.Errorf("%s, time %d: due at %v, want %v", row.kind, n+1, got, 100+want)
			}
		}
		b.Begin("shop/web")
		if got := b.Done("shop/web", row.kind, "x", at(100), 0).Retry.Seconds(); got != row.want[4]/2 {
			t.Errorf("%s: with the least chance a pause of %v s, want half", row.kind, got)
		}
	}
	b := known()
	for range 5 {
		b.Begin("shop/web")
		b.Done("shop/web", fault.Unhealthy, "", at(100), 1)
	}
	b.Saw("shop/web", "b", at(101))
	if got := turn(b, 101); got != 110 {
		t.Errorf("changed after failures: due at %v, want after the first pause, 110: no hot loop", got)
	}
	b.Begin("shop/web")
	b.Done("shop/web", fault.Invalid, "", at(111), 1)
	b.Saw("shop/web", "c", at(112))
	if got := turn(b, 112); got != 114 {
		t.Errorf("repaired config: due at %v, want after the quiet period, 114", got)
	}
}

func TestAProblemIsToldOnceUntilItChangesOrIsSolved(t *testing.T) {
	b := known()
	for n, step := range []struct {
		content string
		kind    fault.Kind
		problem string
		tell    bool
	}{
		{"b", fault.Invalid, "KEY is missing", true},
		{"b", fault.Invalid, "KEY is missing", false},
		{"c", fault.Invalid, "KEY is missing", false}, // another key changed
		{"d", fault.Conflict, "held", false},
		{"d", fault.Invalid, "OTHER is missing", true},
		{"d", fault.OK, "", false},
		{"d", fault.Invalid, "OTHER is missing", true}, // it was well in between
		{"e", fault.Unhealthy, "gate web-1: no", true},
		{"e", fault.Unhealthy, "gate web-2: no", false}, // the same content failed again, in other words
		{"f", fault.Unhealthy, "gate web-3: no", true},
		{"f", fault.Refused, "gate web-3: no", true},
		{"f", fault.Unreachable, "away", false},
	} {
		b.Saw("shop/web", step.content, at(float64(n)))
		b.Begin("shop/web")
		if got := b.Done("shop/web", step.kind, step.problem, at(float64(n)), 0.5).Tell; got != step.tell {
			t.Errorf("step %d, %+v: told %v", n+1, step, got)
		}
	}
	later := NewBook(rules(), b.Told())
	later.Saw("shop/web", "f", t0)
	later.Begin("shop/web")
	if later.Done("shop/web", fault.Refused, "x", t0, 0.5).Tell {
		t.Error("told again by a later process, which was given what was told")
	}
}

func TestWhatLeftTheNodeIsForgotten(t *testing.T) {
	b := known()
	b.Saw("shop/api", "a", t0)
	b.Saw("blog/web", "a", t0)
	b.Begin("blog/web")
	b.Keep([]string{"shop/web"})
	if names, _ := b.Due(at(1000)); len(names) != 0 || len(b.services) != 2 {
		t.Errorf("due %q, %d services", names, len(b.services))
	}
	if v := b.Done("blog/web", fault.Failed, "", t0, 0); v.Tell || len(b.services) != 1 {
		t.Errorf("the end of what went: %+v, %d services", v, len(b.services))
	}
	b.Saw("blog/web", "a", t0)
	b.Begin("blog/web")
	b.Keep(nil)
	b.Saw("blog/web", "a", at(1)) // came back while it was worked on
	b.Done("blog/web", fault.OK, "", at(2), 0)
	if names, _ := b.Due(at(10)); !slices.Equal(names, []string{"blog/web"}) {
		t.Errorf("due %q, want what came back", names)
	}
}

// Whatever happens, a change is looked at in the end, no service is worked on
// twice at a time, and one that keeps failing is tried no more often than its first pause allows.
func TestNoChangeIsLostAndNothingIsTriedTooOften(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := NewBook(rules(), nil), t0
		busy := map[string]bool{}
		failed := map[string]time.Time{}
		names := []string{"a/a", "b/b", "c/c"}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				b.Saw(name, rapid.StringMatching("[a-d]").Draw(t, "content"), now)
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			case 2:
				due, _ := b.Due(now)
				for _, d := range due {
					if busy[d] {
						t.Fatalf("%s is due while it is worked on", d)
					}
					if since := now.Sub(failed[d]); since < rules().Pause/2 {
						t.Fatalf("%s is due %s after it failed", d, since)
					}
					b.Begin(d)
					busy[d] = true
				}
			case 3:
				if busy[name] {
					delete(busy, name)
					kind := rapid.SampledFrom([]fault.Kind{fault.OK, fault.Conflict, fault.Failed}).Draw(t, "kind")
					delete(failed, name)
					if kind == fault.Failed {
						failed[name] = now
					}
					b.Done(name, kind, "x", now, rapid.Float64Range(0, 0.999).Draw(t, "chance"))
				}
			}
		}
		for name := range busy {
			b.Done(name, fault.OK, "", now, 0)
		}
		now = now.Add(rules().MaxPause)
		due, next := b.Due(now)
		for name, e := range b.services {
			if e.begun != e.content && !slices.Contains(due, name) {
				t.Fatalf("the change of %s is lost", name)
			}
		}
		if !next.IsZero() {
			t.Fatalf("something waits until %s, longer than every pause", next.Sub(now))
		}
	})
}

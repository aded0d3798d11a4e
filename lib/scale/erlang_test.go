package scale

import (
	"math"
	"testing"
)

func TestErlangCHasTheValuesOfTheTables(t *testing.T) {
	for _, row := range []struct {
		c    int
		a    float64
		want float64
	}{
		{1, 0.5, 0.5},        // M/M/1: the share that waits is the load
		{2, 1, 1.0 / 3},      // by hand: (1/2)/(1 − 1/2) · … = 1/3
		{3, 2, 4.0 / 9},      // by hand
		{10, 8, 0.40918},     // tables of Erlang C
		{55, 50, 0.38455},    // from the sum itself
		{5, 5, 1}, {4, 5, 1}, // never keeps up
		{3, 0, 0}, {3, -1, 0}, // nothing comes
	} {
		if got := ErlangC(row.c, row.a); math.Abs(got-row.want) > 2e-3 {
			t.Errorf("ErlangC(%d, %v) = %.5f, expected %.5f", row.c, row.a, got, row.want)
		}
	}
	if got := ErlangC(3, math.NaN()); got != 0 {
		t.Errorf("ErlangC of no number is %v", got)
	}
}

func TestStaffWaitIsTheSmallestSizeThatKeepsItsPromise(t *testing.T) {
	for _, a := range []float64{0.1, 0.7, 1, 4, 6, 40, 399.5} {
		for _, share := range []float64{0.2, 0.03, 0.001} {
			c := StaffWait(a, share, 0.1, 0.2, 1)
			wait := func(c int) float64 {
				return ErlangC(c, a) * math.Exp(-(float64(c)-a)*0.1/0.2)
			}
			if wait(c) > share || c > 1 && float64(c-1) > a && wait(c-1) <= share {
				t.Errorf("a %v share %v: %d workers, of whose requests %.4f wait; one fewer %.4f", a, share, c, wait(c), wait(c-1))
			}
		}
	}
	// The square-root rule of scaling: the share on top shrinks with the size.
	for _, row := range []struct {
		a        float64
		low, top int
	}{{4, 7, 9}, {40, 46, 53}, {400, 410, 440}} {
		if c := StaffWait(row.a, 0.05, 0, 0.2, 1); c < row.low || c > row.top {
			t.Errorf("%v Erlangs: %d workers, expected %d to %d", row.a, c, row.low, row.top)
		}
	}
	if StaffWait(0, 0.1, 0, 1, 1) != 0 || StaffWait(math.NaN(), 0.1, 0, 1, 1) != 0 || StaffWait(math.Inf(1), 0.1, 0, 1, 1) != MaxSize {
		t.Error("demand that is none, no number or without end")
	}
}

func TestWhatSurvivesALossIsStillEnough(t *testing.T) {
	for left := range 60 {
		for parts := range 12 {
			w := Survivable(left, parts)
			if parts < 2 {
				if w != left {
					t.Errorf("%d of %d parts: %d", left, parts, w)
				}
				continue
			}
			largest := (w + parts - 1) / parts
			if w-largest < left {
				t.Errorf("%d workers on %d nodes: %d are left, expected %d", w, parts, w-largest, left)
			}
			if w > 0 && w-1-(w-1+parts-1)/parts >= left {
				t.Errorf("%d on %d: %d would do", left, parts, w-1)
			}
		}
	}
	if Survivable(10, 2) != 20 || Survivable(70, 8) != 80 {
		t.Errorf("two nodes double, eight take a seventh more: %d %d", Survivable(10, 2), Survivable(70, 8))
	}
}

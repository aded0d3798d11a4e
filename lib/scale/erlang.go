package scale

import "math"

// ErlangC returns the share of requests that find no free worker when c workers
// serve a Erlangs from one queue: 1 where c ≤ a, since then the queue only
// grows, and 0 without demand. Recursion of Erlang B (see e.g. Cooper,
// Introduction to Queueing Theory, 1981): B₀ = 1, Bₖ = a·Bₖ₋₁ / (k + a·Bₖ₋₁);
// C = B_c / (1 − (a/c)(1 − B_c)).
func ErlangC(c int, a float64) float64 {
	switch {
	case !(a > 0):
		return 0
	case float64(c) <= a:
		return 1
	}
	b := 1.0
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	return waitShare(c, a, b)
}

func waitShare(c int, a, b float64) float64 { return b / (1 - a/float64(c)*(1-b)) }

// StaffWait returns the fewest workers with which at most share of the requests
// wait for longer than over seconds: the smallest c with
//
//	C(c, a) · exp(−(c − a) · over / (s · (1 + cv2) / 2)) ≤ share
//
// s is the mean service time in seconds and cv2 its squared coefficient of
// variation: the wait of other than exponential times is scaled by (1+cv2)/2
// (Kingman). It is at least 1 where a > 0.
func StaffWait(a, share, over, s, cv2 float64) int {
	if !(a > 0) {
		return 0
	}
	if a > MaxSize {
		return MaxSize
	}
	rate := 0.0
	if over > 0 && s > 0 {
		rate = over / (s * (1 + cv2) / 2)
	}
	b := 1.0
	for c := 1; c < MaxSize; c++ {
		b = a * b / (float64(c) + a*b)
		if float64(c) > a && waitShare(c, a, b)*math.Exp(-(float64(c)-a)*rate) <= share {
			return c
		}
	}
	return MaxSize
}

// StaffRatio returns the fewest workers of which at most a share of target is busy.
func StaffRatio(a, target float64) int {
	if !(a > 0) || !(target > 0) {
		return 0
	}
	return ceil(a / target)
}

// Degraded returns the fewest workers that carry a Erlangs at all, if not well:
// what must be left after a loss, or when there is not enough for everybody.
func Degraded(a float64) int {
	if !(a > 0) {
		return 0
	}
	return ceil(a*1.03) + 1
}

// Survivable returns the fewest workers, spread equally over parts (nodes or
// zones), of which left are still there when one part is gone. One part, or an
// unknown number of them, survives nothing: left itself.
func Survivable(left, parts int) int {
	if left <= 0 || parts < 2 {
		return left
	}
	// The largest of parts equal shares of w is ceil(w/parts).
	w := ceil(float64(left) * float64(parts) / float64(parts-1))
	for w-(w+parts-1)/parts < left {
		w++
	}
	return min(w, MaxSize)
}

// ceil is the next whole number, forgiving the last digits of a float, within 0 and MaxSize.
func ceil(f float64) int {
	c := math.Ceil(f - 1e-9)
	switch {
	case !(c > 0):
		return 0
	case c > MaxSize:
		return MaxSize
	}
	return int(c)
}

package answer

import "math/bits"

// Order appends to out[:0] the indexes of up to limit records (0: all) by
// weighted choice without replacement: the first is record i with probability
// weight(i)/total, the next the same among what is left. Records of weight 0
// come when nothing else is left. random returns 64 even bits.
func (k *Packed) order(limit int, random func() uint64, out []int32) []int32 {
	n := len(k.records)
	if limit <= 0 || limit > n {
		limit = n
	}
	out = out[:0]
	for i := range n {
		out = append(out, int32(i))
	}
	if n < 2 {
		return out
	}
	total := k.total
	for at := range limit {
		pick := at
		if k.even || total == 0 {
			pick = at + int(below(random(), uint64(n-at)))
		} else {
			left := below(random(), total)
			for w := uint64(k.weights[out[pick]]); left >= w; w = uint64(k.weights[out[pick]]) {
				left -= w
				pick++
			}
			total -= uint64(k.weights[out[pick]])
		}
		out[at], out[pick] = out[pick], out[at]
	}
	return out[:limit]
}

// below maps 64 even bits to [0, n), off by at most n/2^64.
func below(random, n uint64) uint64 {
	high, _ := bits.Mul64(random, n)
	return high
}

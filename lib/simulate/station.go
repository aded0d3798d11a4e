package simulate

import (
	"math"
	"math/bits"
)

// station is one queue with its workers.
type station struct {
	cap   int // workers that may begin a request
	busy  int
	dice  *Dice
	begin bool // false: consumers are stuck

	ends []uint8  // requests that end in a millisecond, as a ring; bytes, so that it stays in the fastest cache
	some []uint64 // one bit for each of them: not zero

	queue      []waiting // ring
	head, tail int
	timeout    int64 // milliseconds; 0: they wait for ever

	far []farEnd // ends further away than the ring reaches
}

type waiting struct {
	at   int64 // millisecond of arrival
	time uint32
}

type farEnd struct{ at int64 }

// tally is what one second did.
type tally struct {
	arrived, done, started int
	busy                   int64 // worker-milliseconds
	over, late             int   // started or gone after more than 250 ms and 500 ms
	gone                   int   // timed out
	killed                 int   // cut off in the middle
}

const ringSize = 1 << 14 // 16 s; few requests last longer

func newStation(dice *Dice, timeout int64) *station {
	return &station{dice: dice, ends: make([]uint8, ringSize), some: make([]uint64, ringSize/64), queue: make([]waiting, 1<<10), timeout: timeout, begin: true}
}

func (st *station) waiting() int { return st.tail - st.head }

func (st *station) push(at int64, time uint32) {
	if st.tail-st.head == len(st.queue) {
		bigger := make([]waiting, 2*len(st.queue))
		for i := st.head; i < st.tail; i++ {
			bigger[i-st.head] = st.queue[i&(len(st.queue)-1)]
		}
		st.tail -= st.head
		st.head = 0
		st.queue = bigger
	}
	st.queue[st.tail&(len(st.queue)-1)] = waiting{at, time}
	st.tail++
}

// start gives a request to a worker.
func (st *station) start(now int64, time uint32) {
	st.busy++
	if int64(time) < ringSize-2000 {
		st.end(now + int64(time))
		return
	}
	st.far = append(st.far, farEnd{now + int64(time)})
}

// end notes that a request ends at a millisecond that the ring reaches. Where a
// byte is full it ends a little later.
func (st *station) end(at int64) {
	k := at & (ringSize - 1)
	for st.ends[k] == math.MaxUint8 {
		k = (k + 1) & (ringSize - 1)
	}
	st.ends[k]++
	st.some[k>>6] |= 1 << (k & 63)
}

// next is the first millisecond from ms on, and before end, in which a request ends; else end.
func (st *station) next(ms, end int64) int64 {
	for ms < end {
		k := ms & (ringSize - 1)
		if word := st.some[k>>6] >> (k & 63); word != 0 {
			return min(ms+int64(bits.TrailingZeros64(word)), end)
		}
		ms += 64 - k&63
	}
	return end
}

// block is how many milliseconds are played at once where nobody can come to wait.
const block = 16

// second plays one second. at and time are its arrivals.
func (st *station) second(now int64, at []uint16, time []uint32, out *tally) {
	if len(st.far) > 0 {
		st.nearer(now)
	}
	if st.timeout > 0 {
		st.expire(now, out)
	}
	next, end := 0, now+1000
	for ms := now; ms < end; {
		to := min((ms|(block-1))+1, end)
		n := next
		for n < len(at) && int64(at[n]) < to-now {
			n++
		}
		// With room for all that arrive, their order does not matter.
		if st.begin && st.head == st.tail && st.busy+n-next <= st.cap {
			out.busy += st.easy(now, ms, to, at[next:n], time[next:n], out)
		} else {
			out.busy += st.exact(now, ms, to, at[next:n], time[next:n], out)
		}
		next, ms = n, to
	}
	out.arrived += len(at)
}

// easy plays the milliseconds from ms to to, in which every arrival is served at
// once. It returns the worker-milliseconds.
func (st *station) easy(now, ms, to int64, at []uint16, time []uint32, out *tally) int64 {
	busy := int64(st.busy) * (to - ms)
	for i, a := range at {
		begin := now + int64(a)
		busy += to - begin
		st.start(begin, time[i])
	}
	out.started += len(at)
	k := ms & (ringSize - 1)
	word := st.some[k>>6] >> (k & 63)
	if rest := to - ms; rest < 64 {
		word &= 1<<rest - 1
	}
	if word == 0 {
		return busy
	}
	st.some[k>>6] &^= word << (k & 63)
	for ; word != 0; word &= word - 1 {
		d := int64(bits.TrailingZeros64(word))
		n := st.ends[k+d]
		st.ends[k+d] = 0
		busy -= int64(n) * (to - ms - d)
		st.busy -= int(n)
		out.done += int(n)
	}
	return busy
}

// exact does the same from event to event: an arrival, or the end of a request.
func (st *station) exact(now, ms, to int64, at []uint16, time []uint32, out *tally) (busy int64) {
	next := 0
	for from := ms; ; from = ms + 1 {
		event := st.next(from, to)
		if next < len(at) {
			event = min(event, now+int64(at[next]))
		}
		busy += int64(st.busy) * (event - ms)
		if ms = event; ms == to {
			return busy
		}
		k := ms & (ringSize - 1)
		if n := st.ends[k]; n > 0 {
			st.ends[k] = 0
			st.some[k>>6] &^= 1 << (k & 63)
			st.finish(ms, int(n), out)
		}
		for next < len(at) && int64(at[next]) == ms-now {
			if st.begin && st.busy < st.cap && st.head == st.tail {
				st.start(ms, time[next])
				out.started++
			} else {
				st.push(ms, time[next])
			}
			next++
		}
	}
}

// finish ends n requests, and lets their workers take what waits.
func (st *station) finish(ms int64, n int, out *tally) {
	if !st.begin { // a stuck consumer ends when it gets free again
		for range n {
			st.far = append(st.far, farEnd{ms + 1000})
		}
		return
	}
	st.busy -= n
	out.done += n
	st.fill(ms, out)
}

// take starts what has waited.
func (st *station) take(ms int64, w waiting, out *tally) {
	waited := ms - w.at
	if st.timeout > 0 && waited > st.timeout {
		out.gone++
		out.over++
		out.late++
		return
	}
	st.start(ms, w.time)
	out.started++
	if waited > 250 {
		out.over++
		if waited > 500 {
			out.late++
		}
	}
}

// expire drops what has waited for too long, and starts what workers that became ready can take.
func (st *station) expire(now int64, out *tally) {
	for st.head < st.tail {
		w := st.queue[st.head&(len(st.queue)-1)]
		if now-w.at <= st.timeout {
			break
		}
		st.head++
		out.gone++
		out.over++
		out.late++
	}
}

// fill starts what waits, after workers became ready.
func (st *station) fill(now int64, out *tally) {
	for st.begin && st.head < st.tail && st.busy < st.cap {
		w := st.queue[st.head&(len(st.queue)-1)]
		st.head++
		st.take(now, w, out)
	}
}

// nearer moves ends that the ring now reaches into it.
func (st *station) nearer(now int64) {
	keep := st.far[:0]
	for _, f := range st.far {
		if f.at-now < ringSize-2000 {
			st.end(max(f.at, now))
		} else {
			keep = append(keep, f)
		}
	}
	st.far = keep
}

// lose cuts n busy workers off, each as likely as another.
func (st *station) lose(n int, out *tally) {
	n = min(n, st.busy)
	left := st.busy
	cut := func() bool {
		hit := n > 0 && st.dice.Below(left) < n
		left--
		if hit {
			n--
			st.busy--
			out.killed++
		}
		return hit
	}
	for i := range st.ends {
		for k := st.ends[i]; k > 0; k-- {
			if cut() {
				st.ends[i]--
			}
		}
	}
	keep := st.far[:0]
	for _, f := range st.far {
		if !cut() {
			keep = append(keep, f)
		}
	}
	st.far = keep
}

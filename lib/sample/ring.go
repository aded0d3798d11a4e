package sample

import "time"

// tick is what happened between two readings that count.
type tick struct {
	end          time.Duration // of the reading at its end
	dt           time.Duration // since the one before
	begun        float64
	done         float64
	seconds      float64 // of completed requests
	squares      float64
	timed        float64 // of done, those whose squares are known
	timedSeconds float64 // of those
	work         float64 // seconds that workers worked
	busy         float64 // × dt in seconds: busy at its end
	waiting      float64 // at its end
	cpu          float64 // core-seconds
}

// ring holds the ticks of the last minute, oldest first.
type ring struct {
	ticks []tick
	first float64 // that waited before the first of them
}

// kept is a little more than the longest window: a tick counts where its middle lies.
const kept = 62 * time.Second

func (r *ring) add(t tick) {
	r.ticks = append(r.ticks, t)
	drop := 0
	for drop < len(r.ticks) && r.ticks[drop].end < t.end-kept {
		drop++
	}
	if drop > 0 {
		r.first = r.ticks[drop-1].waiting
		r.ticks = append(r.ticks[:0], r.ticks[drop:]...)
	}
}

// over sums the ticks that lie, by their middle, in the window before now; dt is
// the time that they cover, and the last one is always among them unless it is
// older than maxGap: a reading that comes late covers more than its window.
func (r *ring) over(now, window time.Duration) (sum tick) {
	for i := len(r.ticks) - 1; i >= 0; i-- {
		t := r.ticks[i]
		latest := i == len(r.ticks)-1 && now-t.end <= maxGap
		if t.end-t.dt/2 < now-window && !latest {
			break
		}
		sum.dt += t.dt
		sum.begun += t.begun
		sum.done += t.done
		sum.seconds += t.seconds
		sum.squares += t.squares
		sum.timed += t.timed
		sum.timedSeconds += t.timedSeconds
		sum.work += t.work
		sum.busy += t.busy
		sum.cpu += t.cpu
	}
	return sum
}

// before is the number that waited at the beginning of the window that over sums.
func (r *ring) before(now, window time.Duration) float64 {
	for i := len(r.ticks) - 1; i >= 0; i-- {
		t := r.ticks[i]
		latest := i == len(r.ticks)-1 && now-t.end <= maxGap
		if t.end-t.dt/2 < now-window && !latest {
			return t.waiting
		}
	}
	return r.first
}

// maxGap is the longest time between two readings that is taken as one step.
const maxGap = 5 * time.Second

// mark is the last value of a counter.
type mark struct {
	mono  time.Duration
	value float64
	known bool
}

// step is how much a counter grew, and in what time. A counter that went down
// was begun anew: what it grew by is not known then, nor after a gap.
func (m *mark) step(now time.Duration, value float64) (by float64, dt time.Duration, ok bool) {
	value = finite(value)
	before := *m
	*m = mark{mono: now, value: value, known: true}
	dt = now - before.mono
	if !before.known || dt <= 0 || dt > maxGap || value < before.value {
		return 0, 0, false
	}
	return value - before.value, dt, true
}

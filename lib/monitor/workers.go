package monitor

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/proc"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

func sortServices(list []sample.Service) {
	slices.SortFunc(list, func(a, b sample.Service) int { return cmp.Compare(a.Name, b.Name) })
}

// mostWorkers bounds the children of one master.
const mostWorkers = 4096

// children lists the workers of a master: the processes that its first thread
// started (proc(5), task/TID/children). Each is looked up once.
func (s *seen) children() ([]worker, error) {
	id := strconv.Itoa(s.pid)
	text, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children")
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(text))
	if len(words) > mostWorkers {
		return nil, fmt.Errorf("more than %d", mostWorkers)
	}
	now := make(map[int]worker, len(words))
	out := make([]worker, 0, len(words))
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		w, known := s.workers[pid]
		if !known {
			state, err := proc.Of(pid)
			if err != nil || state.Dead {
				continue // it has just ended
			}
			inner, err := proc.Inner(pid)
			if err != nil {
				continue
			}
			w = worker{inner, state.Start}
		}
		now[pid] = w
		out = append(out, w)
	}
	s.workers = now
	return out, nil
}

// living are the workers that can be taken for alive without another look: by
// their pid in the container.
func living(children []worker) map[int]uint64 {
	out := make(map[int]uint64, len(children))
	for _, w := range children {
		out[w.inner] = w.start
	}
	return out
}

// traffic fills in what is known of the requests of an instance: by marks where
// there are some, else by the stats of uwsgi.
func traffic(out *sample.Instance, t Target, s *seen, marks look, a answer, port listening) {
	out.Waiting = float64(port.waiting)
	switch {
	case marks.there:
		now := Clock().Seconds()
		slots := 1
		for _, f := range marks.marks {
			slots = max(slots, int(f.Slots))
			out.Workers = append(out.Workers, sample.Work{
				Key: fmt.Sprintf("%d.%d", f.pid, f.Start), Slots: int(f.Slots), Active: int(f.Active), Begun: float64(f.Begun), Done: float64(f.Done),
				Seconds: f.Seconds, Elapsed: f.elapsed(now), Squares: f.Squares,
			})
		}
		out.Source = sample.Marks
		if slots > 1 && t.Service.Master == spec.Gunicorn {
			out.Waiting += float64(inThreads(marks, func() int {
				n, _ := unread(s.pid, t.Service.Port) // what it cannot tell of does not wait
				return n
			}))
		}
	case a.asked && a.err == nil:
		out.Source = sample.Stats
		if !port.open {
			out.Waiting = float64(a.Waiting)
		}
		for _, w := range a.Workers {
			out.Workers = append(out.Workers, sample.Work{
				Key: fmt.Sprintf("w%d.%d", w.ID, s.start), Slots: w.Slots, Active: w.Active,
				Begun: w.Requests + float64(w.Active), Done: w.Requests, Seconds: w.Seconds,
			})
		}
	case a.asked:
		out.Missing = true
	}
}

// inThreads are connections that a gunicorn with threads has accepted and that no
// thread works on: their bytes are unread. Where threads are idle nobody waits,
// what is unread is the rest of a request, and nobody looks.
func inThreads(marks look, unread func() int) int {
	active, slots := 0, 0
	for _, f := range marks.marks {
		active += int(f.Active)
		slots += int(f.Slots)
	}
	if active < slots {
		return 0
	}
	return unread()
}

// ticksPerSecond is USER_HZ: 100 on every machine that Go and Docker run on.
const ticksPerSecond = 100

// serving counts who serves and who will.
//
// An instance serves while somebody listens on its port, or while it runs if it
// has none. A worker serves when its uwsgi says that it accepts requests, else
// when it has a mark, else when it is older than the start-up time of its service.
func serving(out *sample.Instance, t Target, marks look, a answer, port listening, children []worker) {
	count := func(ready bool) {
		if ready {
			out.Ready++
		} else {
			out.Starting++
		}
	}
	if !t.Known || t.Service.Scale.Unit != "workers" || t.Service.Master == spec.NoMaster {
		count(t.Service.Port == 0 || port.open)
		return
	}
	if a.asked && a.err == nil {
		for _, w := range a.Workers {
			if w.PID > 0 {
				count(w.Ready)
			}
		}
		return
	}
	marked := make(map[int]bool, len(marks.marks))
	for _, f := range marks.marks {
		marked[f.pid] = true
	}
	for _, w := range children {
		count(marked[w.inner] || age(w.start) >= t.Service.Scale.StartUp)
	}
}

// age of a process that began at so many clock ticks after boot.
func age(start uint64) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano()) - time.Duration(start)*time.Second/ticksPerSecond
}

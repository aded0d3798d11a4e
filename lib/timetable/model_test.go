package timetable

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/cron"
	"svckit/lib/spec"
)

// Within how much time after a tick its run is claimed, or the tick settled, while one
// node and Consul are well: clocks that differ by up to 10 s, the spread of nodes,
// one turn of the loop, and calls. Each node that goes away meanwhile adds lock, look
// and what it needs to be seen.
const (
	boundCalm  = 20 * time.Second
	boundFault = 40 * time.Second
)

func service(t testing.TB, fields string, rules spec.CronRules) Service {
	t.Helper()
	s, err := cron.New(fields, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return Service{Name: "shop/nightly", Release: "r1", Fields: "UTC " + fields, Schedule: s, Rules: rules, Promoted: time.Now()}
}

func rules(busy string, exclusive bool) spec.CronRules {
	return spec.CronRules{Missed: "once", Within: time.Hour, Busy: busy, Timeout: 30 * time.Minute, Exclusive: exclusive}
}

// Three nodes whose processes and machines die, whose cables are pulled, whose clocks
// differ and jump, and whose writes get no answer: no tick is ever run twice, every
// tick has its turn in time, and nothing is left when it is calm again.
func TestATickIsNeverRunTwiceAndHasItsTurn(t *testing.T) {
	for _, row := range []struct {
		name      string
		busy      string
		exclusive bool
		lossy     bool
		jumps     bool
	}{
		{"skip", "skip", false, false, false},
		{"wait", "wait", false, false, false},
		{"kill", "kill", false, false, false},
		{"exclusive", "skip", true, false, false},
		{"answers are lost", "skip", false, true, false},
		{"clocks jump", "skip", false, false, true},
	} {
		for seed := range uint64(modelSeeds) {
			t.Run(fmt.Sprint(row.name, ", seed ", seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, service(t, "*/5 * * * *", rules(row.busy, row.exclusive)))
					w.lossy = row.lossy
					w.live(t.Context(), 90*time.Minute, row.jumps)
					w.judge(t, row.jumps || row.lossy, row.exclusive)
				})
			})
		}
	}
}

// live lets an hour and a half pass with faults, and then half an hour without, which ends between two ticks.
func (w *world) live(ctx context.Context, d time.Duration, jumps bool) {
	ctx, cancel := context.WithCancel(ctx)
	down := map[string]time.Time{} // node → when it comes back
	for i, name := range []string{"n1", "n2", "n3"} {
		w.nodes[name].skew = time.Duration(i-1) * 4 * time.Second
		w.up(ctx, w.nodes[name])
	}
	end := time.Now().Add(d)
	for calm := end.Add(28 * time.Minute); time.Now().Before(calm); time.Sleep(500 * time.Millisecond) {
		w.keep()
		for name, at := range down {
			if time.Now().After(at) || time.Now().After(end) {
				delete(down, name)
				w.back(ctx, w.nodes[name], jumps)
			}
		}
		if time.Now().After(end) || w.roll(240) != 0 {
			continue
		}
		n := w.nodes[fmt.Sprint("n", 1+w.roll(3))]
		if _, is := down[n.name]; is || len(down) > 1 { // one node is always well
			continue
		}
		down[n.name] = time.Now().Add(time.Duration(1+w.roll(90)) * time.Second)
		switch kind := w.roll(4); {
		case kind == 0 && jumps:
			w.mu.Lock()
			n.skew += []time.Duration{time.Hour, -time.Hour, 26 * time.Hour}[w.dice.IntN(3)]
			w.mu.Unlock()
		case kind <= 1:
			w.mu.Lock()
			n.cut = true
			w.faults = append(w.faults, time.Now())
			w.mu.Unlock()
		default:
			if w.service.Rules.Exclusive { // a daemon is started again soon
				down[n.name] = time.Now().Add(5 * time.Second)
			}
			w.kill(n, kind == 3)
		}
	}
	cancel()
	for _, n := range w.nodes {
		<-n.proc.done
	}
	synctest.Wait()
	time.Sleep(10 * time.Minute) // programs that nobody waits for end
}

func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dice.IntN(n)
}

func (w *world) back(ctx context.Context, n *fakeNode, jumps bool) {
	w.mu.Lock()
	dead := n.proc.dead
	n.cut = false
	if jumps {
		n.skew = 0
	}
	w.mu.Unlock()
	if dead {
		w.up(ctx, n)
	}
}

// judge says what is wrong with what happened.
func (w *world) judge(t *testing.T, doubtful, exclusive bool) {
	for tick, where := range w.starts {
		if len(where) > 1 {
			t.Errorf("the tick of %s was run at %v", time.Unix(tick, 0).UTC(), where)
		}
	}
	if exclusive && w.overlap {
		t.Errorf("two runs of an exclusive service went on at once")
	}
	if len(w.starts) < 5 {
		t.Errorf("only %d ticks were run", len(w.starts))
	}
	if w.state.Run != nil && w.state.Run.Stage == cron.Claimed {
		t.Errorf("a claimed run is left: %+v", w.state.Run)
	}
	for _, n := range w.nodes {
		for _, c := range n.containers {
			if r := w.state.Run; r == nil || r.ID != c.run { // one that goes on at the end is fine
				t.Errorf("a container is left at %s: %+v", n.name, c)
			}
		}
	}
	if doubtful {
		return
	}
	// Every tick has its turn in time: a run, or a run before that still goes on.
	from := w.service.Promoted.Add(time.Minute)
	for at := w.service.Schedule.Next(from); at.Before(from.Add(85 * time.Minute)); at = w.service.Schedule.Next(at) {
		bound := boundCalm
		for _, f := range w.faults {
			if f.After(at.Add(-time.Minute)) && f.Before(at.Add(bound)) {
				bound += boundFault
			}
		}
		settled, ok := w.settled[at.Unix()]
		if w.service.Rules.Busy == "skip" && (!ok || settled.After(at.Add(bound))) {
			t.Errorf("the tick of %s had its turn at %s, later than %s", at, settled, bound)
		}
	}
}

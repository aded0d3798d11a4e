package hand_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Four nodes with the real hand, and the real planner, while nodes are cut off, lose
// their power, and have their daemon killed, leaders change, and so does the size: at
// no moment do more run than are wanted, and when it is calm again exactly so many do.
func TestNeverMoreThanExactlySoMany(t *testing.T) {
	for seed := range uint64(modelSeeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, seed, 3)
				for _, m := range c.nodes {
					c.up(m)
				}
				ctx, cancel := context.WithCancel(t.Context())
				led := make(chan struct{})
				go func() { defer close(led); c.plan(ctx) }()
				c.live(time.Hour)
				cancel()
				<-led
				for _, m := range c.nodes {
					c.kill(m, false)
				}
			})
		})
	}
}

// live lets time pass with faults, and then ten minutes without.
func (c *cluster) live(d time.Duration) {
	began, back := time.Now(), map[string]time.Time{}
	short, longest := time.Time{}, time.Duration(0)
	for calm := began.Add(d + 10*time.Minute); time.Now().Before(calm); time.Sleep(100 * time.Millisecond) {
		c.expire()
		c.mu.Lock()
		sum := 0
		for _, m := range c.nodes {
			sum += m.runs
		}
		size := c.size
		c.mu.Unlock()
		if sum > max(size, 3) { // 3 is the most that is ever asked for: a size that falls takes its time
			c.t.Errorf("after %s %d run, where %d are wanted: %+v", time.Since(began), sum, size, c.nodes)
			return
		}
		quiet := time.Now().After(began.Add(d + 4*time.Minute))
		if quiet && sum != size {
			c.t.Errorf("four minutes after the last fault %d run, where %d are wanted", sum, size)
			return
		}
		switch {
		case sum == size:
			short = time.Time{}
		case short.IsZero():
			short = time.Now()
		default:
			longest = max(longest, time.Since(short))
		}
		c.harm(back, time.Now().After(began.Add(d)))
	}
	c.t.Logf("longest without all of them: %s", longest)
}

// harm does something bad now and then, and ends it after a while.
func (c *cluster) harm(back map[string]time.Time, over bool) {
	for name, at := range back {
		if m := c.nodes[name]; over || time.Now().After(at) {
			delete(back, name)
			c.mu.Lock()
			dead := m.proc.dead
			m.cut = false
			c.mu.Unlock()
			if dead {
				c.up(m)
			}
		}
	}
	if over {
		c.mu.Lock()
		c.drains = ""
		c.mu.Unlock()
	}
	if over || c.roll(600) != 0 {
		return
	}
	m := c.nodes[fmt.Sprint("n", 1+c.roll(4))]
	if _, is := back[m.name]; is || len(back) > 1 {
		return
	}
	for _, kind := range [][]string{{"cut"}, {"power"}, {"daemon"}, {"cut", "daemon"}, {"size"}, {"drain"}, {"drain"}}[c.roll(7)] {
		switch kind {
		case "cut":
			c.mu.Lock()
			m.cut = true
			c.away(m)
			c.mu.Unlock()
			back[m.name] = time.Now().Add(time.Duration(1+c.roll(150)) * time.Second)
		case "power":
			c.kill(m, true)
			back[m.name] = time.Now().Add(time.Duration(20+c.roll(150)) * time.Second)
		case "daemon": // its service manager starts it again soon, also on a machine that is cut off
			c.kill(m, false)
			if _, cut := back[m.name]; cut {
				time.Sleep(2 * time.Second)
				c.up(m)
			} else {
				back[m.name] = time.Now().Add(time.Duration(1+c.roll(8)) * time.Second)
			}
		case "drain":
			c.mu.Lock()
			c.drains = []string{m.name, ""}[c.dice.IntN(2)]
			c.mu.Unlock()
		case "size":
			c.mu.Lock()
			c.size = 2 + c.dice.IntN(2)
			c.mu.Unlock()
		}
	}
}

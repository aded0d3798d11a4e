//go:build real

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fleet"
)

const singleApp = `    kind: daemon
    command: [sleep, infinity]
    check: {min_healthy: 1s, deadline: 1m}
    stop: {timeout: 60s, drain: 0s}
    scale: {exactly: true, min: 2, strategy: noop, unit: instances}
`

// census counts the containers of a service on every engine, again and again, also
// on hosts that are cut off.
type census struct {
	mu   sync.Mutex
	most int
	when string
	now  map[string]int
}

func (f *wholeFleet) count(t *testing.T, app string) *census {
	ctx, cancel := context.WithCancel(t.Context())
	c := &census{now: map[string]int{}}
	engines := map[string]string{} // of which the test may take one its power meanwhile
	for _, h := range f.Hosts {
		engines[h.Name()] = h.Docker()
	}
	var all sync.WaitGroup
	all.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
			now := running(engines, app)
			sum := total(now)
			if sum > c.most { // engines are asked one after another: what moves meanwhile is seen twice
				sum = total(both(now, running(engines, app)))
			}
			c.mu.Lock()
			if by := counted(now); !maps.Equal(by, c.now) {
				t.Logf("%s %s runs at %v", time.Now().UTC().Format(time.TimeOnly), app, by)
				c.now = by
			}
			if sum > c.most {
				c.most, c.when = sum, fmt.Sprint(time.Now().UTC().Format(time.TimeOnly), " ", c.now)
			}
			c.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	return c
}

// running are the ids of the running containers of an app, by engine. One without power runs nothing.
func running(engines map[string]string, app string) map[string][]string {
	now := map[string][]string{}
	for name, engine := range engines {
		if ids, ok := containers(engine, "{{.ID}}", "status=running", "label="+fleet.LabelApp+"="+app); ok {
			now[name] = ids
		}
	}
	return now
}

// both are those of two rounds, which all ran at the moment between them.
func both(one, two map[string][]string) map[string][]string {
	out := map[string][]string{}
	for name, ids := range one {
		out[name] = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(two[name], id) })
	}
	return out
}

func counted(ids map[string][]string) map[string]int {
	out := map[string]int{}
	for name, list := range ids {
		out[name] = len(list)
	}
	return out
}

func total(ids map[string][]string) (n int) {
	for _, list := range ids {
		n += len(list)
	}
	return n
}

// sum is how many run, and one of the hosts that runs some.
func (c *census) sum() (n int, at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, k := range c.now {
		if n += k; k > 0 && (at == "" || name < at) {
			at = name
		}
	}
	return n, at
}

func (c *census) at(h *lab.Host) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now[h.Name()]
}

// A daemon of which exactly two run, on a fleet of three: a host is cut off and comes
// back, a daemon is killed, a host loses its power and comes back. Over all engines
// there are never three of it, and each time there are two again.
func TestADaemonRunsExactlyTwiceThroughCutsAndLosses(t *testing.T) {
	t.Parallel()
	f := newWholeFleet(t, 3, 3)
	f.on(f.Servers[0], "run", "--listen", "")
	f.release(t, "beat", "single", singleApp)
	c := f.count(t, "beat")
	two := func() bool { n, _ := c.sum(); return n == 2 }
	oneOfTwo := func(what string) (name string) { // a host that runs one
		f.until(t, what, func() bool {
			n, at := c.sum()
			name = at
			return n == 2
		})
		return name
	}
	cut := f.host(oneOfTwo("two run"))
	cut.CutOff(t)
	f.until(t, "the host that is cut off has stopped its share", func() bool { return c.at(cut) == 0 })
	f.until(t, "two run elsewhere", two)
	cut.Rejoin(t)
	f.until(t, "the host that is back knows that it has no share", func() bool { return f.confirmed(cut, "beat/single", 0) })

	name := oneOfTwo("two run with the host that is back")
	_ = f.nodes[name].cmd.Process.Kill()
	<-f.nodes[name].done
	f.nodes[name] = f.on(f.host(name), "node")

	dark := f.host(name)
	f.until(t, "the daemon that was started again holds its lease", func() bool {
		leases, err := f.consul.Leases(t.Context())
		return err == nil && leases[name].Held && leases[name].Count > 1
	})
	f.until(t, "two run after a daemon was restarted", two)
	dark.Kill(t)
	f.until(t, "two run without the host that has no power", func() bool { return c.at(dark) == 0 && two() })
	dark.Start(t)
	f.nodes[name] = f.on(dark, "node")
	f.until(t, "the host with power again knows that it has no share", func() bool { return f.confirmed(dark, "beat/single", 0) })
	f.until(t, "two run", two)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 2 {
		t.Errorf("%d ran at once: %s", c.most, c.when)
	}
}

// confirmed reports whether a node says, of the newest wish for it, that it runs so
// many of a service, or of a wish that does not name it.
func (f *wholeFleet) confirmed(h *lab.Host, service string, n int) bool {
	want, err := f.consul.Want(f.t.Context(), h.Name())
	if err != nil {
		return false
	}
	haves, _, err := f.consul.Haves(f.t.Context())
	for _, have := range haves {
		if err != nil || have.Node != h.Name() || have.Epoch != want.Epoch || have.Gen != want.Gen {
			continue
		}
		for _, r := range have.Services {
			if r.Name == service {
				return r.Want == n && r.Most == n
			}
		}
		return n == 0
	}
	return false
}

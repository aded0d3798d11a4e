//go:build real

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

// webOf is a service of gunicorn workers with these scale settings beside the usual ones.
func webOf(scaling string) string {
	return `    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 6s}
    scale: {strategy: busy_ratio, wait: 5%, wait_over: 100ms, min: 2, min_nodes: 2, start_up: 3s, seasonal: false` + scaling + "}\n"
}

const cheapWeb = `    command: [uwsgi, --plugin, python3, --chdir, /srv/app, --module, "marked:application", --need-app, --master, --processes, "8", --cheaper, "1", --cheaper-initial, "1",
              --cheaper-algo, manual, --master-fifo, /tmp/fifo, --http-socket, "0.0.0.0:8000", --stats, /tmp/stats.sock, --die-on-term, --disable-logging, --listen, "100"]
    master: uwsgi
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 6s}
    scale: {strategy: busy_ratio, wait: 5%, wait_over: 100ms, min: 2, min_nodes: 2, start_up: 3s, seasonal: false}
`

// boxes drain for longer than a client of this test goes without looking who serves.
const boxes = `    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 6s}
    scale: {unit: instances, strategy: noop, min: 1, min_nodes: 2, spread: equal}
`

// One fleet, on which each of these goes on beside the others, with everything
// real: Consul, engines, gunicorn, uWSGI, Redis, agents and planners.
func TestAFleet(t *testing.T) {
	f := newWholeFleet(t, 3, 3)
	first := f.on(f.Servers[0], "run", "--listen", "")
	second := f.on(f.Servers[1], "run", "--listen", "")
	t.Run("rows", func(t *testing.T) {
		for _, row := range []struct { // the longest first
			name string
			do   func(*testing.T, *wholeFleet)
		}{
			{"a load that is cut at its source loses nothing", collapseTrap},
			{"consumers drain a burst", queueDrained},
			{"gunicorn follows its load", gunicornFollows},
			{"instances spread over nodes", instancesSpread},
			{"uwsgi follows its load", uwsgiFollows},
			{"an announcement raises before the load", announcedFirst},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				row.do(t, f)
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Run("a leader that is killed is followed, and nothing is lowered", func(t *testing.T) { leaderKilled(t, f, first, second) })
	t.Run("the share of a dead node goes elsewhere", func(t *testing.T) { nodeKilled(t, f) })
}

func (f *wholeFleet) atLeast(service string, n, nodes int) func() error {
	return func() error {
		if total, by := f.ready(service); total < n || len(by) < nodes {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	}
}

// lost fails a test whose requests failed.
func (l *traffic) lost(t *testing.T, when string) {
	t.Helper()
	sent, failed := l.sent.Load(), l.failed.Load()
	if t.Logf("%s: %d requests, %d failed", when, sent, failed); failed > 0 {
		t.Errorf("%s: %d of %d requests failed", when, failed, sent)
	}
}

func gunicornFollows(t *testing.T, f *wholeFleet) {
	f.release(t, "shop", "web", webOf(", down: {after: 30s, step: 50%}"))
	took := soon(t, 4*time.Minute, "the first placement", f.atLeast("shop/web", 2, 2))
	t.Logf("first placement: %.1f s", took.Seconds())
	l := f.load(t, "shop-web", 20)
	pause(t.Context(), 15*time.Second) // a load must be there before it can step
	l.rate.Store(60)                   // six busy workers
	took = soon(t, 6*time.Minute, "workers for the load", f.atLeast("shop/web", 7, 2))
	t.Logf("from the step to seven ready workers: %.1f s", took.Seconds())
	pause(t.Context(), 10*time.Second)
	high, by := f.ready("shop/web")
	l.rate.Store(40)
	took = soon(t, 8*time.Minute, "fewer workers", func() error {
		if n, by := f.ready("shop/web"); n >= high {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	t.Logf("from %v: the first one less after %.1f s", by, took.Seconds())
	l.lost(t, "while workers came and went")
}

func uwsgiFollows(t *testing.T, f *wholeFleet) {
	f.release(t, "cheap", "web", cheapWeb)
	soon(t, 4*time.Minute, "the first placement", f.atLeast("cheap/web", 2, 2))
	l := f.load(t, "cheap-web", 40) // four busy workers
	took := soon(t, 4*time.Minute, "workers for the load", f.atLeast("cheap/web", 5, 2))
	t.Logf("from the step to five ready workers: %.1f s", took.Seconds())
	l.lost(t, "while uwsgi got workers")
}

func instancesSpread(t *testing.T, f *wholeFleet) {
	f.release(t, "box", "web", boxes)
	soon(t, 4*time.Minute, "the first placement", f.atLeast("box/web", 1, 1))
	l := f.load(t, "box-web", 5)
	set := func(n int) {
		if _, err := f.consul.SetHand(t.Context(), "box/web", &scale.Hand{Size: &n, Who: "test", Why: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	set(4)
	soon(t, 6*time.Minute, "four instances on two nodes", f.atLeast("box/web", 4, 2))
	set(1)
	soon(t, 6*time.Minute, "one instance", func() error {
		if n, by := f.ready("box/web"); n != 1 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	l.lost(t, "while instances came and went")
}

func announcedFirst(t *testing.T, f *wholeFleet) {
	f.release(t, "push", "web", webOf(""))
	soon(t, 4*time.Minute, "the first placement", f.atLeast("push/web", 2, 2))
	l := f.load(t, "push-web", 5) // too little for more workers, and enough for the time of a request
	now := time.Now().Unix()
	err := f.consul.Announce(t.Context(), planner.Announcement{Service: "push/web", Announcement: scale.Announcement{ID: "sale", Who: "test", From: now, Until: now + 600, RPS: 90}})
	if err != nil {
		t.Fatal(err)
	}
	took := soon(t, 6*time.Minute, "workers before the load", f.atLeast("push/web", 7, 2))
	t.Logf("from the announcement to seven ready workers, without load: %.1f s", took.Seconds())
	l.lost(t, "while it was announced")
	if _, err := f.consul.Cancel(t.Context(), "push/web", "sale"); err != nil {
		t.Fatal(err)
	}
}

func collapseTrap(t *testing.T, f *wholeFleet) {
	f.release(t, "trap", "web", webOf(", down: {after: 10s, step: 100%}"))
	soon(t, 4*time.Minute, "the first placement", f.atLeast("trap/web", 2, 2))
	l := f.load(t, "trap-web", 40)
	const needed = 5 // for four that are busy; a node may have added more for a moment
	soon(t, 6*time.Minute, "workers for the load", f.atLeast("trap/web", needed, 2))
	pause(t.Context(), 75*time.Second) // a whole minute of load is what the guard compares with, as it keeps them
	before, _ := f.ready("trap/web")
	l.rate.Store(0)
	least := before
	took := soon(t, 6*time.Minute, "the guard says so", func() error {
		n, _ := f.ready("trap/web")
		least = min(least, n)
		status, err := f.consul.Status(t.Context(), "trap/web")
		if err == nil && !slices.ContainsFunc(status.Alarms, func(a scale.Alarm) bool { return a.Code == scale.AlarmCollapse }) {
			err = fmt.Errorf("it says %s", status.Words)
		}
		return err
	})
	t.Logf("the guard spoke %.1f s after the load was cut", took.Seconds())
	pause(t.Context(), 20*time.Second)
	if n, _ := f.ready("trap/web"); min(least, n) < needed {
		t.Errorf("from %d workers to %d while nothing came", before, min(least, n))
	}
	l.rate.Store(40)
	pause(t.Context(), 10*time.Second)
	l.lost(t, "with the load cut and back")
}

func leaderKilled(t *testing.T, f *wholeFleet, planners ...*program) {
	var leader fleet.Leader
	var leads *program
	soon(t, 2*time.Minute, "one of them leads", func() (err error) {
		leads = nil
		for _, p := range planners {
			if said := p.says(); strings.LastIndex(said, "leads: epoch") > strings.LastIndex(said, "leads no longer") {
				if leads != nil {
					return errors.New("one does not know yet that another one does")
				}
				leads = p
			}
		}
		if leader, err = f.consul.Planner(t.Context()); err == nil && leads == nil {
			err = fmt.Errorf("%+v leads, and has not said so", leader)
		}
		return err
	})
	leads.signal(t, syscall.SIGKILL)
	<-leads.done // what it still lowered before is its own
	before := map[string]int{}
	wants, _, err := f.consul.Wants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		for _, a := range w.Services {
			before[w.Node+" "+a.Name] = a.Count
		}
	}
	took := soon(t, 2*time.Minute, "another leader", func() error {
		now, err := f.consul.Planner(t.Context())
		if err == nil && now.ID == leader.ID {
			err = errors.New("the dead one still leads")
		}
		return err
	})
	t.Logf("taken over %.1f s after the leader was killed", took.Seconds())
	pause(t.Context(), 15*time.Second) // three cycles of a leader that knows little
	wants, _, err = f.consul.Wants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		for _, a := range w.Services {
			if n := before[w.Node+" "+a.Name]; a.Count < n {
				t.Errorf("%s on %s went from %d to %d with the leader", a.Name, w.Node, n, a.Count)
			}
		}
	}
}

func nodeKilled(t *testing.T, f *wholeFleet) {
	dead := f.Hosts[2]
	before, err := f.consul.Want(t.Context(), dead.Name())
	if err != nil || len(before.Services) == 0 {
		t.Fatalf("the node runs nothing: %+v %v", before, err)
	}
	names := map[string]int{}
	for _, a := range before.Services {
		if a.Count > 0 {
			names[a.Name], _ = f.ready(a.Name)
		}
	}
	dead.Kill(t)
	took := soon(t, 6*time.Minute, "the share of a dead node elsewhere", func() error {
		w, err := f.consul.Want(t.Context(), dead.Name())
		if err != nil {
			return err
		}
		for _, a := range w.Services {
			if a.Count > 0 {
				return fmt.Errorf("the dead node is still told %d of %s", a.Count, a.Name)
			}
		}
		haves, _, err := f.consul.Haves(t.Context())
		if err != nil {
			return err
		}
		for name, n := range names {
			status, err := f.consul.Status(t.Context(), name)
			if err != nil {
				return err
			}
			due := min(n, status.Size) // a size that has more than it needs goes on coming down meanwhile
			if now := readyOn(haves, name, dead.Name()); now < due {
				return fmt.Errorf("%s has %d ready on the others, its size is %d: %s", name, now, due, status.Words)
			}
		}
		return nil
	})
	t.Logf("from the death of a node to its share elsewhere: %.1f s", took.Seconds())
}

// readyOn is what serves of a service on all nodes but one.
func readyOn(haves []fleet.Have, service, but string) (n int) {
	for _, h := range haves {
		for _, r := range h.Services {
			if r.Name == service && h.Node != but {
				n += r.Ready
			}
		}
	}
	return n
}

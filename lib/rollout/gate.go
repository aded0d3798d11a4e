package rollout

import (
	"fmt"
	"time"

	"svckit/lib/fleet"
)

// Gate lets a container in once it was well for MinHealthy without a break.
// It is a value: Observe returns the next one, so that minutes are tested in
// microseconds.
//
//	        probe passes                 MinHealthy over
//	waiting ------------> passing ----------------------> Passed
//	   ^                     |
//	   +--- probe fails, ----+          exit before the first pass,
//	        restart                     too many restarts, deadline → Failed
type Gate struct {
	MinHealthy time.Duration
	Deadline   time.Time

	since    time.Time // start of the unbroken run of passing probes; zero when broken
	passed   bool      // a probe has passed at some time
	flaps    int       // times that a run of passing probes was broken
	restarts int       // of the container at the last look
	seen     bool      // restarts is known
}

// Look is one observation of a container.
type Look struct {
	At       time.Time
	Instance fleet.Instance
	Err      error // of the probe; nil when it passed or there is none
}

// Verdict is what a gate says after a look.
type Verdict int

// The verdicts.
const (
	Waiting Verdict = iota
	Passed
	Failed
)

// maxRestarts is how often a container may be restarted by the engine while it is watched.
const maxRestarts = 3

// Observe takes one look and returns the next gate, its verdict and the reason.
func (g Gate) Observe(l Look) (Gate, Verdict, string) {
	i := l.Instance
	restarted := g.seen && i.Restarts > g.restarts || !g.seen && i.Restarts > 0
	g.restarts, g.seen = i.Restarts, true
	down := i.State != fleet.Running
	switch {
	case (down && i.State != fleet.Created || restarted) && !g.passed:
		return g, Failed, ended(i)
	case restarted || down:
		g = g.broken()
		if i.Restarts > maxRestarts {
			return g, Failed, fmt.Sprintf("was restarted %d times, last exit code %d", i.Restarts, i.ExitCode)
		}
	case l.Err != nil:
		g = g.broken()
	case g.since.IsZero():
		g.since, g.passed = l.At, true
	}
	if !g.since.IsZero() && l.At.Sub(g.since) >= g.MinHealthy {
		return g, Passed, fmt.Sprintf("well for %s", l.At.Sub(g.since).Round(100*time.Millisecond))
	}
	if !l.At.Before(g.Deadline) {
		return g, Failed, g.late(l)
	}
	return g, Waiting, ""
}

func (g Gate) broken() Gate {
	if !g.since.IsZero() {
		g.flaps++
	}
	g.since = time.Time{}
	return g
}

func (g Gate) late(l Look) string {
	switch {
	case g.flaps > 0:
		return fmt.Sprintf("did not stay well for %s before the deadline: its check broke %d times", g.MinHealthy, g.flaps)
	case g.passed:
		return fmt.Sprintf("was not well for %s before the deadline", g.MinHealthy)
	case l.Instance.State == fleet.Created:
		return "did not start before the deadline"
	}
	return "its check did not pass once before the deadline"
}

func ended(i fleet.Instance) string {
	if i.OOMKilled {
		return "was killed for want of memory before its first passing check"
	}
	if i.State == fleet.Running { // its exit code is that of no run any more
		return "ended and was started again by the engine before its first passing check"
	}
	return fmt.Sprintf("ended with exit code %d before its first passing check", i.ExitCode)
}

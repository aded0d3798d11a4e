package rollout

import (
	"fmt"
	"time"

	"svckit/lib/fleet"
)

// Proof watches an instance after it was told to reload, until it is sure that
// it runs the new code and nothing else does. It is a value, as Gate is.
//
// It passes when, for MinHealthy without a break: the container and the master
// are the ones from before, every worker from before is gone, at least Expected
// workers that started since are there and the same all the time, the probe and
// the check in Consul pass, and the app shows the generation, where it shows one.
//
// A master that can be told its number must have exactly the one of before. One
// that follows its load must have had it once; from then on its workers may become
// fewer or more, but not end and be started again.
type Proof struct {
	Instance   fleet.Instance // before the signal
	Master     fleet.Master   // before the signal
	Expected   int            // workers that must be there, at least 1
	Generation string         // that the app must show; "": it shows none
	MinHealthy time.Duration
	Deadline   time.Time

	since   time.Time
	workers map[fleet.Worker]bool // of the last look, while all was well
	shrunk  bool                  // they became fewer since then
	reached bool                  // as many as expected were there at some look
	flaps   int
	last    string // what was missing at the last look
}

// ProofLook is one observation after the signal.
type ProofLook struct {
	Look
	Master     fleet.Master
	MasterErr  error        // the processes could not be listed
	Health     fleet.Health // of its registration; "" when it has none
	Generation string       // that the app shows; "" when it shows none
}

// After is what an instance is left in by a reload.
type After string

// The states that a failed reload can leave.
const (
	AfterReloaded After = "reloaded" // new workers serve, and only they
	AfterOld      After = "old"      // the old workers serve as before: the signal had no effect
	AfterMixed    After = "mixed"    // old and new workers serve side by side
	AfterDegraded After = "degraded" // it does not serve well
	AfterEnded    After = "ended"    // its master or container is another one, or gone
	AfterReverted After = "reverted" // new workers serve, with the code and config of before
)

// Observe takes one look and returns the next proof, its verdict and the reason.
func (p Proof) Observe(l ProofLook) (Proof, Verdict, string) {
	if why := p.changed(l); why != "" {
		p.last = why
		return p, Failed, why
	}
	p.reached = p.reached || p.enough(l)
	missing := p.missing(l)
	serving := l.Master.Serving()
	switch {
	case missing != "":
		p = p.broken()
		p.last = missing
	case !p.since.IsZero() && p.startedAgain(serving):
		p = p.broken()
		p.last = "a new worker ended and was started again"
		p.since, p.workers = l.At, serving
	case p.since.IsZero():
		p.since, p.workers = l.At, serving
	default:
		p.shrunk = p.shrunk || len(without(p.workers, serving)) > 0
		p.workers = serving
	}
	if !p.since.IsZero() && l.At.Sub(p.since) >= p.MinHealthy {
		return p, Passed, fmt.Sprintf("%d new workers, well for %s", len(serving), l.At.Sub(p.since).Round(100*time.Millisecond))
	}
	if !l.At.Before(p.Deadline) {
		return p, Failed, p.late()
	}
	return p, Waiting, p.last
}

func (p Proof) broken() Proof {
	if !p.since.IsZero() {
		p.flaps++
	}
	p.since, p.workers, p.shrunk = time.Time{}, nil, false
	return p
}

// enough reports whether as many new workers are there as are expected, and no old one.
func (p Proof) enough(l ProofLook) bool {
	return l.MasterErr == nil && len(p.stillThere(l.Master)) == 0 && len(l.Master.Workers) >= max(p.Expected, 1)
}

// least is how many new workers must be there now.
func (p Proof) least() int {
	if s := p.Master.Sizing; s.Self && p.reached {
		return max(min(s.Least, p.Expected), 1)
	}
	return max(p.Expected, 1)
}

// exact reports whether more workers than expected are told to end: those that
// the master's settings start, where somebody has chosen fewer.
func (p Proof) exact() bool { return p.Master.Sizing.Told && !p.Master.Sizing.Self }

// startedAgain reports whether a worker that was well has ended other than by its
// master's decision: one that follows its load lets some go or adds some, and a
// crash is both.
func (p Proof) startedAgain(now map[fleet.Worker]bool) bool {
	gone, come := len(without(p.workers, now)), len(without(now, p.workers))
	if p.Master.Sizing.Self {
		return come > 0 && (gone > 0 || p.shrunk)
	}
	return gone+come > 0
}

// late is why the deadline passed without a proof.
func (p Proof) late() string {
	if p.flaps > 0 {
		return fmt.Sprintf("did not stay well for %s before the deadline: it broke %d times, at last since %s", p.MinHealthy, p.flaps, p.last)
	}
	return p.last
}

// changed says what shows that this is not the instance from before; "" when it is.
func (p Proof) changed(l ProofLook) string {
	i := l.Instance
	switch {
	case i.State != fleet.Running:
		return fmt.Sprintf("its container is %s (exit code %d)", i.State, i.ExitCode)
	case i.ID != p.Instance.ID || !i.StartedAt.Equal(p.Instance.StartedAt) || i.Restarts != p.Instance.Restarts:
		return "its container was started again"
	case l.MasterErr == nil && (l.Master.PID != p.Master.PID || l.Master.Started != p.Master.Started):
		return "its master is another process"
	}
	return ""
}

// missing says what is not yet as it must be; "" when all is.
func (p Proof) missing(l ProofLook) string {
	if l.MasterErr != nil {
		return "its processes could not be listed: " + l.MasterErr.Error()
	}
	old := len(p.stillThere(l.Master))
	fresh := len(l.Master.Workers) - old
	switch {
	case old > 0:
		return fmt.Sprintf("%d of %d workers from before are still there", old, len(p.Master.Workers))
	case fresh < p.least():
		return fmt.Sprintf("%d of %d new workers are there", fresh, p.least())
	case p.exact() && fresh > max(p.Expected, 1):
		return fmt.Sprintf("%d workers are there, %d were before", fresh, max(p.Expected, 1))
	case l.Err != nil:
		return "its probe does not pass: " + l.Err.Error()
	case l.Health == fleet.Critical:
		return "its check in Consul is critical"
	case p.Generation != "" && l.Generation != "" && l.Generation != p.Generation:
		return fmt.Sprintf("it shows generation %s, not %s", l.Generation, p.Generation)
	}
	return ""
}

// Old counts the workers from before that a look still shows.
func (p Proof) Old(l ProofLook) int { return len(p.stillThere(l.Master)) }

func (p Proof) stillThere(m fleet.Master) []fleet.Worker {
	before := p.Master.Serving()
	var out []fleet.Worker
	for w := range m.Serving() {
		if before[w] {
			out = append(out, w)
		}
	}
	return out
}

// Resize says what is to be told to the master when every worker from before is
// gone: so many workers more, or less where that is negative; 0 when the number is
// right, or cannot be told.
func (p Proof) Resize(l ProofLook) int {
	if l.MasterErr != nil || len(p.stillThere(l.Master)) > 0 || len(l.Master.Workers) == 0 || !p.Master.Sizing.Told {
		return 0
	}
	switch now := len(l.Master.Workers); {
	case now < p.least():
		return p.least() - now
	case p.exact() && now > max(p.Expected, 1):
		return max(p.Expected, 1) - now
	}
	return 0
}

// Left names the state that a look shows, for a proof that failed.
func (p Proof) Left(l ProofLook) After {
	old := len(p.stillThere(l.Master))
	switch {
	case p.changed(l) != "":
		return AfterEnded
	case l.Err != nil || l.Health == fleet.Critical || len(l.Master.Workers) == 0:
		return AfterDegraded
	case old > 0 && old == len(l.Master.Workers):
		return AfterOld
	case old > 0:
		return AfterMixed
	}
	return AfterDegraded
}

// without returns the workers of a that are not in b.
func without(a, b map[fleet.Worker]bool) []fleet.Worker {
	var out []fleet.Worker
	for w := range a {
		if !b[w] {
			out = append(out, w)
		}
	}
	return out
}

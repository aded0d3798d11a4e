package rollout

import (
	"fmt"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Way is how new code or config gets into a running instance.
type Way string

// The ways, the gentlest first.
const (
	WaySignal  Way = "signal"  // HUP: gunicorn replaces its workers, each ends its request first
	WayChain   Way = "chain"   // uwsgi replaces one worker after the other
	WayAside   Way = "aside"   // out of DNS, HUP, proof, in again: nobody accepts in between
	WayReplace Way = "replace" // a new container through the gate
)

// Means says how an instance is to be reloaded, and why so. It depends on what
// its master is, not on what changed.
func Means(s spec.Service, m fleet.Master) (Way, string) {
	switch {
	case s.Master == spec.NoMaster:
		return WayReplace, "without a master, code and config are read at the start only"
	case m.PID == 0:
		return WayReplace, fmt.Sprintf("its %s master was not found", s.Master)
	case m.Deaf != "":
		return WayReplace, m.Deaf
	case s.Master == spec.Gunicorn && m.Preload:
		return WayReplace, "preload_app: the master holds the code, and its new workers would be forks of it"
	case s.Master == spec.Gunicorn && m.KeepAlive:
		return WayAside, "its workers keep idle connections, and close them when they are replaced"
	case s.Master == spec.Gunicorn:
		return WaySignal, "gunicorn replaces its workers on HUP"
	case m.Chain.Known() && m.Lazy && len(m.Workers) > 1:
		return WayChain, "uwsgi with lazy-apps replaces one worker after the other"
	}
	return WayAside, "uwsgi loads the code itself, and nobody accepts while it does: " + chainMissing(m)
}

// chainMissing says what a uwsgi would need to be reloaded without a gap.
func chainMissing(m fleet.Master) string {
	switch {
	case !m.Lazy:
		return "lazy-apps is not set"
	case !m.Chain.Known():
		return "it has neither master-fifo nor touch-chain-reload, or no pythonpath that names the place of its code"
	}
	return "it has one worker only"
}

// Expected is how many workers must be there after a reload in this way: those of
// before, unless the master begins with its first number and cannot be told more.
func Expected(m fleet.Master, way Way) int {
	if s := m.Sizing; s.Self && !s.Told && way != WayChain {
		return min(len(m.Workers), s.First)
	}
	return len(m.Workers)
}

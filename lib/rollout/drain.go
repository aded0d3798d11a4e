package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// drainMark begins the reason of a maintenance of an instance whose node is emptied; its end follows.
const drainMark = "svckit drain until "

// drainReason is the reason of such a maintenance. A reload does not end it, as it ends one of its own.
func drainReason(until time.Time, why string) string {
	return drainMark + until.UTC().Format(time.RFC3339) + ", " + why
}

// DrainUntil reads the end of a maintenance that Drain planned; false for any other.
func DrainUntil(r fleet.Registration) (time.Time, bool) { return until(r, drainMark) }

// HeldUntil reads the end of a maintenance that svckit made, whatever for.
func HeldUntil(r fleet.Registration) (time.Time, bool) {
	if t, ours := DrainUntil(r); ours {
		return t, true
	}
	return AsideUntil(r)
}

// Reason is the reason of the maintenance that an aside step makes, with its end: what the caller of a drain said, else
// until, when a reload must have been proven.
func (r *Reload) Reason(until time.Time, why string) string {
	if r != nil && !r.Hold.IsZero() {
		return drainReason(r.Hold, why)
	}
	return AsideReason(until, why)
}

// Drain plans how the instances of a service on a node leave Consul and DNS, one after the other and each only while
// enough others pass; they run on. w.Reload has the floor, how long others are waited for, and when it ends (Hold).
// It is refused when other nodes do not have so many instances, passing or not, so that waiting would not help.
func Drain(w Wanted, seen Seen, why string) (Plan, error) {
	p := &planner{w: w, seen: seen}
	var here []judged
	for _, i := range seen.Instances {
		if r := registrationOf(seen.Registrations, i); r != nil && r.Health != fleet.Maintenance && r.Port > 0 {
			here = append(here, judged{Instance: i, entry: r})
		}
	}
	slices.SortFunc(here, func(a, b judged) int { return strings.Compare(a.Name, b.Name) })
	floor := p.floor()
	if elsewhere := elsewhere(seen); len(here) > 0 && elsewhere < floor {
		e := fault.New(fault.Refused, "drain %s/%s: %s elsewhere, and %d must pass while this node is out", w.App, w.Service.Key, countOf(elsewhere, "instance"), floor)
		return Plan{}, fault.WithHint(e, "start more on other nodes, or accept fewer with --floor %d", elsewhere)
	}
	for _, j := range here {
		if floor > 0 {
			p.add(Step{Action: ActSpare, Target: j.Name, ID: j.ID, Reason: fmt.Sprintf("%s of the fleet must pass beside it", countOf(floor, "instance"))})
		}
		p.add(Step{Action: ActAside, Target: j.Name, ID: j.ID, Reason: why})
		p.add(Step{Action: ActDrain, Target: j.Name, ID: j.ID, Reason: "clients may still know its address"})
	}
	return Plan{Steps: p.steps}, nil
}

// elsewhere counts the instances of the fleet that are on other nodes and not in maintenance.
func elsewhere(seen Seen) (n int) {
	for _, r := range seen.Fleet {
		local := slices.ContainsFunc(seen.Registrations, func(mine fleet.Registration) bool { return mine.ID == r.ID })
		if !local && r.Health != fleet.Maintenance {
			n++
		}
	}
	return n
}

// Return plans how the instances that Drain took out are found again, each through the gate.
func Return(w Wanted, seen Seen) Plan {
	p := &planner{w: w, seen: seen}
	for _, i := range seen.Instances {
		r := registrationOf(seen.Registrations, i)
		if r == nil || i.State != fleet.Running {
			continue
		}
		if _, drained := DrainUntil(*r); !drained {
			continue
		}
		p.add(Step{Action: ActGate, Target: i.Name, ID: i.ID, Reason: "it was out of DNS"})
		p.add(Step{Action: ActReturn, Target: i.Name, ID: i.ID, Reason: "it is well"})
		p.add(Step{Action: ActAwait, Target: i.Name, ID: i.ID, Reason: "it must be found"})
	}
	return Plan{Steps: p.steps}
}

// drainOf is the reason of the maintenance of an instance that Drain took out, "" for any other.
func drainOf(r *fleet.Registration) string {
	if r == nil {
		return ""
	}
	if _, out := DrainUntil(*r); !out {
		return ""
	}
	return r.Reason
}

// hold is the reason for which an instance stays out of DNS, "" where it is to be
// found. One without a registration stays out when a drain has taken all others of
// the service on this node out.
func (p *planner) hold(entry *fleet.Registration) (reason string) {
	if entry != nil {
		return drainOf(entry)
	}
	for _, r := range p.seen.Registrations {
		if r.Meta[fleet.MetaApp] != p.w.App || r.Meta[fleet.MetaService] != p.w.Service.Key || r.Port == 0 {
			continue
		}
		if reason = drainOf(&r); reason == "" {
			return ""
		}
	}
	return reason
}

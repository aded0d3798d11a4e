package rollout

import (
	"fmt"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// loadable refuses a reload that would do harm, before anything is touched.
func (p *planner) loadable() error {
	if p.w.Reload == nil {
		return nil
	}
	var detail []string
	broken, shown := false, ""
	for _, j := range p.keeps {
		m := p.seen.Masters[j.Name]
		for _, why := range m.Unsafe {
			detail = append(detail, j.Name+": "+why)
		}
		if m.Tried && len(m.Broken) > 0 && len(j.news) > 0 {
			broken = true
			text := strings.Join(m.Broken, "\n")
			if text == shown {
				detail = append(detail, j.Name+": the new code does not load, for the same reason")
				continue
			}
			shown = text
			detail = append(detail, j.Name+": the new code does not load:")
			for _, line := range m.Broken {
				detail = append(detail, "  | "+line)
			}
		}
	}
	if len(detail) == 0 {
		return nil
	}
	e := fault.New(fault.Refused, "reload %s/%s: refused, nothing was touched", p.w.App, p.w.Service.Key)
	e.Detail = detail
	if broken {
		e.Hint = "mend the code and reload again; what serves has the old code in memory and goes on"
	}
	return e
}

// code switches the node's volume to other code, for all instances at once:
// nobody loads it before its master is told to, or is started again.
func (p *planner) code() {
	if r := p.w.Reload; r != nil && r.Code != "" && r.Code != r.From {
		p.add(Step{Action: ActSwitch, Target: r.Code, Reason: "new code; " + orNone(r.From) + " is kept as the way back"})
	}
}

// reload brings news into a container that lives on.
func (p *planner) reload(j judged) {
	aside := j.way == WayAside && j.entry != nil && !byHand(*j.entry)
	if aside && p.alone(j) && p.floor() == 0 {
		aside = false
		p.remarks = append(p.remarks, fmt.Sprintf("%s is the only instance that serves: it is reloaded in place, and its clients wait meanwhile", j.Name))
	}
	if aside {
		p.spare(j)
		p.add(Step{Action: ActAside, Target: j.Name, ID: j.ID, Reason: j.means})
		p.add(Step{Action: ActDrain, Target: j.Name, ID: j.ID, Reason: "clients may still know its address"})
	}
	if len(j.files) > 0 {
		p.add(Step{Action: ActDeliver, Target: j.Name, ID: j.ID, Reason: "new content of " + list(j.files), Fields: j.files})
	}
	if m := p.seen.Masters[j.Name]; Expected(m, j.way) < len(m.Workers) {
		p.remarks = append(p.remarks, fmt.Sprintf("%s has %d workers and begins with %d again: uwsgi can be told the rest where master-fifo is set", j.Name, len(m.Workers), m.Sizing.First))
	}
	p.add(Step{Action: ActPreflight, Target: j.Name, ID: j.ID, Reason: "what does not load must not reach the master"})
	p.add(Step{Action: ActReload, Target: j.Name, ID: j.ID, Reason: "has to load " + list(j.news) + "; " + j.means, Fields: j.news, Way: j.way})
	p.add(Step{Action: ActProve, Target: j.Name, ID: j.ID, Reason: fmt.Sprintf("only new workers, well for %s without a break", p.w.Service.Check.MinHealthy)})
	if aside {
		p.add(Step{Action: ActReturn, Target: j.Name, ID: j.ID, Reason: "it is well"})
		p.add(Step{Action: ActAwait, Target: j.Name, ID: j.ID, Reason: "it must be found before the next one is taken out"})
	}
}

// leftAside is 1 for an instance that a reload of ours took out.
func leftAside(j judged) int {
	if j.entry != nil {
		if _, ours := AsideUntil(*j.entry); ours {
			return 1
		}
	}
	return 0
}

// byHand reports whether somebody took an instance out who will let it in again.
func byHand(r fleet.Registration) bool {
	_, ours := AsideUntil(r)
	return r.Health == fleet.Maintenance && !ours
}

// returned ends a maintenance that a reload began and did not end: whoever holds
// the lock knows that it is over.
func (p *planner) returned(j judged) {
	if _, ours := AsideUntil(*j.entry); !ours {
		return
	}
	p.add(Step{Action: ActGate, Target: j.Name, ID: j.ID, Reason: "a reload of it was cut off"})
	p.add(Step{Action: ActReturn, Target: j.Name, ID: j.ID, Reason: "a reload of it was cut off"})
	p.add(Step{Action: ActAwait, Target: j.Name, ID: j.ID, Reason: "it must be found"})
}

// spare waits, before an instance is taken out, until the others are enough.
func (p *planner) spare(j judged) {
	if p.w.Reload == nil || p.floor() == 0 || j.entry == nil {
		return
	}
	p.add(Step{Action: ActSpare, Target: j.Name, ID: j.ID, Reason: fmt.Sprintf("%s of the fleet must pass beside it", countOf(p.floor(), "instance"))})
}

func (p *planner) floor() int { return Floor(p.w, p.seen.Fleet) }

// Floor is how many other instances must pass while one is taken out.
func Floor(w Wanted, all []fleet.Registration) int {
	if w.Reload == nil {
		return 0
	}
	if w.Reload.Floor >= 0 {
		return w.Reload.Floor
	}
	return max(len(all)/2, 1)
}

// alone reports whether no other instance of the fleet passes.
func (p *planner) alone(j judged) bool { return Spare(p.seen.Fleet, j.entry.ID) == 0 }

// Spare counts the instances of the fleet that pass beside this one.
func Spare(all []fleet.Registration, but string) int {
	n := 0
	for _, r := range all {
		if r.ID != but && r.Health == fleet.Passing {
			n++
		}
	}
	return n
}

// TakesOut reports whether a plan takes an instance that serves out of the fleet
// for a while, so that only one node may do so at a time.
func TakesOut(plan Plan) bool {
	return slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action == ActSpare || s.Action == ActAside })
}

// countOf renders e.g. "1 instance", "2 instances".
func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

package rollout

import "fmt"

// replacements starts what is missing, and retires one old container for each.
func (p *planner) replacements() {
	olds := p.olds
	for k := range p.missing() {
		switch {
		case len(olds) > 0 && p.first != "":
			p.insteadOf(olds[0], p.w.Names[k])
		case len(olds) > 0:
			p.fresh(p.w.Names[k], replaces(olds[0]), olds[0].fields, p.hold(olds[0].entry))
			p.retire(olds[0], isServed)
		case k < len(p.stops):
			p.fresh(p.w.Names[k], replaces(p.stops[k]), nil, p.hold(p.stops[k].entry))
		default:
			p.fresh(p.w.Names[k], "an instance is missing", nil, p.hold(nil))
		}
		olds = olds[min(1, len(olds)):]
	}
	p.olds = olds
}

func replaces(j judged) string { return fmt.Sprintf("replaces %s, which %s", j.Name, j.reason) }

// isServed is why an old container ends.
const isServed = "the new instance serves"

// insteadOf stops an old container before the new one starts, and keeps it until
// that one serves. Its registration, where a drain took it out of DNS already,
// stays as long: a run that is cut off in between must not forget the drain.
func (p *planner) insteadOf(old judged, name string) {
	drained := drainOf(old.entry) != ""
	p.spare(old)
	if !drained {
		p.withdraw(old, p.first)
	}
	p.add(Step{Action: ActStop, Target: old.Name, ID: old.ID, Reason: p.first})
	p.fresh(name, replaces(old), old.fields, p.hold(old.entry))
	if drained {
		p.add(Step{Action: ActWithdraw, Target: old.Name, ID: old.ID, Reason: isServed})
	}
	p.add(Step{Action: ActRemove, Target: old.Name, ID: old.ID, Reason: isServed})
}

// fresh adds the steps of one new container; fields are what differs in the one that it replaces.
func (p *planner) fresh(name, why string, fields []string, hold string) {
	p.add(Step{Action: ActCreate, Target: name, Reason: why, Fields: fields})
	p.add(Step{Action: ActStart, Target: name, Reason: "its port, cores, files and secrets are in place"})
	p.add(Step{Action: ActGate, Target: name, Reason: gateReason(p.w.Service.Check)})
	p.found(Step{Target: name, Reason: "it is well"}, foundFirst, hold)
}

// foundFirst is why a new instance is awaited.
const foundFirst = "it must be found before anything else ends"

// found registers an instance and waits until it is found; one that is held, until Consul has it in maintenance.
func (p *planner) found(register Step, why, hold string) {
	register.Action, register.Hold = ActRegister, hold
	if hold != "" {
		why = "it stays out of DNS: " + hold
	}
	p.add(register)
	p.add(Step{Action: ActAwait, Target: register.Target, ID: register.ID, Reason: why, Hold: hold})
}

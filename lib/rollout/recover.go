package rollout

import (
	"fmt"

	"svckit/lib/fleet"
)

// Recover plans what follows when the new container named failed did not come up
// well: it is removed, and where nothing else of the service runs on this node,
// the one that was stopped for it is started again.
func Recover(w Wanted, n Node, seen Seen, failed string) Plan {
	p := &planner{w: w, n: n, seen: seen}
	serving := 0
	var back *fleet.Instance
	for k, i := range seen.Instances {
		j := judged{Instance: i, entry: registrationOf(seen.Registrations, i)}
		switch {
		case i.Name == failed:
			p.discard(j)
		case i.State == fleet.Running && j.entry != nil:
			serving++
		case i.State == fleet.Exited && (back == nil || i.CreatedAt.After(back.CreatedAt)):
			back = &seen.Instances[k]
		}
	}
	if serving == 0 && back != nil {
		p.restore(*back, registrationOf(seen.Registrations, *back))
	}
	return Plan{Steps: p.steps}
}

func (p *planner) discard(j judged) {
	const why = "it did not become well"
	if j.entry != nil {
		p.withdraw(j, why)
	}
	p.add(Step{Action: ActRemove, Target: j.Name, ID: j.ID, Reason: why})
}

func (p *planner) restore(i fleet.Instance, entry *fleet.Registration) {
	why := fmt.Sprintf("nothing else of %s/%s runs here", p.w.App, p.w.Service.Key)
	p.add(Step{Action: ActStart, Target: i.Name, ID: i.ID, Reason: why})
	p.add(Step{Action: ActGate, Target: i.Name, ID: i.ID, Reason: why})
	p.found(Step{Target: i.Name, ID: i.ID, Reason: why}, why, p.hold(entry))
}

// Wake plans how the containers of a service that do not run are started as they
// are, when nobody can be asked what is wanted: those of w.Image, no other.
func Wake(w Wanted, seen Seen) Plan {
	p := &planner{w: w, seen: seen}
	for _, i := range seen.Instances {
		if i.State != fleet.Exited || i.Image != w.Image {
			continue
		}
		j := judged{Instance: i, reason: fmt.Sprintf("does not run (exit code %d)", i.ExitCode)}
		p.start(j)
	}
	return Plan{Steps: p.steps}
}

package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Action is what one step does.
type Action string

// The actions, in the order in which a replacement uses them.
const (
	ActPull       Action = "pull"       // bring the image to this node
	ActUnregister Action = "unregister" // take away a registration whose container is gone
	ActCreate     Action = "create"     // make the container with its port, cores, files and secrets
	ActStart      Action = "start"      // start the container
	ActGate       Action = "gate"       // watch it until it was well for min_healthy
	ActRegister   Action = "register"   // make it known to Consul
	ActAwait      Action = "await"      // wait until Consul and DNS show it passing
	ActWithdraw   Action = "withdraw"   // take it out of Consul
	ActDrain      Action = "drain"      // wait until DNS forgot it, and let what runs finish
	ActStop       Action = "stop"       // stop signal, then KILL after the timeout
	ActRemove     Action = "remove"     // remove the container and its files
	ActDeliver    Action = "deliver"    // render files again into a running container
	ActSwitch     Action = "switch"     // make other code of the node's volume the current one
	ActSpare      Action = "spare"      // wait until the rest of the fleet carries the load
	ActAside      Action = "aside"      // into Consul's maintenance, with an end
	ActPreflight  Action = "preflight"  // load the new code in a process beside the master
	ActReload     Action = "reload"     // tell the master
	ActProve      Action = "prove"      // watch until only new workers serve, and well
	ActReturn     Action = "return"     // out of maintenance
)

// Step is one thing to do, and why.
type Step struct {
	Action Action   `json:"action"`
	Target string   `json:"target"`           // container name; image for pull; registration ID for unregister
	ID     string   `json:"id,omitempty"`     // container id, where there is one already
	Reason string   `json:"reason"`           //
	Fields []string `json:"fields,omitempty"` // what differs
	Way    Way      `json:"way,omitempty"`    // of a reload
	Hold   string   `json:"hold,omitempty"`   // register, await: reason of the maintenance that it is in meanwhile
}

// String renders "action target: reason".
func (s Step) String() string { return fmt.Sprintf("%s %s: %s", s.Action, s.Target, s.Reason) }

// Touches reports whether a step changes anything that clients or a next run could see.
func Touches(s Step) bool {
	switch s.Action {
	case ActPull, ActGate, ActAwait, ActDrain, ActSpare, ActPreflight, ActProve:
		return false
	}
	return true
}

// Plan is every step that brings a node to what is wanted. No steps: nothing to do.
type Plan struct {
	Steps []Step   `json:"steps"`
	Notes []string `json:"notes,omitempty"` // what an operator should know about the way it is done
}

// Up plans how a node gets to what is wanted.
//
// New containers come first and old ones are retired one by one as each new one
// serves, unless the service says `overlap: false` or its port can be held by one
// container only; then the old one is stopped first and kept, as the way back,
// until the new one serves.
func Up(w Wanted, n Node, seen Seen) (Plan, error) {
	if err := admissible(w); err != nil {
		return Plan{}, err
	}
	p := &planner{w: w, n: n, seen: seen, first: StopFirst(w.Service)}
	p.sort()
	if err := p.loadable(); err != nil {
		return Plan{}, err
	}
	p.ghosts()
	p.leftovers()
	p.code()
	p.image()
	p.keepers()
	p.replacements()
	p.surplus()
	return Plan{Steps: p.steps, Notes: p.notes()}, nil
}

// Down plans how every instance of a service leaves a node.
func Down(w Wanted, n Node, seen Seen) Plan {
	p := &planner{w: w, n: n, seen: seen}
	p.w.Count = 0
	p.ghosts()
	for _, i := range seen.Instances {
		j := judged{Instance: i, entry: registrationOf(seen.Registrations, i)}
		p.retire(j, "down was asked for")
	}
	return Plan{Steps: p.steps}
}

// StopFirst says why the old instance must end before the new one starts; "" when it need not.
func StopFirst(s spec.Service) string {
	switch {
	case !s.Publish.Auto() && s.Network.Mode == spec.Bridge:
		return fmt.Sprintf("port %d of the node can be held by one container only", s.Publish.Port)
	case s.Network.Mode == spec.Host && s.Port > 0:
		return fmt.Sprintf("on the host network port %d can be held by one container only", s.Port)
	case !s.Overlap:
		return "overlap: false"
	}
	return ""
}

func admissible(w Wanted) error {
	if w.Count < 0 || w.Count > 1000 {
		return fault.New(fault.Usage, "instances %d: expected 0 to 1000", w.Count)
	}
	single := !w.Service.Publish.Auto() && w.Service.Network.Mode == spec.Bridge || w.Service.Network.Mode == spec.Host && w.Service.Port > 0
	if w.Count > 1 && single {
		return fault.New(fault.Invalid, "run %d instances of %s/%s: %s", w.Count, w.App, w.Service.Key, StopFirst(w.Service))
	}
	if len(w.Names) < w.Count {
		return fault.New(fault.Failed, "plan %s/%s: %d names for %d instances", w.App, w.Service.Key, len(w.Names), w.Count)
	}
	return nil
}

// planner gathers steps; each method adds those of one concern.
type planner struct {
	w     Wanted
	n     Node
	seen  Seen
	first string // why the old one stops first; "" when it does not
	steps []Step
	// remarks go into the plan's notes.
	remarks []string

	keeps, olds, stops, lefts []judged
}

func (p *planner) add(s Step) { p.steps = append(p.steps, s) }

// sort judges every container. Kept ones are ordered best first: registered, then passing, then oldest.
func (p *planner) sort() {
	for _, i := range p.seen.Instances {
		j := judge(p.w, p.seen, i)
		switch j.verdict {
		case keep:
			p.keeps = append(p.keeps, j)
		case replace:
			p.olds = append(p.olds, j)
		case stopped:
			p.stops = append(p.stops, j)
		case leftover:
			p.lefts = append(p.lefts, j)
		}
	}
	byAge := func(a, b judged) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(p.keeps, func(a, b judged) int {
		return cmp.Or(cmp.Compare(worth(b), worth(a)), byAge(a, b))
	})
	for _, list := range [][]judged{p.olds, p.stops, p.lefts} {
		slices.SortFunc(list, byAge)
	}
}

// worth orders kept containers by how sure it is that they serve.
func worth(j judged) int {
	switch {
	case j.asleep:
		return -1
	case j.entry != nil && j.entry.Health == fleet.Passing:
		return 2
	case j.entry != nil:
		return 1
	}
	return 0
}

// ghosts takes away our registrations on this node whose container is gone, of any app.
func (p *planner) ghosts() {
	alive := map[string]bool{}
	for _, list := range [][]fleet.Instance{p.seen.Instances, p.seen.Others} {
		for _, i := range list {
			alive[i.ID] = true
		}
	}
	for _, r := range p.seen.Registrations {
		// A container of another engine on this machine cannot be seen from here;
		// its registration is a ghost only once its check says so too.
		foreign := r.Meta[fleet.MetaEngine] != p.n.Engine
		if alive[r.Meta[fleet.MetaContainer]] || foreign && r.Health != fleet.Critical {
			continue
		}
		p.add(Step{Action: ActUnregister, Target: r.ID, Reason: "its container is gone"})
	}
}

// leftovers removes what a cut-off run created and never started.
func (p *planner) leftovers() {
	for _, j := range p.lefts {
		p.add(Step{Action: ActRemove, Target: j.Name, ID: j.ID, Reason: j.reason + ": a run was cut off"})
	}
}

func (p *planner) image() {
	if p.missing() > 0 && !p.seen.ImageHere {
		p.add(Step{Action: ActPull, Target: p.w.Image, Reason: "this node does not have it"})
	}
}

// missing is how many new containers are needed.
func (p *planner) missing() int { return max(p.w.Count-len(p.keeps), 0) }

// keepers brings kept containers up to date: files, registration, health.
func (p *planner) keepers() {
	keeps := slices.Clone(p.keeps[:min(len(p.keeps), p.w.Count)])
	// What a cut-off reload left out of DNS comes first: until then the others are too few.
	slices.SortStableFunc(keeps, func(a, b judged) int { return cmp.Compare(leftAside(b), leftAside(a)) })
	for _, j := range keeps {
		if j.asleep {
			p.wake(j)
			continue
		}
		if len(j.news) > 0 {
			p.reload(j)
		} else if j.entry != nil {
			p.returned(j)
		}
		p.registration(j)
	}
}

// wake starts a container that does not run. Its registration is written again
// too: it may have got another address.
func (p *planner) wake(j judged) {
	p.start(j)
	p.found(Step{Target: j.Name, ID: j.ID, Reason: "it is well"}, "it must be found", p.hold(j.entry))
}

// start starts a container that is there, with its files made again, and gates it.
func (p *planner) start(j judged) {
	if j.Dir != "" {
		p.add(Step{Action: ActDeliver, Target: j.Name, ID: j.ID, Reason: "its files and secrets lie in memory, and a reboot empties that"})
	}
	p.add(Step{Action: ActStart, Target: j.Name, ID: j.ID, Reason: "it " + j.reason})
	p.add(Step{Action: ActGate, Target: j.Name, ID: j.ID, Reason: gateReason(p.w.Service.Check)})
}

// registration adds what is missing for a kept container to be found.
func (p *planner) registration(j judged) {
	if j.entry == nil {
		p.add(Step{Action: ActGate, Target: j.Name, ID: j.ID, Reason: "it runs and is not registered"})
		p.found(Step{Target: j.Name, ID: j.ID, Reason: "it runs and is not registered"}, foundFirst, p.hold(nil))
		return
	}
	want := Registration(p.w, j.Instance, p.n, 1)
	if fields := registrationDiff(*j.entry, want); len(fields) > 0 {
		p.found(Step{Target: j.Name, ID: j.ID, Reason: "its registration differs in " + list(fields), Fields: fields}, "its registration changed", p.hold(j.entry))
		return
	}
	if j.entry.Health == fleet.Critical {
		p.add(Step{Action: ActAwait, Target: j.Name, ID: j.ID, Reason: "nothing differs, but its check is critical"})
	}
}

func gateReason(c spec.Check) string {
	if c.Type == spec.NoCheck || c.Type == spec.CheckTTL {
		return fmt.Sprintf("must run %s without a restart", c.MinHealthy)
	}
	return fmt.Sprintf("its %s check must pass for %s without a break", c.Type, c.MinHealthy)
}

// surplus retires what is more than wanted, and removes what does not run.
func (p *planner) surplus() {
	for _, j := range p.olds {
		p.retire(j, j.reason)
	}
	for _, j := range p.keeps[min(len(p.keeps), p.w.Count):] {
		p.retire(j, fmt.Sprintf("%d wanted on this node", p.w.Count))
	}
	for _, j := range p.stops {
		if j.entry != nil {
			p.add(Step{Action: ActWithdraw, Target: j.Name, ID: j.ID, Reason: j.reason})
		}
		p.add(Step{Action: ActRemove, Target: j.Name, ID: j.ID, Reason: j.reason})
	}
}

// retire ends a container without losing a request.
func (p *planner) retire(j judged, why string) {
	if j.State != fleet.Created && j.State != fleet.Exited && j.State != fleet.Dead {
		p.withdraw(j, why)
		p.add(Step{Action: ActStop, Target: j.Name, ID: j.ID, Reason: why})
	} else if j.entry != nil {
		p.add(Step{Action: ActWithdraw, Target: j.Name, ID: j.ID, Reason: why})
	}
	p.add(Step{Action: ActRemove, Target: j.Name, ID: j.ID, Reason: why})
}

// withdraw takes a container out of Consul and waits for DNS. One that is not
// registered is drained all the same: a run may have been cut off in between.
func (p *planner) withdraw(j judged, why string) {
	if j.entry != nil {
		p.add(Step{Action: ActWithdraw, Target: j.Name, ID: j.ID, Reason: why})
	}
	p.add(Step{Action: ActDrain, Target: j.Name, ID: j.ID, Reason: "clients may still know its address"})
}

func (p *planner) notes() []string {
	notes := p.remarks
	for _, s := range p.steps {
		if s.Hold != "" {
			notes = append(notes, "the service is drained on this node, and what starts here stays out of DNS until `svc-run return`, or until that drain ends: "+s.Hold)
			break
		}
	}
	if p.first != "" && p.missing() > 0 && len(p.olds)+len(p.seen.Instances) > 0 {
		for _, s := range p.steps {
			if s.Action == ActStop && s.Reason == p.first {
				notes = append(notes, "the old instance stops before the new one starts ("+p.first+"): the service is away in between")
				break
			}
		}
	}
	return notes
}

// Digest shortens repo@sha256:… to the first 12 digits, for people.
func Digest(ref string) string {
	if _, d, ok := strings.Cut(ref, "sha256:"); ok && len(d) >= 12 {
		return d[:12]
	}
	return ref
}

func list(items []string) string { return strings.Join(items, ", ") }

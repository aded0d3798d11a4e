package wish

import (
	"fmt"

	"svckit/lib/fleet"
	"svckit/lib/scale"
)

// Action is what one step does.
type Action string

// The actions.
const (
	Deploy Action = "deploy" // bring the service to To containers, as svc-run up does
	Leave  Action = "leave"  // take the service off the node, as svc-run down does
	Wake   Action = "wake"   // start what stopped, with what the node remembers of its config
	Raise  Action = "raise"  // more workers in a container, until there are To
	Lower  Action = "lower"  // fewer workers, until there are To
	Weigh  Action = "weigh"  // make To the weight of a container's registration
	Spare  Action = "spare"  // stop a container at once: the node runs out of memory
)

// Step is one thing to do, and why.
type Step struct {
	Action Action `json:"action"`
	Target string `json:"target,omitempty"` // container; "": the service
	ID     string `json:"id,omitempty"`     // of the container
	From   int    `json:"from"`
	To     int    `json:"to"`
	Reason string `json:"reason"`
}

// String renders "action target: reason".
func (s Step) String() string {
	what := string(s.Action)
	if s.Target != "" {
		what += " " + s.Target
	}
	return fmt.Sprintf("%s %d → %d: %s", what, s.From, s.To, s.Reason)
}

// Lowers reports whether a step takes something away.
func (s Step) Lowers() bool {
	return s.Action == Leave || s.Action == Lower || s.Action == Deploy && s.To < s.From
}

// Ask is everything that decides about one service.
type Ask struct {
	fleet.Allotment
	Extra  int              // workers that the fast lane added to the count
	Mode   scale.FreezeMode // what is forbidden
	Frozen string           // by whom, in words
	Away   string           // why Consul cannot be asked; "": it answers
	Spare  int              // containers that it had to give up, because of Short
	Short  string           // what was said of the node's memory then
	Lease  string           // why what runs exactly so often may not run here; "": it may
}

// Plan is what is done next for one service: the steps that can be done now, the
// most urgent first. After each the node is looked at again. Held says why the
// service stays short of the wish, or above it, without a step; "": it does not.
type Plan struct {
	Steps []Step
	Held  string
}

// Next plans for one service. Nothing is lowered while Consul is away or a freeze
// forbids it; what crashed is brought back in every mode but observe; what raises
// comes first, and a container that serves gets its workers before another one is mended.
func Next(a Ask, s Service) Plan {
	p := &planning{ask: a}
	if why := unsure(a); why != "" {
		p.hold("%s", why) // what runs is stopped, or goes on, by who knows the lease
		return p.plan
	}
	if a.Mode == scale.Observe {
		p.observe(s)
		return p.plan
	}
	p.count(s)
	switch {
	case a.Spare > 0 && a.Count > 0:
		p.spare(s)
	case a.Count == 0:
		p.leave()
	case a.Unit == Workers:
		p.workers(s)
		p.containers(1)
		p.fewer(s)
	default:
		p.containers(a.Count)
	}
	p.weights(s)
	return p.plan
}

// unsure says why nothing is done about a service of which there are never more than
// so many: what is not sure is not started.
func unsure(a Ask) string {
	switch {
	case !a.Exact:
		return ""
	case a.Lease != "":
		return a.Lease
	case a.Away != "":
		return "Consul is away, and whether it may be started is not known without it: " + a.Away
	}
	return ""
}

// planning gathers the plan of one service.
type planning struct {
	ask     Ask
	plan    Plan
	present int // containers that run
	ended   int // containers that ran and do not now
	unknown int // containers that run and are not registered
	all     int
}

func (p *planning) add(s Step) { p.plan.Steps = append(p.plan.Steps, s) }

func (p *planning) hold(format string, args ...any) {
	if p.plan.Held == "" {
		p.plan.Held = fmt.Sprintf(format, args...)
	}
}

func (p *planning) count(s Service) {
	p.all = len(s.Containers)
	for _, c := range s.Containers {
		switch {
		case c.State == fleet.Running && c.Entry == "":
			p.present, p.unknown = p.present+1, p.unknown+1
		case c.runs():
			p.present++
		case c.State == fleet.Exited || c.State == fleet.Dead:
			p.ended++
		}
	}
}

// mayLower says why nothing may be taken away; "" when it may.
func (p *planning) mayLower() string {
	switch {
	case p.ask.Mode != scale.NotFrozen:
		return p.ask.Frozen
	case p.ask.Away != "":
		return "Consul is away, and nothing is lowered without it: " + p.ask.Away
	}
	return ""
}

// observe only says what differs.
func (p *planning) observe(s Service) {
	free := p.ask
	free.Mode = scale.NotFrozen
	if would := Next(free, s); len(would.Steps) > 0 {
		p.hold("%s; without it: %s", p.ask.Frozen, would.Steps[0])
	}
}

func (p *planning) leave() {
	if p.all == 0 {
		return
	}
	if why := p.mayLower(); why != "" {
		p.hold("%s", why)
		return
	}
	p.add(Step{Action: Leave, From: p.present, Reason: reason(p.ask, "none is wanted on this node")})
}

// spare does without containers that were given up. Freezes do not matter here,
// and neither does Consul: the kernel would stop one that it chooses by itself.
func (p *planning) spare(s Service) {
	n := p.ask.Count
	if p.ask.Unit == Workers {
		n = 1
	}
	n = max(n-p.ask.Spare, 0)
	p.hold("%s", p.ask.Short)
	if p.present <= n {
		if n > 0 {
			p.containers(n)
		}
		return
	}
	for k := len(s.Containers) - 1; k >= 0; k-- { // the newest
		if c := s.Containers[k]; c.runs() {
			p.add(Step{Action: Spare, Target: c.Name, ID: c.ID, From: p.present, To: p.present - 1, Reason: p.ask.Short})
			return
		}
	}
}

// containers brings their number to n.
func (p *planning) containers(n int) {
	to := n
	if why := p.mayLower(); n < p.present && why != "" {
		p.hold("%s", why)
		to = p.present
	}
	if p.ask.Mode == scale.NoChange && to > p.present+p.ended {
		p.hold("%s", p.ask.Frozen)
		to = p.present + p.ended
	}
	var why string
	switch {
	case to > p.present && p.ended > 0:
		why = fmt.Sprintf("%d of %d ended", p.ended, p.present+p.ended)
	case to != p.present:
		why = reason(p.ask, fmt.Sprintf("%d wanted on this node", n))
	case p.unknown > 0:
		why = fmt.Sprintf("%d run and are not registered", p.unknown)
	case p.all > p.present:
		why = fmt.Sprintf("%d that do not run are left over", p.all-p.present)
	default:
		return
	}
	switch {
	case p.ask.Away == "":
		p.add(Step{Action: Deploy, From: p.present, To: to, Reason: why})
	case to > p.present && p.ended > 0:
		p.add(Step{Action: Wake, From: p.present, To: min(to, p.present+p.ended), Reason: why + ", and Consul is away: " + p.ask.Away})
	case to > p.present:
		p.hold("Consul is away, and a new container needs it: %s", p.ask.Away)
	}
}

// workers raises the number of workers where there are too few.
func (p *planning) workers(s Service) {
	want, total := p.ask.Count+p.ask.Extra, total(s)
	if total >= want || p.present == 0 {
		return
	}
	if p.ask.Mode == scale.NoChange {
		p.hold("%s", p.ask.Frozen) // a worker that crashed is started again by its master
		return
	}
	for _, c := range s.Containers {
		if c.State != fleet.Running || c.Entry == "" && p.ask.Away == "" || c.Workers == 0 {
			continue
		}
		if c.Fixed != "" {
			p.hold("%s", c.Fixed)
			continue
		}
		to := c.Workers + want - total
		p.add(Step{Action: Raise, Target: c.Name, ID: c.ID, From: c.Workers, To: to, Reason: p.why(want)})
		return
	}
}

// fewer lowers the number of workers of the one container.
func (p *planning) fewer(s Service) {
	want, total := p.ask.Count+p.ask.Extra, total(s)
	if p.present != 1 || total <= want {
		return
	}
	if why := p.mayLower(); why != "" {
		p.hold("%s", why)
		return
	}
	for _, c := range s.Containers {
		if c.State != fleet.Running {
			continue
		}
		switch {
		case c.Fixed != "":
			p.hold("%s", c.Fixed)
		case c.Young > 0:
			p.hold("%d workers are starting: none is ended meanwhile", c.Young)
		default:
			p.add(Step{Action: Lower, Target: c.Name, ID: c.ID, From: c.Workers, To: want, Reason: p.why(want)})
		}
	}
}

func (p *planning) why(want int) string {
	if p.ask.Extra > 0 {
		return reason(p.ask, fmt.Sprintf("%d workers wanted, of which %d by the fast lane", want, p.ask.Extra))
	}
	return reason(p.ask, fmt.Sprintf("%d workers wanted", want))
}

// weights makes the weight of each registration the number of its ready workers.
func (p *planning) weights(s Service) {
	if p.ask.Away != "" {
		return
	}
	for _, c := range s.Containers {
		if want := max(c.ready(), 1); c.State == fleet.Running && c.Entry != "" && c.Workers > 0 && c.Weight != want {
			p.add(Step{Action: Weigh, Target: c.Name, ID: c.ID, From: c.Weight, To: want, Reason: fmt.Sprintf("%d workers are ready", c.ready())})
		}
	}
}

func total(s Service) int {
	n := 0
	for _, c := range s.Containers {
		if c.State == fleet.Running {
			n += c.Workers
		}
	}
	return n
}

// reason adds what the planner says of an allotment.
func reason(a Ask, what string) string {
	if a.Reason == "" {
		return what
	}
	return what + ", " + a.Reason
}

// Reach is what a node reached of one allotment. trouble is why it is not there.
func Reach(a Ask, s Service, trouble string) fleet.Reached {
	r := fleet.Reached{Name: a.Name, Unit: a.Unit, Want: a.Count + a.Extra, Error: trouble}
	for _, c := range s.Containers {
		if !c.runs() {
			continue
		}
		if a.Unit == Workers {
			r.Ready += c.ready()
			r.Starting += max(c.Workers-c.ready(), 0)
			continue
		}
		if c.State == fleet.Running && (c.Health == fleet.Passing || c.Health == fleet.Warning) {
			r.Ready++
		} else {
			r.Starting++
		}
	}
	return r
}

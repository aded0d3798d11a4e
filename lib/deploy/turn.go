package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
)

// Do is what a node has to do.
type Do string

// What a node can have to do.
const (
	Nothing  Do = "nothing"
	DoPull   Do = "pull"
	DoUp     Do = "up"     // to the release
	DoReturn Do = "return" // to what is stable
)

// Turn is what a node has to do now, and why.
func Turn(s State, node string) (Do, string) {
	n, known := s.Nodes[node]
	switch {
	case !known:
		return Nothing, "it is no node of this deploy"
	case !s.Active():
		return Nothing, s.Words()
	case !slices.Contains(s.open(), node):
		return Nothing, "it is not its turn: " + s.Words()
	case s.lasting(n):
		return Nothing, fmt.Sprintf("it is %s", n.Is)
	}
	switch s.Phase {
	case Pull:
		return DoPull, "every node has the images before the first one changes"
	case Back:
		return DoReturn, "the deploy goes back: " + s.Failure.Words()
	}
	return DoUp, s.Words()
}

// Start notes that a node begins with its turn. had is how many instances of each service run there now.
func Start(s State, node string, do Do, had map[string]int, now time.Time) State {
	s = s.clone()
	n := s.Nodes[node]
	if n.Had == nil {
		n.Had = had
	}
	n.Working, n.At = true, now
	n.Touched = n.Touched || do == DoUp
	s.Nodes[node] = n
	return s
}

// Note notes how the turn of a node ended; why is nil when it went well. A report
// that comes when the deploy is elsewhere is for nobody any more: false.
func Note(s State, node string, do Do, why *Failure, now time.Time) (State, bool) {
	n, known := s.Nodes[node]
	if expected, _ := Turn(s, node); !known || expected != do {
		return s, false
	}
	good, bad := Done, Broken
	switch do {
	case DoPull:
		good, bad = Pulled, Broken
	case DoReturn:
		good, bad = Returned, Stuck
	}
	s = s.clone()
	n.Working, n.At, n.Why = false, now, nil
	if n.Is = good; why != nil {
		n.Is, n.Why = bad, bounded(*why, node)
	}
	s.Nodes[node] = n
	return s, true
}

// maxOutput bounds what a failure keeps of the end of an output, in bytes: what went wrong stands there.
const maxOutput = 1500

func bounded(f Failure, node string) *Failure {
	f.Node = node
	if len(f.Output) > maxOutput {
		f.Output = "…" + strings.ToValidUTF8(f.Output[len(f.Output)-maxOutput:], "")
	}
	return &f
}

// Passing is on how many nodes of a service an instance passes: service → nodes.
type Passing map[string][]string

// Advance closes what is done and opens what is next. lacking are the nodes that
// have not said how their turn ended: with over, nobody works at them any more,
// and they have failed. hold says why the next batch may not begin yet, "" when it may.
func Advance(s State, p Passing, over bool, now time.Time) (next State, lacking []string, hold string) {
	next = s.clone()
	next.Beat = now
	for n := range len(s.Batches) + len(s.Returns) + len(s.Nodes) + 4 { // more than there can be to close
		if next.Phase == Ready || next.Phase == Ended {
			return next, nil, ""
		}
		open := next.open()
		if over {
			next.giveUp(open, now)
		}
		for _, name := range open {
			if !next.lasting(next.Nodes[name]) {
				lacking = append(lacking, name)
			}
		}
		switch {
		case len(lacking) > 0 && n > 0: // it has just been opened
			return next, nil, ""
		case len(lacking) > 0:
			return next, lacking, ""
		}
		if hold = next.step(p); hold != "" {
			return next, nil, hold
		}
		over = false
	}
	return next, nil, ""
}

// giveUp notes for every node that owes a report that it will not come.
func (s *State) giveUp(names []string, now time.Time) {
	for _, name := range names {
		n := s.Nodes[name]
		if s.lasting(n) {
			continue
		}
		said := "the node did not say that it began: is it reachable?"
		if n.Working {
			said = "the node began and did not say how it ended"
		}
		n.Is, n.Working, n.At, n.Why = Broken, false, now, &Failure{Node: name, Check: "report", Output: said}
		if s.Phase == Back {
			n.Is = Stuck
		}
		s.Nodes[name] = n
	}
}

// step goes one step on from a batch that is closed.
func (s *State) step(p Passing) (hold string) {
	failed := s.failures(s.open())
	switch {
	case s.Phase == Back && s.At+1 < len(s.Returns):
		return s.enter(Back, s.At+1, p)
	case s.Phase == Back:
		s.end(Failed)
	case len(failed) > 0:
		return s.turnBack(failed[0], p)
	case s.Phase == Pull:
		return s.enter(Forward, 0, p)
	case s.At+1 < len(s.Batches):
		return s.enter(Forward, s.At+1, p)
	default:
		s.Phase = Ready
	}
	return ""
}

// enter opens a batch, unless a service that stops before it starts would serve on too few nodes meanwhile.
func (s *State) enter(phase Phase, i int, p Passing) (hold string) {
	to := *s
	to.Phase, to.At = phase, i
	changing := slices.DeleteFunc(slices.Clone(to.open()), func(name string) bool { return to.lasting(to.Nodes[name]) })
	for _, service := range s.Tight {
		left, taken := 0, 0 // of those that pass now; one that does not is missed by nobody
		for _, name := range p[service] {
			if slices.Contains(changing, name) {
				taken++
			} else {
				left++
			}
		}
		if taken > 0 && left < s.Floor {
			return fmt.Sprintf("%s passes on %d nodes beside %s, and %d must", service, left, strings.Join(changing, ", "), s.Floor)
		}
	}
	*s = to
	return ""
}

// turnBack begins the way back.
func (s *State) turnBack(f Failure, p Passing) (hold string) {
	was := *s
	s.Failure = &f
	s.Returns = s.returns()
	if len(s.Returns) == 0 {
		s.end(Failed)
		return ""
	}
	if hold = s.enter(Back, 0, p); hold != "" {
		*s = was
	}
	return hold
}

func (s *State) end(result string) { s.Phase, s.At, s.Result = Ended, 0, result }

// failures are those of nodes, in order.
func (s State) failures(names []string) (out []Failure) {
	for _, name := range names {
		if n := s.Nodes[name]; n.Is == Broken && n.Why != nil {
			out = append(out, *n.Why)
		}
	}
	return out
}

// Abort turns a deploy back, for a reason.
func Abort(s State, why string, p Passing, now time.Time) (next State, hold string, err error) {
	next = s.clone()
	next.Beat = now
	switch s.Phase {
	case Ended:
		return s, "", fault.New(fault.Refused, "abort deploy of %s: it has ended: %s", s.App, s.Result)
	case Back:
		return s, "", nil
	}
	hold = next.turnBack(*bounded(Failure{Check: "abort", Output: why}, ""), p)
	return next, hold, nil
}

// Finish ends a deploy whose nodes are all done.
func Finish(s State, now time.Time) (State, error) {
	if s.Phase != Ready {
		return s, fault.WithHint(fault.New(fault.Refused, "finish deploy of %s: %s", s.App, s.Words()),
			"`svc-run deploy step` on each node and `svc-run deploy advance` in turn bring it there")
	}
	s.Beat = now
	s.end(Stable)
	return s, nil
}

// Stuck are the nodes that could not be brought back, sorted.
func (s State) Stuck() (out []string) {
	for name, n := range s.Nodes {
		if n.Is == Stuck || n.Touched && s.Result == Failed && n.Is != Returned {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Alive notes a sign of life of a node that works.
func Alive(s State, node string, now time.Time) State {
	s = s.clone()
	if n, ok := s.Nodes[node]; ok {
		n.At = now
		s.Nodes[node] = n
	}
	return s
}

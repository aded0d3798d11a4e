package deploy

import (
	"fmt"
	"strings"
	"time"

	"svckit/lib/fault"
)

// Patience is how long a deploy gives no sign of life until it counts as dead, as
// long as nobody says otherwise.
const Patience = 45 * time.Second

// Claim says how a run may come by a deploy that another one has begun.
type Claim struct {
	TakeOver bool // somebody knows that the other run is dead
	Watched  bool // it was watched for the patience, and gave no sign of life
}

// Begin joins what is wanted with what an earlier run has left in old (nil: nothing).
// took says in words what was taken over from it, "" when nothing was.
//
// An earlier run that may be alive is a fault.Conflict that names it. One that is
// dead is finished when the same release is wanted: what it has done stays done,
// and when it was on its way back, the way back is what is finished. When
// another release is wanted, only the nodes that it touched are kept in mind, so
// that a way back covers them too.
func Begin(old *State, want State, c Claim, now time.Time) (next State, took string, err error) {
	if old == nil || !old.Active() {
		return want, "", nil
	}
	same := old.Run == want.Run
	if !same && !c.TakeOver && !c.Watched {
		return State{}, "", held(*old, now)
	}
	if old.Phase == Back && old.Release == want.Release && old.Image == want.Image {
		next = old.clone()
		next.Run, next.Holder, next.Beat, next.Index = want.Run, want.Holder, now, old.Index
		next.idle()
		return next, fmt.Sprintf("the way back that %s began", old.Holder), nil
	}
	next = want.clone()
	next.Index = old.Index
	goesOn := old.Release == want.Release && old.Image == want.Image
	if goesOn {
		next.Began = old.Began
	}
	for name, was := range old.Nodes {
		n, wanted := next.Nodes[name]
		if !wanted && !was.Touched {
			continue
		}
		if !wanted {
			n = Node{Zone: was.Zone, Is: Waiting}
		}
		n.Touched, n.Had, n.At = was.Touched, was.Had, was.At
		if goesOn && (was.Is == Done || was.Is == Pulled) {
			n.Is = was.Is
		}
		next.Nodes[name] = n
	}
	if goesOn {
		return next, fmt.Sprintf("the deploy that %s began", old.Holder), nil
	}
	return next, fmt.Sprintf("the deploy of %s that %s began: nodes that it changed are brought to %s, or back", old.Release, old.Holder, want.Release), nil
}

// idle forgets who was at work: nobody is any more.
func (s *State) idle() {
	for name, n := range s.Nodes {
		n.Working = false
		s.Nodes[name] = n
	}
}

// held is the refusal that names who is at it.
func held(s State, now time.Time) error {
	e := fault.New(fault.Conflict, "deploy %s: %s deploys %s since %s (%s; last sign of life %s ago)", s.App, s.Holder, s.Release,
		s.Began.UTC().Format("15:04:05"), s.Words(), max(now.Sub(s.seen()), 0).Round(time.Second))
	return fault.WithHint(e, "`svc-run deploy status %s` shows it; when that run is dead for certain: --take-over", s.App)
}

// Words is where a deploy is, in words.
func (s State) Words() string {
	switch s.Phase {
	case Pull:
		return fmt.Sprintf("pulling on %d nodes", len(s.planned()))
	case Forward:
		return fmt.Sprintf("batch %d of %d: %s", s.At+1, len(s.Batches), strings.Join(s.open(), ", "))
	case Ready:
		return "every node is done, promotion is left"
	case Back:
		return fmt.Sprintf("going back, batch %d of %d: %s", s.At+1, len(s.Returns), strings.Join(s.open(), ", "))
	}
	return "ended: " + s.Result
}

// Belongs is nil when a run is the one that works at a deploy.
func (s State) Belongs(run string) error {
	switch {
	case s.Run != run && s.Active():
		return fault.New(fault.Conflict, "deploy %s: run %s is over: %s has taken it over", s.App, run, s.Holder)
	case s.Run != run:
		return fault.New(fault.Conflict, "deploy %s: run %s is over: another one has ended since", s.App, run)
	}
	return nil
}

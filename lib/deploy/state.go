// Package deploy decides how a release goes over a fleet, node after node, and
// how it comes back: which nodes are changed together, what a node does now, when
// the next ones may, and who may take over from a run that died. It keeps no
// state and asks nobody: one document goes in and the next one comes out.
package deploy

import (
	"slices"
	"time"

	"svckit/lib/fleet"
)

// Phase is how far a deploy is.
//
//	        every node has the images      every batch is done        promoted
//	pull ----------------------> forward --------------> ready ---------------> ended (stable)
//	  |                             |
//	  | a node could not            | a node failed, or abort
//	  v                             v         every batch that was touched is back
//	ended (failed)                back ------------------------------> ended (failed)
type Phase string

// The phases.
const (
	Pull    Phase = "pull"
	Forward Phase = "forward"
	Ready   Phase = "ready"
	Back    Phase = "back"
	Ended   Phase = "ended"
)

// The results of a deploy that has ended.
const (
	Stable = "stable"
	Failed = "failed"
)

// Standing is what is known of a node.
type Standing string

// The standings of a node.
const (
	Waiting  Standing = "waiting"  // nothing of this deploy was done there
	Pulled   Standing = "pulled"   // it has the images
	Done     Standing = "done"     // it runs the release, and the smoke test passed
	Broken   Standing = "failed"   // it did not get there
	Returned Standing = "returned" // it runs what is stable
	Stuck    Standing = "stuck"    // it could not be brought back
)

// State is one deploy of an app, as it is kept in Consul: one document, replaced by check-and-set.
type State struct {
	App      string          `json:"app"`
	Release  string          `json:"release"`
	Image    string          `json:"image"`              // repo@sha256:…
	Rollback bool            `json:"rollback,omitempty"` // to an earlier release
	Only     string          `json:"only,omitempty"`     // the one service that is deployed; "" all of the app
	Place    bool            `json:"place,omitempty"`    // nodes were named: a service is brought to those that have none of it, too
	Services []string        `json:"services"`           // keys, in the order in which a node changes them
	Tight    []string        `json:"tight,omitempty"`    // those of them whose old instance stops before the new one starts
	Stable   map[string]Aim  `json:"stable,omitempty"`   // by service, what a failed deploy goes back to
	Run      string          `json:"run"`                // id of the run that works at it
	Holder   string          `json:"holder"`             // who runs it and where, in words
	Began    time.Time       `json:"began"`
	Beat     time.Time       `json:"beat"` // the last sign of life
	Phase    Phase           `json:"phase"`
	Batches  [][]string      `json:"batches"`           // nodes that get the release together, in order
	Returns  [][]string      `json:"returns,omitempty"` // nodes that go back together, in order
	At       int             `json:"at"`                // index of the batch that is open
	Size     int             `json:"size"`              // nodes of a batch at most
	Floor    int             `json:"floor"`             // nodes that must serve a tight service beside those that are changed
	Nodes    map[string]Node `json:"nodes"`
	Failure  *Failure        `json:"failure,omitempty"` // the first one
	Result   string          `json:"result,omitempty"`  // stable | failed, once it has ended
	Index    uint64          `json:"-"`                 // for check-and-set
}

// Aim is a release and the image that is meant by it.
type Aim struct {
	Release string `json:"release"`
	Image   string `json:"image"`
}

// Node is one node of a deploy.
type Node struct {
	Zone    string         `json:"zone,omitempty"`
	Is      Standing       `json:"is"`
	Working bool           `json:"working,omitempty"` // somebody said that work began, and nobody how it ended
	Touched bool           `json:"touched,omitempty"` // a change began here: to be taken back when the deploy fails
	Had     map[string]int `json:"had,omitempty"`     // instances of each service before anything was changed: a step that was killed leaves more for a while
	At      time.Time      `json:"at,omitzero"`       // of the last news
	Why     *Failure       `json:"why,omitempty"`     // where it failed, or is stuck
}

// Failure is where a deploy failed.
type Failure struct {
	Node    string `json:"node,omitempty"`
	Service string `json:"service,omitempty"`
	Check   string `json:"check"`            // pull, gate, smoke, report, abort …
	Output  string `json:"output,omitempty"` // the last that was said, bounded
}

// Words is a failure in one line.
func (f Failure) Words() string {
	words := f.Check
	if f.Service != "" {
		words += " of " + f.Service
	}
	if f.Node != "" {
		words += " on " + f.Node
	}
	if f.Output != "" {
		words += ": " + f.Output
	}
	return words
}

// WentBack reports whether this was a rollback of the app, or of one service (only), and what it brought is what is current still.
func (s State) WentBack(only string, now fleet.Current) bool {
	if !s.Rollback || s.Result != Stable || s.Only != only {
		return false
	}
	return !slices.ContainsFunc(s.Services, func(key string) bool { return now.Services[key].Release != s.Release })
}

// Active reports whether somebody has still to work at it.
func (s State) Active() bool { return s.Phase != Ended }

// open are the nodes whose turn it is.
func (s State) open() []string {
	switch s.Phase {
	case Pull:
		return s.planned()
	case Forward:
		return at(s.Batches, s.At)
	case Back:
		return at(s.Returns, s.At)
	}
	return nil
}

func at(batches [][]string, i int) []string {
	if i < 0 || i >= len(batches) {
		return nil
	}
	return batches[i]
}

// planned are the nodes that get the release, in order.
func (s State) planned() []string { return slices.Concat(s.Batches...) }

// lasting reports whether a node has nothing to do any more in the present phase.
func (s State) lasting(n Node) bool {
	switch s.Phase {
	case Pull:
		return n.Is != Waiting
	case Forward:
		return n.Is == Done || n.Is == Broken
	case Back:
		return n.Is == Returned || n.Is == Stuck
	}
	return true
}

// seen is when somebody last gave a sign of life.
func (s State) seen() time.Time {
	last := s.Beat
	for _, n := range s.Nodes {
		if n.At.After(last) {
			last = n.At
		}
	}
	return last
}

// clone is a copy whose nodes can be changed.
func (s State) clone() State {
	nodes := make(map[string]Node, len(s.Nodes))
	for k, n := range s.Nodes {
		nodes[k] = n
	}
	s.Nodes = nodes
	return s
}

// Members are all nodes of a deploy, those that get the release in their order first.
func (s State) Members() []string {
	out := s.planned()
	var others []string
	for name := range s.Nodes {
		if !slices.Contains(out, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return append(out, others...)
}

// Gate and Smoke are the checks by which a release itself fails.
const (
	Gate  = "gate"
	Smoke = "smoke"
)

// OfRelease reports whether it was the release that failed, and not a node, a registry or a person.
func (f Failure) OfRelease() bool { return f.Check == Gate || f.Check == Smoke }

// IsStable reports whether what is deployed is what it would go back to.
func (s State) IsStable() bool {
	for _, key := range s.Services {
		if s.Stable[key].Image != s.Image {
			return false
		}
	}
	return true
}

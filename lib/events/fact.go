// Package events tells what changed in a fleet between two looks at what Consul
// holds, and keeps what was told last, so that a stream can go on where it ended.
// It asks nobody: facts go in, events come out, each with its subject and reason,
// in an order that only depends on the facts.
package events

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what a fact or an event is about.
type Kind string

// The kinds, in the order in which events that are found together are told.
const (
	OfStream   Kind = "stream" // the stream itself: ready, away, back …
	Unreadable Kind = "unreadable"
	OfFreeze   Kind = "freeze"
	OfLoan     Kind = "loan" // a node that is in a pool otherwise than by its own meta
	OfRelease  Kind = "release"
	OfCurrent  Kind = "current" // which release a service should run
	OfDeploy   Kind = "deploy"  // a deploy over the fleet
	OfScaling  Kind = "scaling"
	OfInstance Kind = "instance"
	OfHealth   Kind = "health"
)

// Kinds are all kinds, in their order.
func Kinds() []Kind {
	return []Kind{OfStream, Unreadable, OfFreeze, OfLoan, OfRelease, OfCurrent, OfDeploy, OfScaling, OfInstance, OfHealth}
}

// Fact is one thing that Consul holds. ID is unique within a kind. Exactly the
// one pointer that belongs to Kind is set.
type Fact struct {
	Kind    Kind   `json:"kind"`
	ID      string `json:"id"`
	App     string `json:"app,omitempty"`
	Service string `json:"service,omitempty"` // key in the spec, not the name in Consul
	Node    string `json:"node,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Key     string `json:"key,omitempty"` // in KV, of what holds it; "" for an instance
	Index   uint64 `json:"index"`         // Consul's, of its last change
	About
}

// About is what a fact, or an event about it, tells in detail.
type About struct {
	Instance *Instance `json:"instance,omitempty"`
	Release  *Release  `json:"release,omitempty"`
	Current  *Current  `json:"current,omitempty"`
	Deploy   *Deploy   `json:"deploy,omitempty"`
	Scaling  *Scaling  `json:"scaling,omitempty"`
	Freeze   *Freeze   `json:"freeze,omitempty"`
	Loan     *Loan     `json:"loan,omitempty"`
	Bad      *Bad      `json:"unreadable,omitempty"`
}

// Instance is a registration of ours.
type Instance struct {
	Name    string   `json:"name"` // in Consul
	Address string   `json:"address"`
	Port    int      `json:"port"`
	Weight  int      `json:"weight"`
	Workers string   `json:"workers,omitempty"`
	Release string   `json:"release,omitempty"`
	Tags    []string `json:"tags,omitempty"` // sorted
	Health  string   `json:"health"`         // passing | warning | critical | maintenance
	Why     string   `json:"why,omitempty"`  // last output of the worst check, or the reason of a maintenance
}

// Release is a record of a build.
type Release struct {
	Image   string    `json:"image"` // repo@sha256:…
	Commit  string    `json:"commit,omitempty"`
	BuiltBy string    `json:"built_by,omitempty"`
	BuiltAt time.Time `json:"built_at,omitzero"`
	Stable  string    `json:"stable,omitempty"` // who marked it so
	Failed  string    `json:"failed,omitempty"` // who marked it so, and why
}

// Current is the release that a service should run.
type Current struct {
	Release  string    `json:"release"`
	Previous string    `json:"previous,omitempty"`
	By       string    `json:"by,omitempty"`
	Moved    time.Time `json:"moved,omitzero"`
}

// Deploy is how far a deploy over the fleet is.
type Deploy struct {
	Run     string    `json:"run"`
	Release string    `json:"release"`
	Phase   string    `json:"phase"` // pull | forward | ready | back | ended
	Batch   int       `json:"batch"` // that is open, from 1
	Batches int       `json:"batches"`
	Holder  string    `json:"holder,omitempty"`
	Result  string    `json:"result,omitempty"` // stable | failed
	Why     string    `json:"why,omitempty"`    // the first failure in words
	Began   time.Time `json:"began,omitzero"`
}

// Scaling is what the planner says of a service.
type Scaling struct {
	Size      int        `json:"size"`
	Reason    string     `json:"reason,omitempty"`
	Words     string     `json:"words,omitempty"` // the last decision in one line
	Held      string     `json:"held,omitempty"`  // why placement leaves it alone
	Pool      string     `json:"pool,omitempty"`
	Alarms    []string   `json:"alarms,omitempty"`    // sorted
	Decisions []Decision `json:"decisions,omitempty"` // that changed the size, newest first
}

// Decision is one change of a size.
type Decision struct {
	At     time.Time `json:"at"`
	From   int       `json:"from"`
	Size   int       `json:"size"`
	Reason string    `json:"reason,omitempty"`
	Words  string    `json:"words,omitempty"`
}

// Freeze forbids changes of sizes.
type Freeze struct {
	Scope string    `json:"scope"` // all | pool | service
	Mode  string    `json:"mode"`  // no-down | no-change | observe
	Until time.Time `json:"until,omitzero"`
	Who   string    `json:"who,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Loan is a node in a pool that it does not belong to by its own meta.
type Loan struct {
	Pool  string    `json:"pool"`
	Home  string    `json:"home,omitempty"`  // the pool that it came from; "": put there by hand
	Due   time.Time `json:"due,omitzero"`    // when it must be home again
	State string    `json:"state,omitempty"` // draining | leaving
	Who   string    `json:"who,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Bad is a value that cannot be read. What was known of it before stays.
type Bad struct {
	Why string `json:"why"`
}

// Change is one field of a fact that is not what it was.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

type field struct{ name, value string }

// fields are what a change of a fact is noticed by. What moves all the time and
// tells nothing, such as the output of a check that stays the same, is none.
func (f Fact) fields() []field {
	switch a := f.About; {
	case a.Instance != nil:
		i := a.Instance
		return []field{
			{"name", i.Name},
			{"address", i.Address},
			{"port", strconv.Itoa(i.Port)},
			{"weight", strconv.Itoa(i.Weight)},
			{"workers", i.Workers},
			{"release", i.Release},
			{"tags", strings.Join(i.Tags, ",")},
			{"zone", f.Zone},
		}
	case a.Release != nil:
		return []field{{"image", a.Release.Image}, {"stable", a.Release.Stable}, {"failed", a.Release.Failed}}
	case a.Current != nil:
		return []field{{"release", a.Current.Release}}
	case a.Deploy != nil:
		d := a.Deploy
		return []field{
			{"run", d.Run}, {"release", d.Release}, {"phase", d.Phase}, {"batch", strconv.Itoa(d.Batch)}, {"result", d.Result}, {"why", d.Why}, {"holder", d.Holder},
		}
	case a.Freeze != nil:
		return []field{{"mode", a.Freeze.Mode}, {"until", stamp(a.Freeze.Until)}, {"who", a.Freeze.Who}, {"why", a.Freeze.Why}}
	case a.Loan != nil:
		return []field{{"home", a.Loan.Home}, {"due", stamp(a.Loan.Due)}, {"state", a.Loan.State}}
	case a.Bad != nil:
		return []field{{"why", a.Bad.Why}}
	}
	return nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// over reports whether a fact has ended by itself: a freeze whose end has come.
func (f Fact) over(now time.Time) bool {
	return f.Freeze != nil && !f.Freeze.Until.IsZero() && !f.Freeze.Until.After(now)
}

// sorted returns facts by kind and ID, the last one of equals.
func sorted(list []Fact) []Fact {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Fact) int {
		return cmp.Or(cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)), cmp.Compare(a.ID, b.ID))
	})
	return slices.CompactFunc(list, func(a, b Fact) bool { return a.Kind == b.Kind && a.ID == b.ID })
}

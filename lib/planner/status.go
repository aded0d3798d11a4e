package planner

import (
	"fmt"
	"slices"

	"svckit/lib/place"
	"svckit/lib/scale"
)

// Bounds of what is kept of a service.
const (
	keepLines = 20
	maxWords  = 400
)

// Status is what the planner says of one service: svc/scale/service/<app>/<service>.
// It holds what the next leader must know, too.
type Status struct {
	Name      string        `json:"name"` // app/service
	At        int64         `json:"at"`
	Size      int           `json:"size"`
	Wish      int           `json:"wish"`
	Ready     int           `json:"ready"`
	Demand    float64       `json:"demand"` // Erlangs
	Reason    scale.Reason  `json:"reason"`
	Words     string        `json:"words"` // the decision in one line
	HoldUntil int64         `json:"hold_until,omitempty"`
	Alarms    []scale.Alarm `json:"alarms,omitempty"`
	Held      string        `json:"held,omitempty"` // why placement leaves it alone
	Pool      string        `json:"pool"`
	Nodes     []place.Share `json:"nodes,omitempty"` // where it is meant to run, by node
	Last      []Past        `json:"last,omitempty"`  // decisions that changed something, newest first
	State     scale.State   `json:"state"`
	Remain    int           `json:"remain,omitempty"`
	Index     uint64        `json:"-"` // of its key, for check-and-set
}

// Past is one decision of before.
type Past struct {
	At     int64        `json:"at"`
	From   int          `json:"from"`
	Size   int          `json:"size"`
	Reason scale.Reason `json:"reason"`
	Words  string       `json:"words"`
}

// Next is the status after a decision: the old one's past with this one before
// it, where it changed the size.
func Next(old Status, s Sized, ready int, pool, held string, nodes []place.Share) Status {
	d := s.Decision
	out := Status{
		Name: s.Name, At: d.At, Size: d.Size, Wish: d.Wish, Ready: ready, Demand: d.Demand, Reason: d.Reason, Words: clip(d.Words()),
		HoldUntil: d.HoldUntil, Alarms: d.Alarms, Held: clip(held), Pool: pool, Nodes: nodes, Last: old.Last,
		State: s.State, Remain: s.Remain, Index: old.Index,
	}
	if d.Size != d.From {
		past := Past{At: d.At, From: d.From, Size: d.Size, Reason: d.Reason, Words: out.Words}
		out.Last = append([]Past{past}, out.Last[:min(len(out.Last), keepLines-1)]...)
	}
	return out
}

// Worth reports whether a status tells something that the one before does not:
// what only follows the demand from tick to tick is not worth a write.
func (s Status) Worth(old Status) bool {
	return s.Size != old.Size || s.Reason != old.Reason || s.Held != old.Held || s.Pool != old.Pool || s.Remain != old.Remain ||
		!slices.EqualFunc(s.Alarms, old.Alarms, func(a, b scale.Alarm) bool { return a.Code == b.Code }) || !slices.Equal(s.Nodes, old.Nodes)
}

// Check says what is wrong with a status that was read.
func (s Status) Check() error {
	err := first(checkServiceName(s.Name), within("size", s.Size, 0, scale.MaxSize), within("state.size", s.State.Size, 0, scale.MaxSize),
		within("remain", s.Remain, 0, scale.MaxSize), within("last", len(s.Last), 0, keepLines), within("nodes", len(s.Nodes), 0, maxNodes),
		within("demand", s.Demand, 0, 1e9), within("state.signals", len(s.State.Signals), 0, maxSignals))
	for _, x := range s.Nodes {
		err = first(err, checkShare(x))
	}
	return err
}

func clip(text string) string {
	r := []rune(text)
	if len(r) > maxWords {
		return string(r[:maxWords-1]) + "…"
	}
	return text
}

// Membership is a pool and the nodes that are in it otherwise than by their own
// meta: on loan, put there by hand, or about to leave it.
type Membership struct {
	place.Pool
	Nodes []Member `json:"nodes,omitempty"` // by name
	Index uint64   `json:"-"`               // of its key, for check-and-set
}

// Member is one node of a pool.
type Member struct {
	Node     string `json:"node"`
	Home     string `json:"home,omitempty"` // the pool that it came from; "": this is its own
	Due      int64  `json:"due,omitempty"`  // unix seconds when it must be home again
	Draining bool   `json:"draining,omitempty"`
	Leaving  bool   `json:"leaving,omitempty"`
	Who      string `json:"who,omitempty"`
	Why      string `json:"why,omitempty"`
}

// Check says what is wrong with a pool that was read.
func (m Membership) Check() error {
	err := first(checkPool(m.Pool), within("nodes", len(m.Nodes), 0, maxNodes))
	for i, n := range m.Nodes {
		err = first(err, checkText("node", n.Node), within("due", n.Due, 0, 1<<40))
		if n.Home != "" {
			err = first(err, checkText("home", n.Home))
		}
		if i > 0 && m.Nodes[i-1].Node >= n.Node {
			err = first(err, fmt.Errorf("node %s: not in the order of names, or there twice", n.Node))
		}
	}
	return err
}

// Check says what is wrong with a freeze that was read.
func (z Freeze) Check() error { return checkFreeze(z) }

// Check says what is wrong with an announcement that was read.
func (a Announcement) Check() error {
	err := first(checkAnnouncement(a), checkText("id", a.ID))
	switch {
	case err != nil:
		return err
	case a.From <= 0 || a.Until <= a.From || a.Until > 1<<40:
		return fmt.Errorf("from %d until %d is no span of time", a.From, a.Until)
	case (a.RPS > 0) == (a.Factor > 0):
		return fmt.Errorf("expected either a rate or a factor")
	}
	return nil
}

// CheckHand says what is wrong with what was set by hand.
func CheckHand(h scale.Hand) error {
	for _, n := range []*int{h.Size, h.Min, h.Max} {
		if n != nil {
			if err := within("size, min or max", *n, 0, scale.MaxSize); err != nil {
				return err
			}
		}
	}
	switch {
	case h.Size == nil && h.Min == nil && h.Max == nil:
		return fmt.Errorf("neither size, min nor max is set")
	case h.Min != nil && h.Max != nil && *h.Max < *h.Min:
		return fmt.Errorf("max %d is below min %d", *h.Max, *h.Min)
	}
	return within("until", h.Until, 0, 1<<40)
}

// Orders is what people told the planner: freezes, announcements, sizes set by
// hand, pools.
type Orders struct {
	Freezes   []Freeze
	Announced []Announcement
	Hands     map[string]scale.Hand // by app/service
	Pools     []Membership
	Bad       map[string]string // what could not be read, with the reason, by key
	Blind     []string          // services whose order could not be read
}

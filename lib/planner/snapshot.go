// Package planner joins the two halves of a scaling decision: it sizes every
// service (lib/scale, vip services first and apart), then places them all
// (lib/place). What goes in is one Snapshot, what comes out one Plan.
//
// Pure: a snapshot gives the same plan whenever and wherever it is decided, so
// saved snapshots and lines of the journal can be decided again.
package planner

import (
	"svckit/lib/place"
	"svckit/lib/scale"
)

// Schema is the version of snapshots and journal lines.
const Schema = 1

// Snapshot is all that one pass over the fleet depends on. As JSON it is the
// format in which live snapshots are saved.
type Snapshot struct {
	Schema    int            `json:"schema"` // 1
	At        int64          `json:"at"`     // unix seconds
	Services  []Service      `json:"services"`
	Nodes     []Node         `json:"nodes"`
	Pools     []place.Pool   `json:"pools"`
	Placed    []place.Share  `json:"placed"` // what each node was last told to run
	Freezes   []Freeze       `json:"freezes,omitempty"`
	Announced []Announcement `json:"announced,omitempty"`
	Memory    Memory         `json:"memory"` // what the pass before left
	Rules     *place.Rules   `json:"rules,omitempty"`
	// Unreadable lists what Decode could not read; it is held, not changed.
	Unreadable []Unreadable `json:"unreadable,omitempty"`
}

// Service is one service: what is wanted, what is seen, what is remembered.
type Service struct {
	Name   string       `json:"name"` // app/service
	Policy scale.Policy `json:"policy"`
	Shape  Shape        `json:"shape"`
	Seen   Seen         `json:"seen"`
	State  scale.State  `json:"state"`
	Remain int          `json:"remain,omitempty"` // what the pass before wanted to remain after a loss
	Hold   string       `json:"hold,omitempty"`   // why it is left alone, e.g. unreadable; "": it is not
}

// Shape is what placement must know of a service beside its policy.
type Shape struct {
	Unit      string       `json:"unit"`   // workers | instances
	Spread    place.Spread `json:"spread"` // equal | balanced
	CPU       int64        `json:"cpu"`    // thousandths of a core for one worker or instance
	Memory    int64        `json:"memory"` // bytes
	PerNode   int          `json:"per_node,omitempty"`
	Fixed     bool         `json:"fixed,omitempty"`      // a daemon: exactly as many as its size
	NoOverlap bool         `json:"no_overlap,omitempty"` // may not run twice
	Exact     bool         `json:"exact,omitempty"`      // never more than its size, also while nodes are cut off
}

// Seen is what is known of a service now. The rest of scale.Input follows from the fleet.
type Seen struct {
	Ready    int            `json:"ready"`
	Starting int            `json:"starting,omitempty"`
	Signals  []scale.Signal `json:"signals,omitempty"`
	Expected scale.Expected `json:"expected"`
	Settling string         `json:"settling,omitempty"`
	Offsets  map[string]int `json:"offsets,omitempty"`
}

// Node is a host with what the planner must know beyond placement.
type Node struct {
	place.Host
	Silent bool `json:"silent,omitempty"` // alive, and its samples are missing
}

// Freeze is a freeze of everything, a pool or a service.
type Freeze struct {
	Scope string `json:"scope"`          // all | pool | service
	Name  string `json:"name,omitempty"` // of the pool, or app/service
	scale.Freeze
}

// Announcement is a load that was announced for a service.
type Announcement struct {
	Service string `json:"service"` // app/service
	scale.Announcement
}

// Memory is what one pass leaves for the next beside the State of each service.
type Memory struct {
	Sizes scale.PassState `json:"sizes"`
	Place place.State     `json:"place"`
}

// Unreadable is something in a snapshot that could not be read.
type Unreadable struct {
	Place  string `json:"place"`          // e.g. services[3]
	Name   string `json:"name,omitempty"` // where that could be read
	Reason string `json:"reason"`
}

// Plan is one decision about the whole fleet.
type Plan struct {
	At         int64                 `json:"at"`
	Services   []Sized               `json:"services"` // by name
	Fleet      [2]scale.FleetVerdict `json:"fleet"`    // of vip services, of the others
	Place      place.Plan            `json:"place"`
	Held       []Held                `json:"held"` // services that are left alone, by name
	Unreadable []Unreadable          `json:"unreadable"`
	Memory     Memory                `json:"memory"` // for the next pass

	in place.Input // what was placed from, for the journal
}

// Sized is the size of one service.
type Sized struct {
	Name     string         `json:"name"`
	VIP      bool           `json:"vip,omitempty"`
	Decision scale.Decision `json:"decision"`
	Remain   int            `json:"remain"` // must be left after a loss; for the next pass
	State    scale.State    `json:"state"`  // for the next pass
	// Input is what it was decided from, for the journal.
	Input scale.Input `json:"-"`
}

// Held is a service that is left alone, and why.
type Held struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Package place decides where the workers or instances of each service run:
// how many on which node, which nodes a pool borrows and gives back, what is
// moved, in which order, and who goes short when there is not enough for all.
//
// Pure and deterministic: the same input gives the same plan, in whatever order
// its lists are. What hysteresis and budgets need to remember is a value, State,
// that comes out of one plan and goes into the next.
//
// What holds in every plan, and between its waves:
//   - no node gets a worker beyond its CPU or memory;
//   - a service that is fine where it is stays there, whatever others do;
//   - on an alive node nothing is lowered before its replacement is raised.
package place

import "time"

// Spread says how even the shares of a service are.
type Spread string

// The spreads.
const (
	Equal    Spread = "equal"    // shares differ by one at most
	Balanced Spread = "balanced" // by free capacity, no share over 1.25 times the mean where there is room
)

// Survive says what a service must be able to lose.
type Survive string

// What may be lost.
const (
	None Survive = "none"
	Node Survive = "node"
	Zone Survive = "zone"
)

// Demand is what one service wants. Names are unique.
type Demand struct {
	Name      string  `json:"name"`                // app/service
	Unit      string  `json:"unit,omitempty"`      // workers | instances; for words only
	Size      int     `json:"size"`                // wanted, ≥ 0; 0 takes the service off every node
	Min       int     `json:"min,omitempty"`       // floor: taken from nobody while a service of the pool has more than its own floor
	Max       int     `json:"max,omitempty"`       // never more, not even to survive; 0: no bound
	Remain    int     `json:"remain,omitempty"`    // left after the loss of the largest node or zone; 0: nothing asked
	MinNodes  int     `json:"min_nodes,omitempty"` // at least so many nodes; below 1 means 1
	Spread    Spread  `json:"spread,omitempty"`    // default Balanced
	Survive   Survive `json:"survive,omitempty"`   // default None
	CPU       int64   `json:"cpu,omitempty"`       // thousandths of a core for one worker or instance
	Memory    int64   `json:"memory,omitempty"`    // bytes for one worker or instance
	PerNode   int     `json:"per_node,omitempty"`  // most on one node, e.g. 1 with a fixed port; 0: no bound
	Pool      string  `json:"pool"`
	VIP       bool    `json:"vip,omitempty"`
	Fixed     bool    `json:"fixed,omitempty"`      // exactly Size: never more to survive or for MinNodes
	NoOverlap bool    `json:"no_overlap,omitempty"` // may not run twice: a move lowers before it raises
	Hold      bool    `json:"hold,omitempty"`       // keeps what it has, wherever; for frozen and unreadable services
}

// Host is one node. Names are unique.
type Host struct {
	Name     string  `json:"name"`
	Zone     string  `json:"zone,omitempty"`
	Pool     string  `json:"pool"`           // where it works now
	Home     string  `json:"home,omitempty"` // whose it is; "" means Pool
	Due      int64   `json:"due,omitempty"`  // unix seconds when a node on loan must be home again; 0: no date
	CPU      int64   `json:"cpu"`            // thousandths of a core for services
	Memory   int64   `json:"memory"`         // bytes for services
	Alive    bool    `json:"alive"`
	Draining bool    `json:"draining,omitempty"` // an operator wants it empty
	Leaving  bool    `json:"leaving,omitempty"`  // its pool gives it back: emptied as services shrink and the budget allows
	Load     float64 `json:"load,omitempty"`     // measured use, 0 to about 1; 0: not known
}

// Class is the rank of a pool when free nodes are scarce.
type Class string

// The classes, in the order in which they are served.
const (
	VIP        Class = "vip"
	Production Class = "production"
	Stable     Class = "stable"
	Internal   Class = "internal"
	Free       Class = "free" // the nodes that others borrow; runs nothing itself
)

// Pool is a named group of nodes.
type Pool struct {
	Name    string `json:"name"`
	Class   Class  `json:"class,omitempty"`   // default Production
	Loans   int    `json:"loans,omitempty"`   // most nodes it may hold on loan; 0: does not borrow
	Reserve int    `json:"reserve,omitempty"` // of a free pool: nodes that only vip pools may take
}

// Share is how many workers or instances of a service a node has.
type Share struct {
	Name  string `json:"name"` // app/service
	Node  string `json:"node"`
	Count int    `json:"count"`
}

// Input is everything a plan depends on.
type Input struct {
	At      int64    `json:"at"` // unix seconds
	Demands []Demand `json:"demands"`
	Hosts   []Host   `json:"hosts"`
	Pools   []Pool   `json:"pools"`
	Shares  []Share  `json:"shares"` // now
	State   State    `json:"state"`
	Rules   Rules    `json:"rules"`
}

// Rules are the settings of placement; Defaults has the usual ones.
type Rules struct {
	Skew        float64       `json:"skew"`          // largest share of a balanced service, as a multiple of the mean
	BorrowAt    float64       `json:"borrow_at"`     // a pool borrows when more of its capacity is wanted
	ReturnAt    float64       `json:"return_at"`     // and gives a node back when without it no more than this would be wanted
	ReturnAfter time.Duration `json:"return_after"`  // for so long
	DueAhead    time.Duration `json:"due_ahead"`     // a node on loan is drained so long before it is due
	HotFor      time.Duration `json:"hot_for"`       // a node is helped when it was hot for so long
	HotLoad     float64       `json:"hot_load"`      // and only above this load
	MovesAnHour float64       `json:"moves_an_hour"` // budget of voluntary moves, as a share of all workers
}

// Defaults returns the usual rules (scaling.md §6.10; the pool thresholds are measured in docs/placement.md).
func Defaults() Rules {
	return Rules{
		Skew: 1.25, BorrowAt: 0.96, ReturnAt: 0.91, ReturnAfter: 10 * time.Minute, DueAhead: 15 * time.Minute,
		HotFor: 10 * time.Minute, HotLoad: 0.5, MovesAnHour: 0.02,
	}
}

// State is what one plan remembers for the next. The zero value remembers nothing.
type State struct {
	Moves []Moved `json:"moves,omitempty"` // of the last hour, oldest first
	Hot   []Since `json:"hot,omitempty"`   // node → hot since, by name
	Low   []Since `json:"low,omitempty"`   // pool → could give a node back since, by name
}

// Moved is how many workers were moved in one minute.
type Moved struct {
	At    int64 `json:"at"` // unix seconds, a whole minute
	Count int   `json:"count"`
}

// Since is the time at which something began.
type Since struct {
	Name string `json:"name"`
	At   int64  `json:"at"` // unix seconds
}

// Plan is what to do and why.
type Plan struct {
	Services []Placement `json:"services"` // every demand, by name
	Waves    []Wave      `json:"waves"`    // each begins when the one before is reached
	Loans    []Loan      `json:"loans"`    // in the order to do them
	Short    []Shortage  `json:"short"`    // who gets less than asked, by name
	Unasked  []Share     `json:"unasked"`  // shares of services that nobody asked for: left alone
	Moves    int         `json:"moves"`    // workers that change their node
	State    State       `json:"state"`    // for the next plan
}

// Placement is where one service goes.
type Placement struct {
	Name    string  `json:"name"`
	Size    int     `json:"size"`   // asked for
	Wanted  int     `json:"wanted"` // with what surviving and the minimum of nodes add
	Total   int     `json:"total"`  // what it gets
	Nodes   []Seat  `json:"nodes"`  // by name; also those it leaves
	Moves   int     `json:"moves"`
	Reasons []Note  `json:"reasons"` // never empty
	Loss    Outcome `json:"loss"`    // what is left after the worst loss it must survive
}

// Outcome says what remains of a service after the loss of its largest node or zone.
type Outcome struct {
	Of     Survive `json:"of"`
	Name   string  `json:"name"`   // the node or zone with the most
	Remain int     `json:"remain"` // left without it
	Need   int     `json:"need"`   // asked for
}

// Seat is a service on one node, before and after.
type Seat struct {
	Node string `json:"node"`
	Now  int    `json:"now"`
	Want int    `json:"want"`
}

// Code names a reason for programs.
type Code string

// The codes.
const (
	Stays     Code = "stays"     // nothing to change
	Sized     Code = "sized"     // its size changed
	Survives  Code = "survives"  // more than its size, so that enough is left after a loss
	Spreads   Code = "spreads"   // more than its size or other nodes, for its minimum of nodes
	Lost      Code = "lost"      // a node is gone
	Drained   Code = "drained"   // a node is emptied
	Rebalance Code = "rebalance" // moved off a hot node
	Vacated   Code = "vacated"   // moved off a node that its pool gives back
	Evened    Code = "evened"    // shares were too uneven
	Cut       Code = "cut"       // others come first
	NoRoom    Code = "no-room"   // gets less than asked
	Skewed    Code = "skewed"    // more uneven than wanted, for lack of room
	Exposed   Code = "exposed"   // would not survive the loss
	Held      Code = "held"      // left alone by order
)

// Note is one reason.
type Note struct {
	Code Code   `json:"code"`
	Text string `json:"text"` // one line
}

// Wave is a set of steps that may be taken at the same time.
type Wave []Step

// Step changes one service on one node.
type Step struct {
	Name   string `json:"name"`
	Node   string `json:"node"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Reason Code   `json:"reason"`
}

// LoanKind says what happens to a node of a pool.
type LoanKind string

// The kinds of loan steps.
const (
	Borrow LoanKind = "borrow" // works for To at once
	Leave  LoanKind = "leave"  // is marked: its pool gives it back
	Keep   LoanKind = "keep"   // is needed again: no longer marked
	Recall LoanKind = "recall" // is marked and emptied at once: a vip pool needs it, or it is due
	Return LoanKind = "return" // goes to To once the waves are reached and it is empty
)

// Loan is a step of a node between pools.
type Loan struct {
	Kind   LoanKind `json:"kind"`
	Node   string   `json:"node"`
	From   string   `json:"from"`
	To     string   `json:"to"`
	Due    int64    `json:"due,omitempty"`
	Reason string   `json:"reason"`
}

// Shortage says who gets less than wanted, and why.
type Shortage struct {
	Name   string `json:"name"`
	VIP    bool   `json:"vip"`
	Wanted int    `json:"wanted"`
	Gets   int    `json:"gets"`
	Floor  int    `json:"floor"`
	Reason string `json:"reason"`
}

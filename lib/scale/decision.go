package scale

// Decision is the size of a service and how it came about.
type Decision struct {
	At   int64 `json:"at"`
	From int   `json:"from"` // the size in force until now
	Size int   `json:"size"` // the size from now on
	// Wish is the size before holds, rates and freezes: what the service needs now.
	Wish   int    `json:"wish"`
	Floor  int    `json:"floor"` // the smallest size that still serves its demand: for losing a node, or for sharing what is short
	Reason Reason `json:"reason"`

	Demand    float64    `json:"demand"`               // Erlangs that the wish is made for
	Proposals []Proposal `json:"proposals,omitempty"`  // largest first, ties by name: the first one won
	Limits    []Limit    `json:"limits,omitempty"`     // what kept the size from the winner, in the order applied
	Alarms    []Alarm    `json:"alarms,omitempty"`     // sorted by code
	HoldUntil int64      `json:"hold_until,omitempty"` // no lowering before; 0: none is held back
	Blind     int64      `json:"blind,omitempty"`      // seconds since a needed signal was last fresh
	Act       bool       `json:"act"`                  // false: observe only
}

// Reason is the one word for what a decision did.
type Reason string

// The reasons.
const (
	Keep     Reason = "keep"     // nothing to do
	Raise    Reason = "raise"    //
	Lower    Reason = "lower"    //
	Hold     Reason = "hold"     // would lower, and waits
	Stay     Reason = "stay"     // wish and size differ by less than the dead band
	Blind    Reason = "blind"    // a needed signal is missing
	Guarded  Reason = "guarded"  // the collapse guard holds the size
	Settling Reason = "settling" // workers are starting or a deploy is under way
	Frozen   Reason = "frozen"   //
	ByHand   Reason = "by-hand"  //
	Bound    Reason = "bound"    // moved into the bounds of the policy
	ToZero   Reason = "to-zero"  //
	Fixed    Reason = "fixed"    // strategy noop
)

// Proposal is what one source wants.
type Proposal struct {
	Source string  `json:"source"`           // e.g. "signal requests", "schedule morning", "announcement 7", "history", "min"
	Size   int     `json:"size"`             //
	Demand float64 `json:"demand,omitempty"` // Erlangs behind it
	Why    Why     `json:"why"`              // the formula
}

// Why names a formula; Words tells it with the numbers of a proposal.
type Why string

// The formulas.
const (
	WhyMin       Why = "min"
	WhySteady    Why = "steady"    // rate of a minute × service time
	WhySurge     Why = "surge"     // the last seconds are above the minute by more than chance
	WhyGrowth    Why = "growth"    // continued over the start-up time
	WhyWaiting   Why = "waiting"   // requests that already wait are worked off
	WhyBusy      Why = "busy"      // never fewer than are busy
	WhyBacklog   Why = "backlog"   // queue: rate, growth and drain
	WhyStuck     Why = "stuck"     // queue: consumers take nothing, so no more of them
	WhySchedule  Why = "schedule"  //
	WhyAnnounced Why = "announced" //
	WhyHistory   Why = "history"   //
	WhyTrend     Why = "trend"     // blind: the growth before the signal was lost goes on
	WhyReturn    Why = "return"    // guard: what may come back at once
	WhyDoubt     Why = "doubt"     // an absurd sample waits for a second one
	WhyBlindMax  Why = "blind-max" // on_blind: max
)

// Limit is one thing that changed the size on its way.
type Limit struct {
	Code LimitCode `json:"code"`
	From int       `json:"from"`
	To   int       `json:"to"`
}

// LimitCode names a limit.
type LimitCode string

// The limits.
const (
	LimitMin      LimitCode = "min"
	LimitMax      LimitCode = "max"
	LimitCeiling  LimitCode = "schedule"  // ceiling of a schedule
	LimitCapacity LimitCode = "capacity"  // the pools have no more room
	LimitBand     LimitCode = "dead-band" //
	LimitHold     LimitCode = "hold"      // largest wish of the hold time
	LimitRate     LimitCode = "rate"      // share per minute
	LimitBlind    LimitCode = "blind"     //
	LimitGuard    LimitCode = "guard"     //
	LimitSettle   LimitCode = "settling"  //
	LimitFreeze   LimitCode = "freeze"    //
	LimitBusy     LimitCode = "busy"      // never below what is busy
	LimitZero     LimitCode = "zero"      // not yet quiet for long enough
	LimitStuck    LimitCode = "stuck"     // consumers that take nothing are not multiplied
	LimitHand     LimitCode = "hand"      //
)

// Alarm is something that a person should know.
type Alarm struct {
	Code    AlarmCode `json:"code"`
	Since   int64     `json:"since"`
	Missing int       `json:"missing,omitempty"` // workers that are wanted and not there
}

// AlarmCode names an alarm.
type AlarmCode string

// The alarms.
const (
	AlarmBlind     AlarmCode = "blind"             // a signal is missing for 10 minutes
	AlarmBlindZero AlarmCode = "blind-at-zero"     // no signal and no worker: nothing can wake it
	AlarmCapacity  AlarmCode = "no-room"           // Missing workers do not fit into the pools
	AlarmStuck     AlarmCode = "stuck"             // Missing workers have not come up for too long
	AlarmMax       AlarmCode = "at-max"            // the bound of the policy keeps Missing workers away
	AlarmCollapse  AlarmCode = "collapse"          // demand fell faster than any evening
	AlarmNoHelp    AlarmCode = "raising-no-help"   // more workers did not serve more
	AlarmConsumers AlarmCode = "consumers-stuck"   // a backlog, and nothing is taken from it
	AlarmLeak      AlarmCode = "marks-leak"        // more workers busy than there are
	AlarmZone      AlarmCode = "zone-unknown"      // a schedule names a zone without an offset
	AlarmNoTraffic AlarmCode = "announced-nothing" // an announced load did not come
	AlarmUnknown   AlarmCode = "announced-unknown" // requests were announced, and how long one takes was never seen
)

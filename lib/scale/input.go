package scale

// Input is one service at one moment.
type Input struct {
	At   int64 `json:"at"`   // unix seconds
	Size int   `json:"size"` // what was decided last and is being carried out
	// Ready workers of the running release serve; Starting ones will. Workers
	// of an old release that a deploy is about to stop are neither.
	Ready    int      `json:"ready"`
	Starting int      `json:"starting,omitempty"`
	Signals  []Signal `json:"signals,omitempty"`

	Nodes    int            `json:"nodes,omitempty"`    // alive nodes it may run on; 0: unknown
	Zones    int            `json:"zones,omitempty"`    // alive zones
	Capacity int            `json:"capacity,omitempty"` // workers its pools have room for, its own included; 0: unknown
	Offsets  map[string]int `json:"offsets,omitempty"`  // zone of a schedule → seconds east of UTC now

	Announced []Announcement `json:"announced,omitempty"`
	Expected  Expected       `json:"expected"`           // from history
	Settling  string         `json:"settling,omitempty"` // why workers are in motion, e.g. "deploy of 3f2c…"; "": they are not
	Freeze    Freeze         `json:"freeze"`             // by hand or by the fleet guard
}

// Signal is one source of demand. Several may be there: each proposes a size,
// the largest counts, and lowering needs all of them.
type Signal struct {
	Name     string   `json:"name"`
	At       int64    `json:"at"`              // of the oldest sample in it; 0: never seen
	Coverage float64  `json:"coverage"`        // share of the workers whose nodes reported, 0-1
	Error    string   `json:"error,omitempty"` // why it is missing, e.g. "connection refused"
	Load     *Load    `json:"load,omitempty"`  // one of the two
	Backlog  *Backlog `json:"backlog,omitempty"`
}

// Load is the requests of a service, summed over its nodes. A window is the
// last 1, 10 or 60 seconds. A rate counts arrivals: requests that wait are in it.
type Load struct {
	Rate1   float64 `json:"rate1,omitempty"` // arrivals of the last second; 0: not known
	Rate10  float64 `json:"rate10"`          // arrivals per second
	Rate60  float64 `json:"rate60"`          //
	Done10  float64 `json:"done10"`          // completions per second
	Done60  float64 `json:"done60"`          //
	Busy    float64 `json:"busy"`            // workers busy now
	Busy10  float64 `json:"busy10"`          // mean of the window
	Busy60  float64 `json:"busy60"`          //
	Waiting float64 `json:"waiting"`         // requests that no worker has yet
	// Service is the mean response time that the application reports, in
	// seconds; it is used where busy workers are not known (rps_ratio).
	Service float64 `json:"service,omitempty"`
	CV2     float64 `json:"cv2,omitempty"` // squared coefficient of variation of the service time; 0: unknown, taken as 1
}

// Backlog is a queue and its consumers.
type Backlog struct {
	Ready   float64 `json:"ready"`   // messages that no consumer has
	Unacked float64 `json:"unacked"` // messages that a consumer works on
	In10    float64 `json:"in10"`    // published per second
	In60    float64 `json:"in60"`    //
	Out10   float64 `json:"out10"`   // acknowledged per second
	Out60   float64 `json:"out60"`   //
	Service float64 `json:"service"` // mean seconds of one message; 0: unknown, then Unacked/Out60
}

// Announcement is a load that somebody expects and has said so.
type Announcement struct {
	ID     string  `json:"id"`
	Who    string  `json:"who"`
	From   int64   `json:"from"`             // when workers should be there
	Until  int64   `json:"until"`            // end of the hold
	RPS    float64 `json:"rps,omitempty"`    // arrivals per second, or
	Factor float64 `json:"factor,omitempty"` // times the demand at the moment of the announcement
	Base   float64 `json:"base,omitempty"`   // that demand, in Erlangs
}

// Expected is the demand that history tells of, in Erlangs.
type Expected struct {
	Now    float64 `json:"now,omitempty"`    // at this time; 0: no history
	Soon   float64 `json:"soon,omitempty"`   // highest of now and the next minutes that a worker takes to start, at least 5
	Spread float64 `json:"spread,omitempty"` // relative standard deviation between days
	Days   int     `json:"days,omitempty"`   // how many days of history it comes from
}

// Freeze forbids changes.
type Freeze struct {
	Mode  FreezeMode `json:"mode,omitempty"`
	Until int64      `json:"until,omitempty"` // 0: until thawed
	Who   string     `json:"who,omitempty"`
	Why   string     `json:"why,omitempty"`
}

// FreezeMode is what a freeze forbids.
type FreezeMode string

// The freezes. Bounds of the policy are kept in all of them but observe.
const (
	NotFrozen FreezeMode = ""
	NoDown    FreezeMode = "no-down"   // sizes may only grow
	NoChange  FreezeMode = "no-change" // sizes stay
	Observe   FreezeMode = "observe"   // decisions are made and shown, and nothing is carried out
)

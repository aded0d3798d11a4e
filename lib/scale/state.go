package scale

// State is what earlier decisions left. The zero value is that of a service
// that was never decided. It is small and plain: it goes into the journal and,
// at a change of leader, to the next one.
type State struct {
	At    int64 `json:"at"`    // of the last decision
	Size  int   `json:"size"`  // decided then
	First int64 `json:"first"` // of the first decision since nothing was known: one minute long sizes only grow

	// Wishes holds the largest wish of each of the last minutes: [0] is the
	// minute of At, [k] the k-th before it.
	Wishes [62]int `json:"wishes"`
	// Demands holds the mean demand in Erlangs of the same minutes; 0: not seen.
	Demands [16]float64 `json:"demands"`
	Samples int         `json:"samples"` // in Demands[0]
	// Quarters holds the lowest minute of each of the last quarters of an hour, in Erlangs; 0: not seen.
	Quarters [16]float64 `json:"quarters"`

	Hold     float64 `json:"hold,omitempty"`      // seconds that a lower wish must last, where it is above Policy.Down.After
	HoldSeen int64   `json:"hold_seen,omitempty"` // when the pattern behind Hold was last seen
	Dip      Dip     `json:"dip"`
	Lowered  Lowered `json:"lowered"`

	Signals []SignalState `json:"signals,omitempty"` // sorted by name
	Guard   Guard         `json:"guard"`
	Short   Short         `json:"short"`
	Effect  Effect        `json:"effect"`
	Idle    int64         `json:"idle,omitempty"` // since when nothing came; 0: something does
	Capped  int64         `json:"capped,omitempty"`
	Full    int64         `json:"full,omitempty"`
}

// Dip watches demand that fell: how long until it is back?
type Dip struct {
	Peak  float64 `json:"peak,omitempty"`  // Erlangs before it fell
	Since int64   `json:"since,omitempty"` // when it fell; 0: no dip
}

// Lowered is the budget of the rate limit.
type Lowered struct {
	Minute int64 `json:"minute,omitempty"` // unix minute
	From   int   `json:"from,omitempty"`   // size at its beginning
}

// SignalState is what was last known of one signal.
type SignalState struct {
	Name   string  `json:"name"`
	Fresh  int64   `json:"fresh"`            // when it was last fresh
	Demand float64 `json:"demand"`           // Erlangs then
	Doubt  float64 `json:"doubt,omitempty"`  // demand of an absurd sample that waits for a second one
	S      float64 `json:"s,omitempty"`      // service time in seconds, over enough requests
	Weight float64 `json:"weight,omitempty"` // requests behind S
	Rough  float64 `json:"rough,omitempty"`  // mean squared relative difference of 10 s and 60 s, beyond chance
	Stuck  int64   `json:"stuck,omitempty"`  // queue: since when consumers take nothing
}

// Guard is the collapse guard's memory.
type Guard struct {
	Since  int64   `json:"since,omitempty"`  // of the collapse; 0: not active
	Expect float64 `json:"expect,omitempty"` // Erlangs that may come back
	Back   int64   `json:"back,omitempty"`   // since when demand is back
	Done   int64   `json:"done,omitempty"`   // when it last gave up: the new level counts as normal
}

// Short is the stuck alarm's memory: workers wanted and not there.
type Short struct {
	Since int64 `json:"since,omitempty"`
	Ready int   `json:"ready,omitempty"` // most that were there since
}

// Effect remembers a raise until its effect can be measured.
type Effect struct {
	At    int64   `json:"at,omitempty"`   // of the raise; 0: none is watched
	From  int     `json:"from,omitempty"` // ready workers then
	To    int     `json:"to,omitempty"`
	Done  float64 `json:"done,omitempty"` // completions per second then
	Fails int     `json:"fails,omitempty"`
	Since int64   `json:"since,omitempty"` // of the first failure in a row
}

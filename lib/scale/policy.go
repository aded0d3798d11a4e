// Package scale decides how many workers a service should have. It turns what
// is wanted (Policy), what earlier decisions left (State) and what is seen now
// (Input) into a Decision with its reasons and the State for the next one.
//
// Pure: no clock, no log, no chance. The same Policy, State and Input give the
// same Decision bit for bit, and all of them are plain values that survive
// JSON, so a line of the journal can be decided again at any time.
//
// Units: a size counts workers, one of which serves one request at a time (or
// instances, where the policy counts those). Demand is in Erlangs: the mean
// number of workers that are busy if none ever had to be waited for. Moments
// are unix seconds; spans inside State and Input are seconds.
package scale

import (
	"strings"
	"time"

	"svckit/lib/spec"
)

// Strategy says what a size is computed from.
type Strategy string

// The strategies.
const (
	Noop      Strategy = "noop"       // Policy.Min, always
	BusyRatio Strategy = "busy_ratio" // requests: arrivals × service time + waiting
	RPSRatio  Strategy = "rps_ratio"  // the same from rate and response time only, for services without marks
	Queue     Strategy = "queue"      // consumers: rate, backlog and growth
)

// OnBlind says what happens while a signal is missing.
type OnBlind string

// What to do without a signal. None of them lowers a size.
const (
	BlindHold     OnBlind = "hold"     // keep the size
	BlindForecast OnBlind = "forecast" // keep it, and raise it to what is expected at this time
	BlindMax      OnBlind = "max"      // raise to Policy.Max at once
)

// Policy is what is wanted of one service: its spec with what was set by hand.
type Policy struct {
	Strategy  Strategy      `json:"strategy"`
	Target    float64       `json:"target,omitempty"`    // busy share of workers, 0 < t ≤ 1; 0: size by Wait
	Wait      float64       `json:"wait,omitempty"`      // share of requests that may wait longer than WaitOver, 0 < w < 1
	WaitOver  time.Duration `json:"wait_over,omitempty"` // 0: any wait counts, which is Erlang C itself
	Min       int           `json:"min"`                 // enforced before any signal is read
	Max       int           `json:"max,omitempty"`       // 0: no bound of its own; at most MaxSize
	Zero      bool          `json:"zero,omitempty"`      // may have no workers while nothing comes
	ZeroAfter time.Duration `json:"zero_after,omitempty"`
	StartUp   time.Duration `json:"start_up"` // from the decision until a new worker serves
	Down      Down          `json:"down"`

	Drain     time.Duration `json:"drain,omitempty"` // queue: time in which a backlog is worked off
	OnBlind   OnBlind       `json:"on_blind"`
	Schedules []Schedule    `json:"schedules,omitempty"`
	Seasonal  bool          `json:"seasonal"`          // expectations from history count as a floor
	Signals   []string      `json:"signals,omitempty"` // signals it must have: lowering needs them all, fresh
	Survive   string        `json:"survive"`           // none | node | zone
	MinNodes  int           `json:"min_nodes"`
	VIP       bool          `json:"vip,omitempty"`
	Pool      string        `json:"pool"`
	Tick      time.Duration `json:"tick"` // how often it is decided; a signal older than 3 ticks is missing
	Hand      *Hand         `json:"hand,omitempty"`
}

// Down bounds how fast a service gets smaller.
type Down struct {
	After time.Duration `json:"after"` // the largest size that was needed within it is kept
	Step  float64       `json:"step"`  // share that may go in one minute; 0 or 1: all at once
}

// FromSpec is the policy of a service's scale section. signals are the names of
// the signals that it must have; none: every signal that was ever there.
func FromSpec(s spec.Scale, signals ...string) Policy {
	p := Policy{
		Strategy: Strategy(s.Strategy), Target: s.Target, Wait: s.Wait, WaitOver: s.WaitOver,
		Min: s.Min, Max: s.Max, Zero: s.Min == 0, ZeroAfter: s.Down.After, StartUp: s.StartUp, Down: Down(s.Down),
		Drain: s.Drain, OnBlind: OnBlind(s.OnBlind), Seasonal: s.Seasonal, Signals: signals,
		Survive: s.Survive, MinNodes: s.MinNodes, VIP: s.Priority == "vip", Pool: s.Pool, Tick: DefaultTick,
	}
	for _, c := range s.Schedules {
		schedule := Schedule{Name: c.Name, From: clock(c.From), To: clock(c.To), Zone: c.Zone, Min: c.Min, Max: c.Max}
		for _, day := range c.Days {
			schedule.Days = append(schedule.Days, weekday(day))
		}
		p.Schedules = append(p.Schedules, schedule)
	}
	return p
}

// clock reads 08:30 as minutes after midnight; spec has checked its form.
func clock(text string) int {
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0
	}
	return t.Hour()*60 + t.Minute()
}

func weekday(day string) time.Weekday {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(d.String()[:3], day) {
			return d
		}
	}
	return time.Sunday
}

// DefaultTick is how often services are decided.
const DefaultTick = 5 * time.Second

// Schedule is a floor, and if wanted a ceiling, at certain times of the week.
// Where two overlap the larger floor and the smaller ceiling count, and a floor
// wins over a ceiling.
type Schedule struct {
	Name string         `json:"name"`
	Days []time.Weekday `json:"days,omitempty"` // of the beginning; none: every day
	From int            `json:"from"`           // minutes after midnight in Zone, 0-1439
	To   int            `json:"to"`             // exclusive; not after From: ends on the next day
	Zone string         `json:"zone"`           // IANA name, e.g. Europe/Berlin
	Min  int            `json:"min,omitempty"`
	Max  int            `json:"max,omitempty"` // 0: no ceiling
}

// Hand is what an operator set by `scaled set`, over the spec.
type Hand struct {
	Size  *int   `json:"size,omitempty"` // exactly this many
	Min   *int   `json:"min,omitempty"`
	Max   *int   `json:"max,omitempty"`
	Until int64  `json:"until,omitempty"` // 0: until it is taken back
	Who   string `json:"who"`
	Why   string `json:"why"`
}

// MaxSize bounds every size, whatever a policy or a sample says.
const MaxSize = 100_000

// Decide returns the size that the service should have from now on and what
// the next decision must know. It never panics and never returns a size outside
// the bounds of p; missing or absurd input never makes a service smaller.
func Decide(p Policy, s State, in Input) (Decision, State) {
	return decide(p, s, in)
}

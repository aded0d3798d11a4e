package cron

import (
	"slices"
	"time"
)

// State is all that the fleet knows of the ticks of one service: which of them are
// settled, and which run goes on. It is one document, changed by check-and-set only,
// so of two that would begin the same tick one fails.
type State struct {
	Name     string    `json:"-"`              // app/service: the key has it
	Index    uint64    `json:"-"`              // of the key, for check-and-set; 0: there is no key yet
	Schedule string    `json:"schedule"`       // zone and fields that the ticks below are of
	Since    time.Time `json:"since"`          // ticks until here were never ours
	Base     time.Time `json:"base"`           // every tick until here is settled
	Ticks    []int64   `json:"ticks"`          // settled ticks after Base, in unix seconds, sorted
	Run      *Run      `json:"run,omitempty"`  // claimed, or going on
	Last     *Run      `json:"last,omitempty"` // the one that ended last, without its output
}

// Run is one run of a service, or what became of a tick that had none.
type Run struct {
	ID      string    `json:"id"`                // sorts by time
	Tick    time.Time `json:"tick,omitzero"`     // zero: by hand
	By      string    `json:"by,omitempty"`      // who, by hand
	Node    string    `json:"node"`              //
	Release string    `json:"release,omitempty"` //
	Stage   Stage     `json:"stage,omitempty"`   // "" once it ended
	Tries   int       `json:"tries,omitempty"`   // how often it was claimed
	Missed  int       `json:"missed,omitempty"`  // earlier ticks that nobody could start
	Passed  int       `json:"passed,omitempty"`  // ticks that came while it went on, and were skipped
	Claimed time.Time `json:"claimed"`           //
	Began   time.Time `json:"began,omitzero"`    // zero: its program was never started
	Ended   time.Time `json:"ended,omitzero"`    //
	End     string    `json:"end,omitempty"`     // why it is to be ended; "": it is not
	Result  Result    `json:"result,omitempty"`  // "" while it goes on
	Code    int       `json:"code"`              // exit code of the program, where it had one
	Error   string    `json:"error,omitempty"`   // what went wrong, in words
	Lines   []string  `json:"lines,omitempty"`   // the last lines of its output
}

// Stage is how far a run is.
type Stage string

// The stages. A claimed run may be taken over by another node, since nothing was
// started. One that is running never is: its program may have done anything.
const (
	Claimed Stage = "claimed" // image and container are made ready
	Running Stage = "running" // written before the program is started
)

// Result is how a run ended.
type Result string

// The results. All but Done are failures.
const (
	Done    Result = "done"    // exit code 0
	Failed  Result = "failed"  // another exit code
	Timeout Result = "timeout" // stopped since it took too long
	Killed  Result = "killed"  // stopped for a later tick, or by somebody
	Lost    Result = "lost"    // its node went away, and what became of it is not known
	Broken  Result = "broken"  // nobody could start it
	Missed  Result = "missed"  // nobody was there in time
)

// Bad reports whether people should hear of it.
func (r Result) Bad() bool { return r != Done && r != "" }

// keepTicks is how many settled ticks are kept one by one. Clocks that are ahead
// settle ticks too early; as long as they settle fewer than this, the ticks in
// between still have their turn.
const keepTicks = 64

// near is how far ahead of this node's clock the tick of another node may be
// without doubt about clocks.
const near = 10 * time.Minute

// settled reports whether a tick had its turn: a run, or an entry that it was missed.
func (s State) settled(t time.Time) bool {
	_, found := slices.BinarySearch(s.Ticks, t.Unix())
	return found || !t.After(s.Base)
}

// floor is the newest tick that counts as the past for a clock that shows now.
func (s State) floor(now time.Time) time.Time {
	out := s.Since
	if s.Base.After(out) {
		out = s.Base
	}
	for _, t := range s.Ticks {
		if at := time.Unix(t, 0).UTC(); at.After(out) && !at.After(now.Add(near)) {
			out = at
		}
	}
	return out
}

// settle adds a tick.
func (s State) settle(t time.Time) State {
	if s.settled(t) {
		return s
	}
	list := append(slices.Clone(s.Ticks), t.Unix())
	slices.Sort(list)
	if more := len(list) - keepTicks; more > 0 {
		s.Base = time.Unix(list[more-1], 0).UTC()
		list = list[more:]
	}
	s.Ticks = list
	return s
}

// follow makes s the state of a schedule that was in force since a time: ticks of
// another schedule, and those before it was, were never ours.
func (s State) follow(schedule string, since time.Time) State {
	if s.Schedule == schedule {
		return s
	}
	s.Schedule = schedule
	if since.After(s.Since) {
		s.Since = since.UTC()
	}
	return s
}

// Claim is the state in which r is claimed.
func (s State) Claim(r Run) State {
	if !r.Tick.IsZero() {
		s = s.settle(r.Tick)
	}
	r.Stage = Claimed
	s.Run = &r
	return s
}

// Begin is the state in which the program of the claimed run may be started.
func (s State) Begin(release string, now time.Time) State {
	r := *s.Run
	r.Stage, r.Began, r.Release = Running, now.UTC(), release
	s.Run = &r
	return s
}

// Decline is the state in which a run that could not be started here is left to others.
func (s State) Decline(why string) State {
	r := *s.Run
	r.Stage, r.Began, r.Error = Claimed, time.Time{}, why
	s.Run = &r
	return s
}

// Miss is the state in which a tick had no run.
func (s State) Miss(r Run) State { return s.settle(r.Tick).Close(r) }

// Close is the state after a run has ended.
func (s State) Close(r Run) State {
	r.Stage = ""
	if s.Run != nil && s.Run.ID == r.ID {
		s.Run = nil
	}
	if s.Last == nil || s.Last.ID <= r.ID {
		brief := r
		brief.Lines = nil
		s.Last = &brief
	}
	return s
}

// Ask is the state in which the run that goes on is asked to end.
func (s State) Ask(why string) State {
	r := *s.Run
	r.End = why
	s.Run = &r
	return s
}

// Pass is the state in which a tick was skipped, since a run goes on.
func (s State) Pass(t time.Time) State {
	r := *s.Run
	r.Passed++
	s.Run = &r
	return s.settle(t)
}

// Revive is the state in which a run that was taken for lost goes on after all; false
// where another one has begun, or it is not known any more.
func (s State) Revive(r Run) (State, bool) {
	switch {
	case s.Run != nil:
		return s, s.Run.ID == r.ID && s.Run.Stage == Running
	case s.Last == nil || s.Last.ID != r.ID:
		return s, false
	}
	r.Stage, r.Result, r.Error, r.Ended = Running, "", "", time.Time{}
	s.Run = &r
	return s, true
}

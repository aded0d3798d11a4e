package cron

import (
	"fmt"
	"time"

	"svckit/lib/spec"
)

// The times by which a fleet agrees, in one place. A lock of a node that died is
// free after at most 21 s: Consul ends a session of 10 s within twice its length,
// and a second later others may have the key.
const (
	// Grace is how late a tick may begin where missed ticks are skipped: nodes that
	// hear of a new release each half a minute, and clocks that differ, fit into it.
	Grace = time.Minute
	// LostAfter is how long the lock of a run that goes on must be seen to be free
	// until the run is taken for lost: a daemon that is restarted takes it up again.
	LostAfter = 30 * time.Second
	// HandBack is how long a run that nobody began must be without a lock until
	// somebody else begins it.
	HandBack = 2 * time.Second
	// SameAgain is how long a node that could not begin a run leaves it to others.
	SameAgain = 20 * time.Second
	// MaxTries is how often a run is tried before nobody could start it.
	MaxTries = 3
	// Spread is within what time after a tick the nodes try to claim it, each at
	// another moment, so that it is not always the same node.
	Spread = 2 * time.Second
	// LookEach is how often a run that goes on elsewhere is looked at.
	LookEach = 10 * time.Second
	// LookFrozen is how often a tick that is held back by a freeze is looked at.
	LookFrozen = 15 * time.Second
)

// Input is what a decision is made from.
type Input struct {
	Now      time.Time // of this node's clock
	Schedule Schedule
	Fields   string // "ZONE FIELDS" of Schedule, to see whether the state is of another one
	Rules    spec.CronRules
	Promoted time.Time // when the release became the current one
	State    State
	Held     bool          // somebody holds the lock
	Free     time.Duration // how long this node has seen the lock free while State.Run was the same
	Node     string        // this node
	Frozen   string        // why nothing is begun now; "": it may
}

// Do is what is to be done about a service now.
type Do string

// What may be done. Each but Wait is a change of the state, and of nothing else.
const (
	Wait     Do = "wait"      // nothing; look again at Again
	Start    Do = "start"     // claim the tick and run it here
	TakeOver Do = "take over" // claim a run that another node did not begin
	Skip     Do = "skip"      // settle the tick: a run goes on
	Miss     Do = "miss"      // settle the tick: it is too late for it
	Ask      Do = "ask"       // ask the run that goes on to end
	Lose     Do = "lose"      // close the run: its node is gone
	GiveUp   Do = "give up"   // close the run: nobody can start it
)

// Decision is what to do, with its reason.
type Decision struct {
	Do     Do
	Tick   time.Time // that it is about; zero: none
	Missed int       // earlier ticks that nobody could start
	Again  time.Time // Wait: when to look again
	Reason string
	State  State // the state that it was decided on, for this schedule
}

// Decide says what this node does about a service now.
func Decide(in Input) Decision {
	d := &deciding{in: in}
	d.out.State = in.State.follow(in.Fields, in.Promoted)
	if d.out.State.Since.IsZero() {
		d.out.State.Since = in.Promoted.UTC()
	}
	d.due()
	switch run := d.out.State.Run; {
	case run == nil:
		d.idle()
	case in.Held:
		d.busy(*run)
	case run.Stage == Claimed:
		d.unbegun(*run)
	default:
		d.left(*run)
	}
	return d.out
}

type deciding struct {
	in  Input
	out Decision
	n   int // ticks that are due
}

func (d *deciding) do(what Do, format string, args ...any) {
	d.out.Do, d.out.Reason = what, fmt.Sprintf(format, args...)
}

// wait looks again after a while, or at the next tick if that comes first.
func (d *deciding) wait(most time.Duration, format string, args ...any) {
	d.do(Wait, format, args...)
	d.out.Again = d.in.Schedule.Next(d.in.Now)
	if at := d.in.Now.Add(most); most > 0 && (d.out.Again.IsZero() || d.out.Again.After(at)) {
		d.out.Again = at
	}
}

// due finds the newest tick that had no turn yet.
func (d *deciding) due() {
	s := d.out.State
	tick, n := d.in.Schedule.Last(s.floor(d.in.Now), d.in.Now)
	if n > 0 && !s.settled(tick) {
		d.out.Tick, d.n = tick, n
		d.out.Missed = n - 1
	}
}

// idle is what to do while nothing runs.
func (d *deciding) idle() {
	tick, late := d.out.Tick, d.in.Now.Sub(d.out.Tick)
	switch {
	case d.n == 0:
		d.wait(0, "no tick is due")
	case d.in.Frozen != "":
		d.wait(LookFrozen, "%s", d.in.Frozen)
	case d.waited(tick):
		d.out.Missed = 0
		d.do(Start, "it waited for the run before to end")
	case late <= Grace:
		d.do(Start, "its time has come")
	case d.in.Rules.Missed == "once" && late <= d.in.Rules.Within:
		d.do(Start, "nobody could start it for %s", late.Round(time.Second))
	case d.in.Rules.Missed == "once":
		d.do(Miss, "nobody could start it within %s", d.in.Rules.Within)
	default:
		d.do(Miss, "nobody could start it in time, and missed ticks are skipped")
	}
}

// waited reports whether a tick came while the last run went on, and was to wait for it.
func (d *deciding) waited(tick time.Time) bool {
	last := d.out.State.Last
	return d.in.Rules.Busy != "skip" && last != nil && !last.Began.IsZero() && tick.After(last.Claimed) && !tick.After(last.Ended)
}

// busy is what to do while a run goes on, by a node that holds the lock.
func (d *deciding) busy(run Run) {
	switch {
	case d.n == 0:
		d.wait(LookEach, "a run goes on at %s", run.Node)
	case d.in.Rules.Busy == "skip":
		d.do(Skip, "the run before still goes on at %s", run.Node)
	case d.in.Rules.Busy == "kill" && run.End == "":
		d.do(Ask, "the tick of %s came", d.out.Tick.Format(time.RFC3339))
	default:
		d.wait(LookEach, "it waits for the run before to end, at %s", run.Node)
	}
}

// unbegun is what to do about a run that somebody claimed and did not begin.
func (d *deciding) unbegun(run Run) {
	late := d.in.Now.Sub(run.Claimed)
	switch {
	case d.in.Free < HandBack:
		d.wait(HandBack, "%s has just given it back", run.Node)
	case run.Tick.IsZero():
		d.do(GiveUp, "who began it by hand is gone")
	case run.Tries >= MaxTries:
		d.do(GiveUp, "%d nodes could not start it", run.Tries)
	case d.in.Frozen != "":
		d.wait(LookFrozen, "%s", d.in.Frozen)
	case run.Node == d.in.Node && late < SameAgain && late > -SameAgain:
		d.wait(SameAgain-late, "it could not be started here just now")
	default:
		d.out.Tick, d.out.Missed = run.Tick, run.Missed
		d.do(TakeOver, "%s did not begin it", run.Node)
	}
}

// left is what to do about a run that goes on without a lock.
func (d *deciding) left(run Run) {
	if d.in.Free < LostAfter {
		d.wait(LookEach/2, "the lock of the run at %s is free", run.Node)
		return
	}
	d.do(Lose, "%s is away for %s, or its scaled node is", run.Node, d.in.Free.Round(time.Second))
}

// Delay is how long after a tick a node tries to claim it: another moment for each
// node and each tick, the same for the same ones.
func Delay(name, node string, tick time.Time) time.Duration {
	h := uint64(14695981039346656037) // FNV-1a, 64 bits
	for _, s := range []string{name, "\x00", node, "\x00", tick.UTC().Format(time.RFC3339)} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h ^= h >> 33 // its low bits alone follow the last bytes closely
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return time.Duration(h % uint64(Spread))
}

package scale

import "math"

// The numbers behind queues.
const (
	queueBusy  = 0.96 // share of its time that a consumer is planned to work
	queueIdle  = 0.80 // below it there are too many
	queueFull  = 1.02 // above it too few
	queueBand  = 0.10 // raises by half of this share and lowerings by this share are not worth it
	queueSlack = 5.0  // seconds' worth of messages that may lie there always
	stuckShare = 0.10 // consumers that take less than this share of what they could are stuck
	queueDrain = 90.0 // seconds, where the policy has none
)

// readBacklog turns a queue into a number of consumers:
//
//	c = λ·S/0.96 + (backlog − 5 s of λ + growth until a consumer starts) · S / drain
//
// Messages that a consumer works on are no backlog: they hold that consumer,
// which therefore may not be taken away.
func readBacklog(p Policy, st SignalState, in Input, b Backlog) view {
	v := view{state: st, why: WhyBacklog}
	v.s = messageTime(&v.state, in, b)
	lambda := b.In60
	if b.Ready > queueSlack*b.In60 && b.In10 > b.In60+3*math.Sqrt(b.In60/10) {
		lambda = b.In10 // it piles up, so the last seconds are no chance
	}
	drain := p.Drain.Seconds()
	if drain <= 0 {
		drain = queueDrain
	}
	capacity := 0.0
	if v.s > 0 {
		capacity = float64(in.Ready) / v.s
	}
	v.live = b.In60 * v.s
	v.a = lambda * v.s
	growth := max(0, lambda-capacity) * p.StartUp.Seconds()
	rest := 0.0
	if b.Ready > queueSlack*lambda {
		rest = b.Ready - queueSlack*lambda + growth
	}
	v.drain = int(min(rest*v.s/drain, MaxSize)) // rounded down: a part of a consumer only makes it a little later
	v.size, v.calm = consumers(v.a, in.Size, rest > 0), consumers(v.live, in.Size, false)
	if b.Ready+b.Unacked+b.In60 > 0 && v.size+v.drain == 0 {
		v.size = 1
	}
	v.busy = ceil(b.Unacked)
	v.rate = b.Out10
	v.full = b.Ready > queueSlack*lambda && in.Ready > 0
	taking := b.Out10 >= stuckShare*capacity
	switch {
	case b.Ready <= 0 || taking || in.Ready == 0 || v.s == 0:
		v.state.Stuck = 0
	case v.state.Stuck == 0:
		v.state.Stuck = in.At
	}
	// A consumer may be about to take its first message, or a message may be long.
	if s := v.state.Stuck; s > 0 && float64(in.At-s) >= max(2*tickOf(p), 3*v.s) {
		v.why, v.limit = WhyStuck, max(in.Size, 1)
	}
	return v
}

// consumers is the number for a Erlangs. Messages may wait a little, so the
// number stays as it is while the consumers would be busy for 80 to 102 % of
// their time and nothing piles up; else it goes to where they are for 96 %.
func consumers(a float64, now int, behind bool) int {
	busy := a / float64(max(now, 1))
	if now > 0 && !behind && busy >= queueIdle && busy <= queueFull {
		return now
	}
	return ceil(a / queueBusy)
}

// messageTime is the mean time of one message: as told, or as the consumers
// show it (Little's law: messages in work per message that is done).
func messageTime(st *SignalState, in Input, b Backlog) float64 {
	work := min(b.Unacked, float64(in.Ready))
	switch {
	case b.Service > 0:
		st.S = b.Service
	case st.Stuck > 0 || b.Out60 < b.Out10/2 || b.Out10 < b.Out60/2 || b.Out10*10 < fewRequests || work <= 0:
		// Too few, or not steady: what is known stays.
	case st.S == 0:
		st.S = work / b.Out10
	default:
		st.S += 0.05 * (work/b.Out10 - st.S)
	}
	return st.S
}

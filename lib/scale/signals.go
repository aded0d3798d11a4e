package scale

import (
	"cmp"
	"slices"
)

// freshTicks is after how many ticks a sample is too old.
const freshTicks = 3

// forgotten is after how many seconds a signal that the policy does not ask for is no longer missed.
const forgotten = 86400

// readSignals looks at every signal: those that are there and those that the
// policy asks for. Sorted by name. blind is for how many seconds the longest
// missing one of the needed signals has been missing; 0: none is.
func readSignals(p Policy, s *State, in Input) (views []view, blind int64) {
	names := slices.Clone(p.Signals)
	for _, sig := range in.Signals {
		names = append(names, sig.Name)
	}
	for _, st := range s.Signals {
		if in.At-st.Fresh < forgotten { // one that was there does not just go
			names = append(names, st.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	states := make([]SignalState, 0, len(names))
	for _, name := range names {
		st := SignalState{Name: name, Fresh: in.At}
		if at, ok := slices.BinarySearchFunc(s.Signals, name, byName); ok {
			st = s.Signals[at]
		} else {
			st.Fresh = 0
		}
		v := readSignal(p, st, in, find(in.Signals, name))
		v.name, v.state.Name = name, name
		if v.fresh {
			v.state.Fresh = in.At
			v.state.Demand = v.a
		} else if needed(p, name) {
			since := v.state.Fresh
			if since == 0 {
				since = s.First
			}
			blind = max(blind, in.At-since, 1)
		}
		states = append(states, v.state)
		views = append(views, v)
	}
	s.Signals = states
	if len(views) == 0 {
		blind = max(1, in.At-s.First)
	}
	return views, blind
}

func byName(s SignalState, name string) int { return cmp.Compare(s.Name, name) }

// needed: without a list in the policy every signal that was ever there is.
func needed(p Policy, name string) bool {
	return len(p.Signals) == 0 || slices.Contains(p.Signals, name)
}

func find(all []Signal, name string) Signal {
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return Signal{Name: name}
}

// readSignal reads one signal. A missing one keeps what was known of it.
func readSignal(p Policy, st SignalState, in Input, sig Signal) view {
	missing := view{state: st}
	age := in.At - sig.At
	usable := sig.Error == "" && sig.At > 0 && age >= -int64(freshTicks*tickOf(p)) && float64(age) <= freshTicks*tickOf(p) && sig.Coverage > 0
	if !usable || !good(sig.Coverage) {
		return missing
	}
	var v view
	switch l, b := sig.Load, sig.Backlog; {
	case l != nil && good(l.Rate1, l.Rate10, l.Rate60, l.Done10, l.Done60, l.Busy, l.Busy10, l.Busy60, l.Waiting, l.Service, l.CV2):
		v = readLoad(p, st, in, bounded(*l))
	case b != nil && good(b.Ready, b.Unacked, b.In10, b.In60, b.Out10, b.Out60, b.Service):
		v = readBacklog(p, st, in, *b)
	default:
		return missing
	}
	// What the silent nodes have is unknown: a part may raise, and never lower.
	v.fresh = sig.Coverage > 0.999
	if !good(v.a, v.live, v.s) {
		return missing
	}
	return doubted(st, v)
}

// bounded keeps the variation of service times within what was ever measured of servers.
func bounded(l Load) Load {
	l.CV2 = min(l.CV2, 25)
	return l
}

// doubted holds back a demand that is absurd beside the last one until a second
// sample says the same. What is beyond doubt counts at once.
func doubted(before SignalState, v view) view {
	limit := max(before.Demand*doubtFactor, doubtLeast)
	if before.Fresh == 0 || v.a <= limit || before.Doubt > 0 && v.a >= before.Doubt/2 && v.a <= before.Doubt*2 {
		v.state.Doubt = 0
		return v
	}
	share := limit / v.a
	doubt := v.a
	v.a, v.live = limit, min(v.live, limit)
	v.size, v.drain = int(float64(v.size)*share), int(float64(v.drain)*share)
	v.why, v.fresh = WhyDoubt, false
	v.state.S, v.state.Weight = before.S, before.Weight
	v.state.Doubt, v.state.Demand = doubt, before.Demand
	return v
}

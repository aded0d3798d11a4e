package simulate

import (
	"strconv"
	"time"

	"svckit/lib/scale"
)

// Rule plays svckit's own policy: the same Decide as the live planner.
type Rule struct {
	Policy  scale.Policy
	History *scale.History                                                        // earlier days; nil: none
	Begin   int64                                                                 // unix time of second 0; 0: 2025-06-02 00:00 UTC, a Monday
	Zones   func(zone string, at int64) (offset int, ok bool)                     // seconds east of UTC; nil: UTC only
	Journal func(p scale.Policy, s scale.State, in scale.Input, d scale.Decision) // each decision; nil: nobody asks
	Lane    bool                                                                  // the fast lane on the nodes is on

	state scale.State
	lane  scale.LaneState
	today scale.Learner
}

const monday = 1748822400 // 2025-06-02 00:00 UTC

// Every is the policy's tick.
func (r *Rule) Every() int { return max(1, int(r.Policy.Tick/time.Second)) }

// Decide asks scale.Decide.
func (r *Rule) Decide(v *View) int {
	in := r.input(v)
	d, next := scale.Decide(r.Policy, r.state, in)
	if r.Journal != nil {
		r.Journal(r.Policy, r.state, in, d)
	}
	r.state = next
	if !d.Act {
		return v.Size
	}
	return d.Size
}

// Quick asks the fast lane.
func (r *Rule) Quick(v *View) int {
	if !r.Lane || v.Queue {
		return 0
	}
	add, next := scale.Lane(r.lane, scale.LaneInput{
		At: r.at(v), Ready: v.Ready, Starting: v.Starting, Busy: v.Busy, Waiting: v.Waiting,
		Rate: v.Arrived(0, 2), Service: ratio(v.BusyMean(0, 5), 1) / max(v.Done(0, 5), 0.01), Room: room(v, r.Policy),
	})
	r.lane = next
	return add
}

func room(v *View, p scale.Policy) int {
	room := scale.MaxSize
	if p.Max > 0 {
		room = p.Max
	}
	if v.Capacity > 0 {
		room = min(room, v.Capacity)
	}
	return max(0, room-v.Size)
}

func (r *Rule) at(v *View) int64 {
	if r.Begin == 0 {
		r.Begin = monday
	}
	return r.Begin + int64(v.At)
}

func (r *Rule) input(v *View) scale.Input {
	in := scale.Input{At: r.at(v), Size: v.Size, Ready: v.Ready, Starting: v.Starting, Nodes: v.Nodes, Capacity: v.Capacity}
	signal := scale.Signal{Name: "requests", Coverage: 1}
	if v.Metrics {
		signal.At = in.At
		if v.Queue {
			signal.Name, signal.Backlog = "queue", backlog(v)
		} else {
			signal.Load = load(v)
		}
	}
	in.Signals = []scale.Signal{signal}
	for _, a := range v.Announced {
		from := r.Begin + int64(a.At)
		in.Announced = append(in.Announced, scale.Announcement{
			ID: strconv.Itoa(a.At), From: from, Until: from + int64(a.Hold), RPS: a.RPS,
		})
	}
	if r.Zones != nil {
		for _, s := range r.Policy.Schedules {
			if offset, ok := r.Zones(s.Zone, in.At); ok {
				if in.Offsets == nil {
					in.Offsets = map[string]int{}
				}
				in.Offsets[s.Zone] = offset
			}
		}
	}
	if r.History != nil {
		if l := signal.Load; l != nil && l.Done60 > 0 {
			r.today.See(in.At, l.Rate60*l.Busy60/l.Done60)
		}
		in.Expected = r.today.Expect(r.History, in.At, r.Policy.StartUp)
	}
	return in
}

func load(v *View) *scale.Load {
	return &scale.Load{
		Rate1: v.Arrived(0, 1), Rate10: v.Arrived(0, 10), Rate60: v.Arrived(0, 60), Done10: v.Done(0, 10), Done60: v.Done(0, 60),
		Busy: float64(v.Busy), Busy10: v.BusyMean(0, 10), Busy60: v.BusyMean(0, 60), Waiting: float64(v.Waiting), CV2: CV * CV,
	}
}

func backlog(v *View) *scale.Backlog {
	return &scale.Backlog{
		Ready: float64(v.Waiting), Unacked: float64(v.Busy),
		In10: v.Arrived(0, 10), In60: v.Arrived(0, 60), Out10: v.Done(0, 10), Out60: v.Done(0, 60),
	}
}

// Learn makes history of earlier days, as a planner would have seen them: the
// first of them was the day that many days before second 0.
func Learn(days []*Trace) *scale.History {
	h := &scale.History{}
	for i, t := range days {
		l := scale.Learner{}
		for s := 0; s < t.Len(); s += 60 {
			l.See(int64(monday-Day*(len(days)-i)+s), t.Erlangs(s))
		}
		h.Add(l.Today)
	}
	return h
}

package scale

// LaneInput is what an agent sees of one service on its node, each second.
type LaneInput struct {
	At       int64   `json:"at"`
	Ready    int     `json:"ready"`
	Starting int     `json:"starting"`
	Busy     int     `json:"busy"`
	Waiting  int     `json:"waiting"`
	Rate     float64 `json:"rate"`    // arrivals per second, of the last 2 s
	Service  float64 `json:"service"` // seconds, of the last 5 s
	Room     int     `json:"room"`    // workers that the node may still add
}

// LaneState is what the fast lane remembers.
type LaneState struct {
	Full int   `json:"full,omitempty"` // seconds in a row without a free worker and with waiting requests
	Last int64 `json:"last,omitempty"` // when it last added
}

// Lane is the fast lane: between two ticks of the planner an agent may add
// workers at once when none is free and more than a quarter as many requests
// wait, twice in a row. It never takes one away, and adds at most as many as
// there are, every 5 seconds. The planner sees what it did and goes on from there.
func Lane(s LaneState, in LaneInput) (int, LaneState) {
	if in.Ready <= 0 || in.Busy < in.Ready || 4*in.Waiting <= in.Ready || !good(in.Rate, in.Service) {
		s.Full = 0
		return 0, s
	}
	s.Full++
	if s.Full < 2 || in.At-s.Last < 5 {
		return 0, s
	}
	want := in.Rate*in.Service + float64(in.Waiting)*in.Service/drainTime
	add := min(ceil(want)-in.Ready-in.Starting, in.Ready, in.Room)
	if add <= 0 {
		return 0, s
	}
	s.Last = in.At
	return add, s
}

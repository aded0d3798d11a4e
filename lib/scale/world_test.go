package scale

import (
	"encoding/json"
	"testing"
	"time"
)

// noon is a Wednesday, 12:00 UTC.
const noon = 1749038400

// service is one service in a test: what it decides is carried out at once,
// unless a test says otherwise.
type service struct {
	t      *testing.T
	p      Policy
	s      State
	in     Input
	last   Decision
	demand float64 // Erlangs
	time   float64 // seconds of one request
	edit   func(*Input)
}

func policy() Policy {
	return Policy{
		Strategy: BusyRatio, Wait: 0.03, WaitOver: 100 * time.Millisecond, Min: 2, Max: 500, StartUp: 15 * time.Second,
		Down: Down{After: 5 * time.Minute, Step: 0.10}, OnBlind: BlindForecast, Tick: 5 * time.Second, Survive: "none",
	}
}

func start(t *testing.T, p Policy, demand float64) *service {
	s := &service{t: t, p: p, demand: demand, time: 0.2}
	s.in = Input{At: noon, Size: max(p.Min, StaffWait(demand, 0.03, 0.1, 0.2, 1))}
	s.run(10 * time.Minute)
	return s
}

// load is what a service without noise shows.
func (s *service) load() *Load {
	rate := s.demand / s.time
	busy := min(s.demand, float64(s.in.Ready))
	return &Load{
		Rate1: rate, Rate10: rate, Rate60: rate, Done10: busy / s.time, Done60: busy / s.time,
		Busy: busy, Busy10: busy, Busy60: busy, Waiting: max(0, s.demand-busy) * 10,
	}
}

func (s *service) tick() Decision {
	s.in.At += 5
	s.in.Ready, s.in.Starting = s.in.Size, 0
	s.in.Signals = []Signal{{Name: "requests", At: s.in.At, Coverage: 1, Load: s.load()}}
	in := s.in
	if s.edit != nil {
		s.edit(&in)
	}
	s.last, s.s = Decide(s.p, s.s, in)
	s.in.Size = s.last.Size
	return s.last
}

func (s *service) run(d time.Duration) Decision {
	for range int(d / (5 * time.Second)) {
		s.tick()
	}
	return s.last
}

func (s *service) alarm(code AlarmCode) bool {
	for _, a := range s.last.Alarms {
		if a.Code == code {
			return true
		}
	}
	return false
}

func (s *service) size(low, high int, what string) {
	s.t.Helper()
	if s.in.Size < low || s.in.Size > high {
		s.t.Errorf("%s: %d workers, expected %d to %d; %s", what, s.in.Size, low, high, s.last.Words())
	}
}

func blind(in *Input) {
	in.Signals = []Signal{{Name: "requests", Error: "connection refused"}}
}

func copyOf[T any](t *testing.T, v T) T {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

package scale

import (
	"testing"
	"time"
)

func TestTrafficThatCollapsesIsHeldUntilItIsBack(t *testing.T) {
	s := start(t, policy(), 40)
	before := s.in.Size
	s.demand = 1
	s.run(time.Minute)
	if !s.alarm(AlarmCollapse) {
		t.Fatalf("no alarm: %s", s.last.Words())
	}
	s.run(25 * time.Minute)
	s.size(before, before*3/2, "in the outage")
	s.demand = 48
	s.tick()
	s.size(54, 90, "when they come back with what they missed")
	s.run(3 * time.Minute)
	if s.alarm(AlarmCollapse) {
		t.Errorf("still on guard: %+v", s.s.Guard)
	}
	s.demand = 20
	s.run(2 * time.Hour)
	s.size(24, 29, "an hour later")
}

func TestACollapseIsBelievedAfterAnHour(t *testing.T) {
	s := start(t, policy(), 40)
	s.demand = 1
	s.run(55 * time.Minute)
	s.size(45, 60, "before")
	s.run(50 * time.Minute)
	s.size(2, 5, "after")
}

func TestWhatIsUsualIsNoCollapse(t *testing.T) {
	for _, row := range []struct {
		name  string
		fall  func(s *service)
		alarm bool
	}{
		{"an evening", func(s *service) {
			for s.demand > 6 {
				s.demand -= 0.01 * s.demand
				s.run(time.Minute)
			}
		}, false},
		{"the end of a campaign, back to the level before", func(s *service) {
			s.run(30 * time.Minute)
			s.demand = 130
			s.run(40 * time.Minute)
			s.demand = 40
			s.run(20 * time.Minute)
		}, false},
		{"history knows it", func(s *service) {
			s.p.Seasonal = true
			s.edit = func(in *Input) { in.Expected = Expected{Now: 12, Soon: 12, Days: 7} }
			s.demand = 11
			s.run(20 * time.Minute)
		}, false},
		{"a small service, by chance", func(s *service) {
			s.demand = 0.5
			s.run(2 * time.Hour)
			s.demand = 0.2
			s.run(20 * time.Minute)
			s.last.Alarms = nil
			s.demand = 0.5
			s.run(20 * time.Minute)
		}, false},
		{"a fall to a third", func(s *service) { s.demand = 12; s.run(2 * time.Minute) }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, policy(), 40)
			row.fall(s)
			if s.alarm(AlarmCollapse) != row.alarm {
				t.Errorf("%s; guard %+v", s.last.Words(), s.s.Guard)
			}
		})
	}
}

func TestFlappingDemandIsHeldOverItsDips(t *testing.T) {
	p := policy()
	s := start(t, p, 30)
	wave := func(minutes int) (changes int) {
		for i := range minutes * 12 {
			s.demand = 30
			if i/84%2 == 0 { // seven minutes
				s.demand = 17
			}
			if before := s.in.Size; s.tick().Size != before {
				changes++
			}
		}
		return changes
	}
	wave(28) // two waves to learn from
	if n := wave(120); n > 2 {
		t.Errorf("%d changes in two hours of waves; hold %v", n, s.s.Hold)
	}
	s.size(33, 45, "held")
	s.demand = 17
	s.run(4 * time.Hour)
	s.size(19, 24, "when the waves have ended")
	if s.s.Hold != 0 {
		t.Errorf("the hold is still %v", s.s.Hold)
	}
}

func TestTheFleetGuardSeesWhatOneServiceCannot(t *testing.T) {
	services := func(collapsed int, at int64) (out []FleetService) {
		for i := range 10 {
			f := FleetService{Name: string(rune('a' + i)), Workers: 10}
			if i < collapsed {
				f.Collapsed = at
			}
			out = append(out, f)
		}
		return out
	}
	var s FleetState
	large := services(2, noon-10)
	large[0].Workers = 1000
	if v, _ := Fleet(s, FleetInput{At: noon, Services: large}); v.Freeze.Mode != NotFrozen || v.Collapsed < 0.9 {
		t.Errorf("two services are no fleet, however large: %+v", v)
	}
	v, s := Fleet(s, FleetInput{At: noon, Services: services(3, noon-10)})
	if v.Freeze.Mode != NotFrozen {
		t.Errorf("30 %% is not more than 30 %%: %+v", v)
	}
	v, s = Fleet(s, FleetInput{At: noon + 5, Services: services(4, noon-10)})
	if v.Freeze.Mode != NoDown || !v.Page || v.Collapsed != 0.4 {
		t.Errorf("40 %% collapsed: %+v", v)
	}
	v, s = Fleet(s, FleetInput{At: noon + 600, Services: services(4, noon-10)})
	if v.Freeze.Mode != NoDown {
		t.Errorf("while they are down: %+v", v)
	}
	v, s = Fleet(s, FleetInput{At: noon + 700, Services: services(0, 0)})
	if v.Freeze.Mode != NoDown {
		t.Errorf("right after: %+v", v)
	}
	v, s = Fleet(s, FleetInput{At: noon + 830, Services: services(0, 0)})
	if v.Freeze.Mode != NotFrozen || s != (FleetState{}) {
		t.Errorf("two minutes after: %+v %+v", v, s)
	}

	for _, row := range []struct {
		nodes, silent int
		frozen        bool
	}{{32, 14, false}, {32, 15, true}, {6, 3, false}, {8, 4, true}, {4, 4, true}} {
		v, _ := Fleet(FleetState{}, FleetInput{At: noon, Pools: []PoolHealth{{Pool: "main", Nodes: row.nodes, Silent: row.silent}}})
		if frozen := v.Freeze.Mode == NoDown; frozen != row.frozen {
			t.Errorf("%d of %d nodes silent: frozen %v", row.silent, row.nodes, frozen)
		}
	}
}

func TestVIPServicesAreDecidedFirstAndApart(t *testing.T) {
	var all []Candidate
	for _, name := range []string{"z/vip", "b/normal", "c/normal", "a/normal"} {
		p := policy()
		p.VIP = name == "z/vip"
		c := Candidate{Name: name, Policy: p, Input: Input{At: noon, Size: 20, Ready: 20}}
		if !p.VIP {
			c.State.Guard.Since = noon - 10 // all normal ones have collapsed
		}
		all = append(all, c)
	}
	out, verdicts, _ := Pass(PassState{}, noon, all, nil)
	if len(out) != 4 || out[0].Name != "z/vip" || out[1].Name != "a/normal" || out[2].Name != "b/normal" {
		t.Errorf("order: %v", out)
	}
	if verdicts[0].Freeze.Mode != NotFrozen || verdicts[1].Freeze.Mode != NoDown {
		t.Errorf("the trouble of the normal ones reached the VIP: %+v", verdicts)
	}
}

package scale

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSchedulesAreInForceInTheirOwnZone(t *testing.T) {
	day := Schedule{Name: "day", Days: []time.Weekday{time.Wednesday}, From: 8*60 + 30, To: 18 * 60, Zone: "Asia/Tokyo", Min: 40}
	night := Schedule{Name: "night", Days: []time.Weekday{time.Tuesday}, From: 22 * 60, To: 6 * 60, Zone: "UTC", Min: 30}
	midnight := int64(noon - 12*3600) // Wednesday 00:00 UTC
	for _, row := range []struct {
		name     string
		schedule Schedule
		at       int64
		want     int
	}{
		{"a minute before, less the start-up time", day, midnight - 30*60 - 16, 2},
		{"as workers must be ordered", day, midnight - 30*60 - 15, 40},
		{"in the middle", day, midnight + 3600, 40},
		{"the last second", day, midnight + 9*3600 - 1, 40},
		{"its end is exact", day, midnight + 9*3600, 2},
		{"another day", day, midnight + 25*3600, 2},
		{"over midnight", night, midnight - 1, 30},
		{"after midnight", night, midnight + 6*3600 - 16, 30},
		{"the night of the next day", night, midnight + 23*3600, 2},
	} {
		p := policy()
		p.Schedules = []Schedule{row.schedule}
		d, _ := Decide(p, State{}, Input{At: row.at, Size: 2, Offsets: map[string]int{"Asia/Tokyo": 9 * 3600}})
		if d.Size != row.want {
			t.Errorf("%s: %d, expected %d: %s", row.name, d.Size, row.want, d.Words())
		}
	}
	p := policy()
	p.Schedules = []Schedule{day, {Name: "cap", Max: 10, From: 0, To: 0}, {Name: "low", Min: 12, Zone: "Nowhere/Land"}}
	d, _ := Decide(p, State{}, Input{At: noon, Size: 90})
	if d.Size != 40 || len(d.Alarms) != 1 || d.Alarms[0].Code != AlarmZone {
		t.Errorf("unknown zones keep their floors, which win over ceilings: %d %v", d.Size, d.Alarms)
	}
}

func TestAnnouncedLoadFindsItsWorkersReady(t *testing.T) {
	s := start(t, policy(), 20)
	from := s.in.At + 600
	s.edit = func(in *Input) {
		in.Announced = []Announcement{{ID: "7", Who: "ann", From: from, Until: from + 1800, RPS: 500}}
	}
	s.run(8 * time.Minute)
	s.size(20, 30, "long before")
	s.run(2*time.Minute - 15*time.Second)
	s.size(105, 125, "when it begins")
	s.run(20 * time.Minute)
	s.size(105, 125, "held, though nothing came")
	if !s.alarm(AlarmNoTraffic) {
		t.Errorf("alarms %v", s.last.Alarms)
	}
	s.run(time.Hour)
	s.size(20, 30, "afterwards")
}

// Requests that were announced for a service of which none was seen yet ask for nothing,
// and that is said; with the first ones that are seen they ask for all of it.
func TestAnnouncedRequestsOfUnknownLengthAskForNothingAndSaySo(t *testing.T) {
	of := policy()
	of.Min = 2
	in := Input{At: noon, Size: 2, Ready: 2, Announced: []Announcement{{ID: "7", Who: "ann", From: noon - 10, Until: noon + 1800, RPS: 500}}}
	d, _ := Decide(of, State{}, in)
	unknown := func(a Alarm) bool { return a.Code == AlarmUnknown }
	if d.Size != 2 || !slices.ContainsFunc(d.Alarms, unknown) || !strings.Contains(d.Words(), "announced-unknown: how long a request takes was never seen") {
		t.Errorf("%s, alarms %v", d.Words(), d.Alarms)
	}
	s := start(t, policy(), 20)
	s.edit = func(in *Input) {
		in.Announced = []Announcement{{ID: "7", Who: "ann", From: noon, Until: in.At + 1800, RPS: 500}}
	}
	s.run(time.Minute)
	s.size(105, 125, "once requests were seen")
	if s.alarm(AlarmUnknown) {
		t.Errorf("alarms %v", s.last.Alarms)
	}
}

// week is a history of days that rise and fall, shifted by hours and scaled.
func week(shift float64, levels ...float64) *History {
	h := &History{}
	for i, level := range levels {
		day := HistoryDay{Day: noon/86400 - int64(len(levels)-i), Demand: unseen()}
		for k := range day.Demand {
			day.Demand[k] = level * curve(float64(k*slot)/3600+shift)
		}
		h.Add(day)
	}
	return h
}

func curve(hour float64) float64 { return 25 - 18*math.Cos(2*math.Pi*(hour-3)/24) }

// learner has seen today up to noon, at a level.
func learner(level float64, shape func(hour float64) float64) *Learner {
	l := &Learner{}
	for at := int64(noon - 12*3600); at < noon; at += 60 {
		l.See(at, level*shape(float64(at%86400)/3600))
	}
	return l
}

func TestHistoryKnowsWhatIsUsual(t *testing.T) {
	sevenDays := []float64{1, 0.7, 1.3, 0.9, 1.1, 1, 0.8}
	for _, row := range []struct {
		name    string
		history *History
		today   *Learner
		now     float64 // expected; 0: history is not to be used
	}{
		{"the same curve", week(0, 1, 1, 1, 1, 1, 1, 1), learner(1, curve), curve(12)},
		{"each day at another level", week(0, sevenDays...), learner(1, curve), curve(12)},
		{"today 30 % above all", week(0, sevenDays...), learner(1.3, curve), 1.3 * curve(12)},
		{"today 30 % below all", week(0, sevenDays...), learner(0.7, curve), 0.7 * curve(12)},
		{"a holiday with hardly any traffic", week(0, sevenDays...), learner(0.3, curve), 0},
		{"a history in a wrong zone", week(9, sevenDays...), learner(1, curve), 0},
		{"today goes up and down wildly", week(0, sevenDays...), learner(1, func(h float64) float64 { return 20 + 19*math.Sin(h*12) }), 0},
		{"no history", &History{}, learner(1, curve), 0},
	} {
		e := row.today.Expect(row.history, noon, 15*time.Second)
		used := e.Soon > 0 && e.Spread <= historyRough
		if row.now == 0 {
			if used && row.name != "a history in a wrong zone" {
				t.Errorf("%s: %+v", row.name, e)
			}
			if used && e.Soon > 1.15*curve(12.1) {
				t.Errorf("%s: expects %+v, and there will be %.1f", row.name, e, curve(12.1))
			}
			continue
		}
		if !used || math.Abs(e.Now-row.now) > 0.06*row.now || e.Soon < e.Now {
			t.Errorf("%s: %+v, expected %.1f", row.name, e, row.now)
		}
	}
}

func TestHistoryIsAFloorAndNeverACeiling(t *testing.T) {
	p := policy()
	p.Seasonal = true
	for _, row := range []struct {
		name      string
		e         Expected
		low, high int
	}{
		{"more is usual soon", Expected{Now: 22, Soon: 40, Days: 7}, 40, 46},
		{"less is usual", Expected{Now: 5, Soon: 5, Days: 7}, 24, 26},
		{"it was never sure", Expected{Now: 40, Soon: 40, Spread: 0.5, Days: 7}, 24, 26},
		{"today is another day", Expected{Now: 60, Soon: 60, Days: 7}, 24, 26},
		{"no number", Expected{Now: math.NaN(), Soon: math.Inf(1)}, 24, 26},
	} {
		s := start(t, p, 20)
		s.edit = func(in *Input) { in.Expected = row.e }
		s.run(time.Minute)
		s.size(row.low, row.high, row.name)
	}
	s := start(t, p, 20)
	s.edit = func(in *Input) {
		blind(in)
		in.Expected = Expected{Now: 38, Soon: 40, Days: 7}
	}
	s.run(time.Minute)
	s.size(40, 46, "blind")
}

func TestAServiceMayHaveNoWorkersWhileNothingComes(t *testing.T) {
	p := policy()
	p.Min, p.Zero, p.ZeroAfter = 0, true, 10*time.Minute
	s := start(t, p, 0.5)
	s.demand = 0
	s.run(9 * time.Minute)
	s.size(1, 9, "before its time")
	s.run(10 * time.Minute)
	s.size(0, 0, "after it")
	s.edit = blind
	s.tick()
	if s.in.Size != 0 || !s.alarm(AlarmBlindZero) {
		t.Errorf("blind at zero: %s", s.last.Words())
	}
	s.edit, s.demand = nil, 0.5
	s.tick()
	s.size(1, 9, "the first request wakes it")

	p.Zero, p.Min = false, 0
	s = start(t, p, 1)
	s.demand = 0
	s.run(2 * time.Hour)
	s.size(1, 1, "one that may not be without")
}

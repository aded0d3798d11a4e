package simulate

import (
	"fmt"
	"math"
	"slices"

	"svckit/lib/fault"
)

// Day is the length of a generated trace in seconds.
const Day = 86400

// What the generated traces have in common.
const (
	troughRPS = 30.0 // 6 Erlangs
	peakRPS   = 200.0
	meanTime  = 0.2  // seconds
	noise     = 0.05 // relative standard deviation, AR(1)
	noiseTime = 60.0 // seconds over which noise forgets
	hour      = 3600
)

// Story is one generated trace.
type Story struct {
	Name  string
	About string
	make  func(*Trace)
}

// Stories lists the traces that Generate makes, in the order of the scoreboard.
func Stories() []Story {
	return []Story{
		{"T1", "a day with two humps: 6 to 40 Erlangs", func(*Trace) {}},
		{"T2", "an announced push: five times the load in 30 s, half-life 6 min", func(t *Trace) {
			at := 14 * hour
			t.Announced = []Announced{{At: at - 900, RPS: 5 * t.RPS[at], Hold: 1800}}
			t.surge(at, 5)
		}},
		{"T3", "the same, four times, not announced", func(t *Trace) { t.surge(14*hour, 4) }},
		{"T4", "a campaign: three times the load for 90 min", func(t *Trace) {
			t.times(14*hour, 90*60+60, func(k int) float64 { return 1 + 2*min(1, float64(k)/60, float64(90*60+60-k)/60) })
		}},
		{"T5", "an outage of the callers at the peak: 3 % for 25 min, then 120 % within 10 s", func(t *Trace) {
			at := 20*hour + 1800
			t.times(at, 25*60, func(int) float64 { return 0.03 })
			t.times(at+25*60, 600, func(k int) float64 { return 0.03 + 1.17*min(1, float64(k)/10) })
		}},
		{"T6", "two of eight nodes are lost at the peak, for an hour", func(t *Trace) {
			t.Nodes = make([]int, t.Len())
			for s := range t.Nodes {
				t.Nodes[s] = 8
				if s >= 20*hour && s < 21*hour {
					t.Nodes[s] = 6
				}
			}
		}},
		{"T7", "no metrics for 20 min while the morning rises", func(t *Trace) {
			t.Metrics = make([]bool, t.Len())
			for s := range t.Metrics {
				t.Metrics[s] = s < 8*hour+1800 || s >= 8*hour+1800+1200
			}
		}},
		{"T8", "requests take 2.5 times as long for 20 min", func(t *Trace) {
			for s := 14 * hour; s < 14*hour+1200; s++ {
				t.Service[s] *= 2.5
			}
		}},
		{"T9", "a square wave all day: 7 min at 0.7 times, 7 min at 1.26 times the load", func(t *Trace) {
			t.times(0, t.Len(), func(k int) float64 {
				if k/420%2 == 0 {
					return 0.7
				}
				return 1.26
			})
		}},
		{"Q", "a queue: 60,000 messages on top in 10 min, and 10 min of stuck consumers", func(t *Trace) {
			t.QueueIn, t.Stuck = make([]float64, t.Len()), make([]bool, t.Len())
			for s := range t.QueueIn {
				t.QueueIn[s] = t.RPS[s] / 4
				if s >= 10*hour && s < 10*hour+600 {
					t.QueueIn[s] += 100
				}
				t.Stuck[s] = s >= 15*hour && s < 15*hour+600
			}
			t.RPS = make([]float64, t.Len())
		}},
	}
}

// Generate makes one of the Stories. An unknown name is a fault of kind Usage.
func Generate(name string, seed uint64) (*Trace, error) {
	stories := Stories()
	k := slices.IndexFunc(stories, func(s Story) bool { return s.Name == name })
	if k < 0 {
		return nil, fault.New(fault.Usage, "make trace %q: expected one of T1 to T9 and Q", name)
	}
	t := plainDay(NewDice(seed, "trace "+name))
	t.Name = name
	stories[k].make(t)
	return t, nil
}

// plainDay is T1.
func plainDay(d *Dice) *Trace {
	t := &Trace{RPS: make([]float64, Day), Service: make([]float64, Day)}
	level, keep := d.Normal(), math.Exp(-1/noiseTime)
	for s := range t.RPS {
		level = keep*level + math.Sqrt(1-keep*keep)*d.Normal()
		t.RPS[s] = max(0, humps(s)*(1+noise*level))
		t.Service[s] = meanTime
	}
	return t
}

// humps is the load of the day without noise.
func humps(s int) float64 {
	bell := func(at, width float64) float64 {
		d := (float64(s)/hour - at) / width
		return math.Exp(-d * d / 2)
	}
	return troughRPS + (peakRPS-troughRPS)*(0.85*bell(11, 2.6)+bell(20.5, 2.3))
}

// surge multiplies by factor within 30 s; what is more than 1 halves every 6 minutes.
func (t *Trace) surge(at int, factor float64) {
	t.times(at, 2*hour, func(k int) float64 {
		if k < 30 {
			return 1 + (factor-1)*float64(k)/30
		}
		return 1 + (factor-1)*math.Exp2(-float64(k-30)/360)
	})
}

func (t *Trace) times(from, n int, factor func(k int) float64) {
	for k := 0; k < n && from+k < t.Len(); k++ {
		t.RPS[from+k] *= factor(k)
	}
}

// String is the name and what it is about.
func (s Story) String() string { return fmt.Sprintf("%s  %s", s.Name, s.About) }

// Week makes seven ordinary days before a trace of a seed, each with a noise of
// its own and at a level of its own, within 30 % up or down.
func Week(seed uint64) []*Trace {
	d := NewDice(seed, "week")
	var days []*Trace
	for range 7 {
		t := plainDay(d)
		level := 0.7 + 0.6*d.Float()
		t.times(0, t.Len(), func(int) float64 { return level })
		days = append(days, t)
	}
	return days
}

// Random makes a service that no story tells of, and its start-up time in
// seconds: half a day with a slow wave, noise, and up to six events: steps,
// surges, ramps, dips, slow requests and square waves.
func Random(seed uint64) (*Trace, int) {
	d := NewDice(seed, "random")
	between := func(low, high float64) float64 { return low * math.Pow(high/low, d.Float()) }
	size := between(0.7, 400)
	service := between(0.02, 2)
	startUp := int(between(5, 120))
	t := &Trace{Name: "random", RPS: make([]float64, Day/2), Service: make([]float64, Day/2)}
	depth, period, phase := 0.7*d.Float(), between(2*hour, 24*hour), d.Float()
	rough, forget := between(0.01, 0.12), between(10, 600)
	level, keep := d.Normal(), math.Exp(-1/forget)
	for s := range t.RPS {
		level = keep*level + math.Sqrt(1-keep*keep)*d.Normal()
		wave := 1 - depth*(0.5+0.5*math.Sin(2*math.Pi*(float64(s)/period+phase)))
		t.RPS[s] = max(0, size/service*wave*(1+rough*level))
		t.Service[s] = service
	}
	for n := d.Below(7); n > 0; n-- {
		t.event(d, between)
	}
	return t, startUp
}

func (t *Trace) event(d *Dice, between func(low, high float64) float64) {
	at, long := d.Below(t.Len()*9/10), int(between(120, 2*hour))
	factor, ramp := between(1.3, 5), between(1, 600)
	rise := func(k int) float64 { return min(1, float64(k)/ramp) }
	switch d.Below(6) {
	case 0: // a step that stays for a while
		t.times(at, long, func(k int) float64 { return 1 + (factor-1)*min(rise(k), rise(long-k)) })
	case 1: // a surge that fades
		t.times(at, 2*hour, func(k int) float64 { return 1 + (factor-1)*rise(k)*math.Exp2(-float64(k)/float64(long)) })
	case 2: // a dip
		t.times(at, long, func(k int) float64 { return 1 - 0.8*min(rise(k), rise(long-k)) })
	case 3: // slow requests
		for s := at; s < min(at+long, t.Len()); s++ {
			t.Service[s] *= min(factor, 3)
		}
	case 4: // a square wave
		half := int(between(60, 1800))
		t.times(at, 3*hour, func(k int) float64 { return []float64{1, min(factor, 2)}[k/half%2] })
	default: // an outage of the callers
		t.times(at, min(long, 1800), func(int) float64 { return 0.02 })
	}
}

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

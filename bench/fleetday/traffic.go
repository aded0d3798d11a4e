package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

const (
	serviceTime = 0.2              // seconds of one request
	day         = 24 * 3600        // seconds
	start       = 1_700_006_400    // a midnight
	startUp     = 15 * time.Second // of a worker
	pushAt      = 13*3600 + 20*60  // an unannounced push of a vip product
	lossAt      = 16 * 3600        // a node dies
	lossFor     = 3600             // and comes back
	workerCPU   = 250              // thousandths of a core
	nodeCPU     = 32_000           // 128 workers
	nodeMemory  = 128 << 30        // bytes
	sloWait     = 0.250            // seconds
	sloShare    = 0.05             // of requests that may wait longer
)

// load is the traffic of one service.
type load struct {
	rng   *rand.Rand
	peak  float64 // arrivals per second
	hour  float64 // of the peak
	width float64 // hours
	low   float64 // share of the peak at night
	push  float64 // factor of the push; 0: takes no part
	noise float64 // AR(1), relative
}

// at returns the arrivals per second at a second of the day.
func (l *load) at(second int) float64 {
	h := float64(second) / 3600
	away := math.Abs(h - l.hour)
	away = math.Min(away, 24-away)
	rate := l.peak * (l.low + (1-l.low)*math.Exp(-away*away/(2*l.width*l.width)))
	if l.push > 0 && second >= pushAt {
		rate *= 1 + (l.push-1)*math.Exp2(-float64(second-pushAt)/1200)
	}
	return rate
}

// step moves the noise by one tick and returns the true arrivals per second.
func (l *load) step(second int, tick float64) float64 {
	keep := math.Exp(-tick / 120)
	l.noise = keep*l.noise + math.Sqrt(1-keep*keep)*0.05*l.rng.NormFloat64()
	return math.Max(l.at(second)*(1+l.noise), 0)
}

// measured adds what counting for so many seconds adds.
func (l *load) measured(rate, seconds float64) float64 {
	n := rate * seconds
	return math.Max(n+math.Sqrt(n)*l.rng.NormFloat64(), 0) / seconds
}

// fleet makes 500 services in five pools on 32 nodes, two fifths of which belong to the free pool.
func fleet(seed uint64, tick time.Duration) (planner.Snapshot, []load) {
	r := rand.New(rand.NewPCG(seed, 17))
	s := planner.Snapshot{Schema: planner.Schema, At: start}
	type group struct {
		name     string
		class    place.Class
		services int
		home     int
		median   float64 // arrivals per second at the peak
		hour     float64
	}
	groups := []group{
		{"internal", place.Internal, 110, 3, 1.5, 11},
		{"production", place.Production, 250, 6, 4, 14.5},
		{"stable", place.Stable, 80, 2, 3, 14.5},
		{"vip-live", place.VIP, 30, 2, 30, 21},
		{"vip-shop", place.VIP, 30, 2, 30, 12.5},
	}
	node := 0
	add := func(pool string, n int) {
		for range n {
			s.Nodes = append(s.Nodes, planner.Node{Host: place.Host{
				Name: fmt.Sprintf("node%02d", node), Zone: string(rune('a' + node%2)), Pool: pool, Home: pool, CPU: nodeCPU, Memory: nodeMemory, Alive: true,
			}})
			node++
		}
	}
	var loads []load
	for _, g := range groups {
		s.Pools = append(s.Pools, place.Pool{Name: g.name, Class: g.class, Loans: 12})
		add(g.name, g.home)
		for i := range g.services {
			l := load{rng: rand.New(rand.NewPCG(seed, uint64(1000+len(loads)))), hour: g.hour + r.NormFloat64(), width: 2.5 + r.Float64(), low: 0.15 + 0.1*r.Float64()}
			l.peak = min(g.median*math.Exp(1.1*r.NormFloat64()), 150)
			if g.name == "vip-shop" && i < 10 {
				l.push = 3
			}
			loads = append(loads, l)
			s.Services = append(s.Services, planner.Service{
				Name: fmt.Sprintf("%s%03d/web", g.name, i),
				Policy: scale.Policy{
					Strategy: scale.BusyRatio, Wait: 0.01, WaitOver: 100 * time.Millisecond, Min: 2, StartUp: startUp,
					Down: scale.Down{After: 5 * time.Minute, Step: 0.15}, OnBlind: scale.BlindHold, Signals: []string{"requests"},
					Survive: "node", MinNodes: 2, VIP: g.class == place.VIP, Pool: g.name, Tick: tick,
				},
				Shape: planner.Shape{Unit: "workers", Spread: []place.Spread{place.Balanced, place.Equal}[i%2], CPU: workerCPU, Memory: int64(256+r.IntN(512)) << 20},
			})
		}
	}
	s.Pools = append(s.Pools, place.Pool{Name: "free", Class: place.Free, Reserve: 2})
	add("free", 32-node)
	return s, loads
}

// see gives every service what its nodes would report, for the true arrivals.
func see(s *planner.Snapshot, loads []load, rates []float64, ready []int) {
	for i := range s.Services {
		rate, l := rates[i], &loads[i]
		busy := math.Min(rate*serviceTime, float64(ready[i]))
		rate10, rate60 := l.measured(rate, 10), l.measured(rate, 60)
		s.Services[i].Seen = planner.Seen{Ready: ready[i], Signals: []scale.Signal{{
			Name: "requests", At: s.At, Coverage: 1,
			Load: &scale.Load{
				Rate10: rate10, Rate60: rate60, Done10: rate10, Done60: rate60,
				Busy: math.Round(busy), Busy10: rate10 * serviceTime, Busy60: rate60 * serviceTime, CV2: 1.44,
			},
		}}}
	}
}

// holds reports whether c workers keep the promise for a Erlangs: at most 5 % of requests wait over 250 ms.
func holds(c int, a float64) bool {
	if a <= 0 {
		return true
	}
	if float64(c) <= a {
		return false
	}
	return scale.ErlangC(c, a)*math.Exp(-(float64(c)-a)*sloWait/serviceTime) <= sloShare
}

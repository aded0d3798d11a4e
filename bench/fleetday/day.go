package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"svckit/lib/place"
	"svckit/lib/planner"
)

// figures is what a day was like.
type figures struct {
	held, asked, bare float64 // node-hours: of the pools; bounds from sizes asked for, and from sizes without what surviving adds
	workers           float64 // worker-hours
	moves             []int   // of each hour
	inHour            []float64
	lossPairs         int // services × nodes that were looked at
	lossBad           int // where the loss of the node would break the promise
	slo, minutes      float64
	borrowed          int // seconds from the push until the vip services have 90 % of what they need
	loans, returns    int
	short             int // passes in which somebody went short
	vipShort          int
	passes            int
	took              time.Duration
	slowest           time.Duration
	lossSLO           float64 // service-minutes over the promise in the 10 minutes after a node was lost
}

// run lives through one day.
func run(seed uint64, tick time.Duration, hours int, now func() time.Time) figures {
	s, loads := fleet(seed, tick)
	var f figures
	f.moves, f.inHour = make([]int, hours), make([]float64, hours)
	f.borrowed = -1
	seconds := int(tick / time.Second)
	rates, ready := make([]float64, len(loads)), make([]int, len(loads))
	index := map[string]int{}
	for i := range s.Services {
		index[s.Services[i].Name] = i
	}
	placed := make([]int, len(loads))
	for second := -4 * 3600; second < hours*3600; second += seconds { // some hours to settle
		s.At = start + int64(second)
		for i := range loads {
			rates[i] = loads[i].step((second+day)%day, float64(seconds))
		}
		for i := range s.Nodes {
			if s.Nodes[i].Name == "node05" {
				s.Nodes[i].Alive = second < lossAt || second >= lossAt+lossFor
			}
		}
		f.lose(&s, index, placed)
		copy(ready, placed) // what was ordered a tick ago, 15 s or more, serves
		see(&s, loads, rates, ready)
		began := now()
		p := planner.Decide(s)
		took := now().Sub(began)
		s = planner.After(s, p)
		clear(placed)
		for _, x := range s.Placed {
			placed[index[x.Name]] += x.Count
		}
		if second < 0 {
			continue
		}
		f.took, f.slowest, f.passes = f.took+took, max(f.slowest, took), f.passes+1
		f.count(&s, &p, second/3600, float64(seconds)/3600)
		f.promise(rates, ready, seconds, second)
		if second%1800 == 0 {
			f.losses(&s, index, rates)
		}
		f.push(loads, rates, ready, second)
	}
	return f
}

// lose takes what ran on nodes that are gone out of what serves.
func (f *figures) lose(s *planner.Snapshot, index map[string]int, placed []int) {
	for _, n := range s.Nodes {
		if n.Alive {
			continue
		}
		for _, x := range s.Placed {
			if x.Node == n.Name {
				placed[index[x.Name]] -= x.Count
			}
		}
	}
}

func (f *figures) count(s *planner.Snapshot, p *planner.Plan, hour int, hours float64) {
	nodes := map[string]int{}
	for _, n := range s.Nodes {
		if n.Alive {
			nodes[n.Pool]++
		}
	}
	pools := map[string]string{}
	memory := map[string]int64{}
	for i := range s.Services {
		pools[s.Services[i].Name], memory[s.Services[i].Name] = s.Services[i].Policy.Pool, s.Services[i].Shape.Memory
	}
	workers := 0
	need := map[string][]part{}
	for i := range p.Services {
		x := &p.Services[i]
		need[pools[x.Name]] = append(need[pools[x.Name]], part{x.Decision.Size, x.Remain, memory[x.Name]})
		workers += p.Place.Services[i].Total
	}
	for pool, n := range nodes {
		if pool == "free" {
			continue
		}
		f.held += float64(n) * hours
		f.asked += float64(bound(need[pool], true)) * hours
		f.bare += float64(bound(need[pool], false)) * hours
	}
	f.workers += float64(workers) * hours
	f.moves[hour] += p.Place.Moves
	f.inHour[hour] += float64(workers) * hours
	for _, l := range p.Place.Loans {
		switch l.Kind {
		case place.Borrow:
			f.loans++
		case place.Return:
			f.returns++
		}
	}
	if len(p.Place.Short) > 0 {
		f.short++
		if slices.ContainsFunc(p.Place.Short, func(x place.Shortage) bool { return x.VIP }) {
			f.vipShort++
		}
	}
}

// part is what one service asks of placement.
type part struct {
	size, remain int
	memory       int64
}

// wanted is how many nodes full of workers the services need when they may be
// on n nodes: fewer nodes need more workers for the same to be left after a loss.
func wanted(parts []part, n int) float64 {
	var cpu, memory int64
	for _, x := range parts {
		w := x.size
		if n > 1 {
			w = max(w, x.remain+(x.remain+n-2)/(n-1))
		}
		cpu, memory = cpu+int64(w)*workerCPU, memory+int64(w)*x.memory
	}
	return math.Max(float64(cpu)/nodeCPU, float64(memory)/nodeMemory)
}

// bound is the fewest nodes that could hold the services if workers were
// liquid: the bin-packing bound. With survive, each must have enough left after
// the loss of any one node, which takes two nodes and the more workers the fewer they are.
func bound(parts []part, survive bool) int {
	if !survive {
		for i := range parts {
			parts[i].remain = 0
		}
		return int(math.Ceil(wanted(parts, 1)))
	}
	n := 2
	for wanted(parts, n) > float64(n) {
		n++
	}
	return n
}

// promise counts the service-minutes over the promise.
func (f *figures) promise(rates []float64, ready []int, seconds, second int) {
	for i, rate := range rates {
		f.minutes += float64(seconds) / 60
		if !holds(ready[i], rate*serviceTime) {
			f.slo += float64(seconds) / 60
			if second >= lossAt && second < lossAt+600 {
				f.lossSLO += float64(seconds) / 60
			}
		}
	}
}

// losses looks at what the loss of each node would leave, without any action.
func (f *figures) losses(s *planner.Snapshot, index map[string]int, rates []float64) {
	total := make([]int, len(rates))
	for _, x := range s.Placed {
		total[index[x.Name]] += x.Count
	}
	for _, x := range s.Placed {
		i := index[x.Name]
		f.lossPairs++
		if !holds(total[i]-x.Count, rates[i]*serviceTime) {
			f.lossBad++
		}
	}
}

// push measures how long the services of the pushed product wait for their workers.
func (f *figures) push(loads []load, rates []float64, ready []int, second int) {
	if second < pushAt || f.borrowed >= 0 {
		return
	}
	need, has := 0.0, 0.0
	for i := range loads {
		if loads[i].push > 0 {
			need += rates[i] * serviceTime
			has += math.Min(float64(ready[i]), rates[i]*serviceTime+1)
		}
	}
	if has >= 0.9*need && second > pushAt {
		f.borrowed = second - pushAt
	}
}

// write prints the rows of a day.
func (f figures) write(w io.Writer, seed uint64) {
	worst, sum, hours := 0.0, 0, 0.0
	for h := range f.moves {
		if f.inHour[h] > 0 {
			worst = math.Max(worst, float64(f.moves[h])/f.inHour[h])
		}
		sum += f.moves[h]
		hours++
	}
	fmt.Fprintf(w, "| %d | %.0f | %.3f | %.3f | %.0f | %.2f%% | %.2f%% | %d/%d | %ds | %.4f%% | %.1f | %d/%d | %.3f%% | %d/%d | %.1f / %.1f ms |\n",
		seed, f.held, f.held/f.asked, f.held/f.bare, f.workers/hours, 100*float64(sum)/f.workers, 100*worst, f.loans, f.returns, f.borrowed,
		100*f.slo/f.minutes, f.lossSLO, f.lossBad, f.lossPairs, 100*float64(f.lossBad)/float64(f.lossPairs), f.short, f.vipShort,
		float64(f.took.Microseconds())/1000/float64(f.passes), float64(f.slowest.Microseconds())/1000)
}

package place

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// large makes a fleet of so many services and nodes in pools of 16 nodes and
// more, about three quarters full, and places it.
func large(services, nodes int) Input {
	r := rand.New(rand.NewPCG(1, 2))
	in := Input{At: 1_700_000_000}
	pools := max(nodes/100, 2)
	for p := range pools {
		in.Pools = append(in.Pools, Pool{Name: fmt.Sprintf("pool%02d", p), Class: Production, Loans: 8})
	}
	in.Pools = append(in.Pools, Pool{Name: "free", Class: Free, Reserve: 2})
	for i := range nodes {
		pool := fmt.Sprintf("pool%02d", i%pools)
		if i/pools%20 == 0 {
			pool = "free"
		}
		in.Hosts = append(in.Hosts, Host{
			Name: fmt.Sprintf("node%04d", i), Zone: fmt.Sprintf("z%d", i%3), Pool: pool, CPU: 32_000, Memory: 128 << 30, Alive: true,
		})
	}
	for i := range services {
		size := 1 + int(r.ExpFloat64()*float64(nodes)*32/float64(services)*1.6)
		d := Demand{
			Name: fmt.Sprintf("app%05d/web", i), Unit: "workers", Size: size, Min: 1, Remain: size * 5 / 6, MinNodes: 2,
			Spread: []Spread{Equal, Balanced, Balanced}[i%3], Survive: []Survive{Node, Node, None, Zone}[i%4],
			CPU: 300, Memory: 512 << 20, Pool: fmt.Sprintf("pool%02d", i%pools), VIP: i%20 == 0,
		}
		in.Demands = append(in.Demands, d)
	}
	return in
}

func benchmarkDecide(b *testing.B, in Input) {
	b.ReportAllocs()
	var p Plan
	began, rounds := used(b), 0
	for b.Loop() {
		rounds++
		p = Decide(in)
	}
	b.StopTimer()
	b.ReportMetric(float64((used(b)-began).Microseconds())/1000/float64(rounds), "cpu-ms/op")
	n := 0
	for _, s := range p.Services {
		for _, t := range s.Nodes {
			n += min(t.Want, 1)
		}
	}
	b.ReportMetric(float64(n), "placements")
	b.ReportMetric(float64(len(p.Short)), "short")
	b.ReportMetric(float64(p.Moves), "moves")
	b.ReportMetric(peakOf(b), "peak-MiB")
}

func BenchmarkDecide(b *testing.B) {
	for _, size := range []struct{ services, nodes int }{{500, 32}, {10_000, 2000}} {
		cold := large(size.services, size.nodes)
		settled := After(cold, Decide(cold))
		changed := settled
		changed.Demands = append([]Demand{}, settled.Demands...)
		for i := 0; i < len(changed.Demands); i += 100 {
			changed.Demands[i].Size += 2
		}
		lost := settled
		lost.Hosts = append([]Host{}, settled.Hosts...)
		lost.Hosts[len(lost.Hosts)-1].Alive = false
		crowded := settled // wants a third more than there is
		crowded.Demands = append([]Demand{}, settled.Demands...)
		for i := range crowded.Demands {
			crowded.Demands[i].Size *= 2
		}
		name := fmt.Sprintf("%dx%d/", size.services, size.nodes)
		b.Run(name+"cold", func(b *testing.B) { benchmarkDecide(b, cold) })
		b.Run(name+"settled", func(b *testing.B) { benchmarkDecide(b, settled) })
		b.Run(name+"one_percent_changed", func(b *testing.B) { benchmarkDecide(b, changed) })
		b.Run(name+"crowded", func(b *testing.B) { benchmarkDecide(b, crowded) })
		b.Run(name+"node_lost", func(b *testing.B) { benchmarkDecide(b, lost) })
	}
}

// used is the processor time of this process: on a machine that others use too it says more than the clock.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakOf is the most memory that the process had so far, in MiB.
func peakOf(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Maxrss) / 1024
}

package planner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"svckit/lib/place"
)

// large is a fleet of so many services and nodes.
func large(services, nodes int) Snapshot {
	r := rand.New(rand.NewPCG(3, 4))
	pools := max(nodes/100, 2)
	s := Snapshot{Schema: Schema, At: noon, Pools: []place.Pool{{Name: "free", Class: place.Free, Reserve: 1}}}
	for p := range pools {
		s.Pools = append(s.Pools, place.Pool{Name: fmt.Sprintf("pool%02d", p), Loans: 4})
	}
	for i := range nodes {
		pool := fmt.Sprintf("pool%02d", i%pools)
		if i/pools%20 == 0 {
			pool = "free"
		}
		s.Nodes = append(s.Nodes, Node{Host: place.Host{Name: fmt.Sprintf("node%04d", i), Zone: fmt.Sprintf("z%d", i%3), Pool: pool, CPU: 32_000, Memory: 128 << 30, Alive: true}})
	}
	for i := range services {
		v := service(fmt.Sprintf("app%05d/web", i), fmt.Sprintf("pool%02d", i%pools), 1+r.ExpFloat64()*float64(nodes)/float64(services)*150, 4)
		v.Policy.VIP, v.Policy.Survive = i%20 == 0, []string{"node", "node", "none", "zone"}[i%4]
		v.Shape.Spread, v.Shape.CPU = []place.Spread{place.Equal, place.Balanced}[i%2], 300
		s.Services = append(s.Services, v)
	}
	return s
}

func BenchmarkPass(b *testing.B) {
	for _, size := range []struct{ services, nodes int }{{500, 32}, {10_000, 2000}} {
		cold := large(size.services, size.nodes)
		warm := cold
		for range 2 {
			warm = After(warm, Decide(warm))
			warm.At += 5
			for i := range warm.Services {
				warm.Services[i].Seen.Signals = slices.Clone(warm.Services[i].Seen.Signals)
				warm.Services[i].Seen.Signals[0].At = warm.At
			}
		}
		changed := warm
		changed.Services = slices.Clone(warm.Services)
		for i := 0; i < len(changed.Services); i += 100 {
			v := &changed.Services[i]
			l := *v.Seen.Signals[0].Load
			l.Rate10, l.Rate60 = 2*l.Rate10, 2*l.Rate60
			v.Seen.Signals = slices.Clone(v.Seen.Signals)
			v.Seen.Signals[0].Load = &l
		}
		for _, row := range []struct {
			name string
			s    Snapshot
		}{{"cold", cold}, {"settled", warm}, {"one_percent_changed", changed}} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.services, size.nodes, row.name), func(b *testing.B) {
				b.ReportAllocs()
				var p Plan
				began, n := used(b), 0
				for b.Loop() {
					n++
					p = Decide(row.s)
				}
				cpu, peak := used(b)-began, peakOf(b)
				b.ReportMetric(float64(cpu.Microseconds())/1000/float64(n), "cpu-ms/op")
				b.ReportMetric(peak, "peak-MiB")
				b.ReportMetric(float64(len(p.Place.Short)), "short")
				steps := 0
				for _, w := range p.Place.Waves {
					steps += len(w)
				}
				b.ReportMetric(float64(steps), "steps")
			})
		}
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

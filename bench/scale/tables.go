package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"svckit/lib/simulate"
)

// series is one figure over the seeds.
type series []float64

func (s series) mean() float64 {
	sum := 0.0
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}

// interval is half of the 95 % interval of the mean (Student).
func (s series) interval() float64 {
	n := len(s)
	if n < 2 {
		return 0
	}
	m, sum := s.mean(), 0.0
	for _, v := range s {
		sum += (v - m) * (v - m)
	}
	return student(n-1) * math.Sqrt(sum/float64(n-1)/float64(n))
}

// student is the 97.5 % quantile of Student's distribution, by Cornish and Fisher's expansion.
func student(df int) float64 {
	z, n := 1.959964, float64(df)
	return z + (z*z*z+z)/(4*n) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*n*n)
}

func (s series) text(digits int) string {
	if len(s) == 0 || s.mean() < 0 { // below 0: there is none
		return "-"
	}
	if i := s.interval(); i >= math.Pow10(-digits)/2 {
		return fmt.Sprintf("%.*f ± %.*f", digits, s.mean(), digits, i)
	}
	return fmt.Sprintf("%.*f", digits, s.mean())
}

type figure struct {
	title  string
	digits int
	of     func(r run) float64
}

func figures() []figure {
	return []figure{
		{"SLO minutes (95th percentile of the wait over 250 ms)", 1, func(r run) float64 { return float64(r.Result.SLOMinutes) }},
		{"Late requests in % (wait over 0.5 s, or timed out)", 3, func(r run) float64 { return r.Result.LatePercent() }},
		{"Cost (paid worker-seconds / oracle)", 2, func(r run) float64 { return r.Result.Paid / r.Oracle }},
		{"Actions", 0, func(r run) float64 { return float64(r.Result.Actions) }},
		{"Changes of direction", 0, func(r run) float64 { return float64(r.Result.Turns) }},
		{"Seconds from a step of demand to 90 % of the workers that it needs", 0, func(r run) float64 { return r.Result.Reaction }},
	}
}

// tables prints the scoreboard as markdown.
func tables(out io.Writer, o options, known map[string]run) {
	fmt.Fprintf(out, "%s; seeds %d to %d; mean ± 95 %% interval\n\n", version(), o.first, o.first+o.seeds-1)
	summary(out, o, known)
	for _, f := range figures() {
		matrix(out, o, known, f)
	}
	queue(out, o, known)
}

func webTraces(o options) (names []string) {
	for _, name := range o.names() {
		if name != "Q" {
			names = append(names, name)
		}
	}
	return names
}

// each collects a figure of a policy over the seeds: f adds up or averages one seed's traces.
func each(o options, known map[string]run, policy string, traces []string, f func([]run) float64) (s series) {
	for seed := o.first; seed < o.first+o.seeds; seed++ {
		var runs []run
		for _, name := range traces {
			if r, ok := known[run{Policy: policy, Trace: name, Seed: seed}.key()]; ok {
				runs = append(runs, r)
			}
		}
		if len(runs) == len(traces) {
			s = append(s, f(runs))
		}
	}
	return s
}

func summary(out io.Writer, o options, known map[string]run) {
	traces := webTraces(o)
	if len(traces) == 0 {
		return
	}
	total := func(of func(r run) float64) func([]run) float64 {
		return func(runs []run) float64 {
			sum := 0.0
			for _, r := range runs {
				sum += of(r)
			}
			return sum
		}
	}
	fs := figures()
	fmt.Fprintf(out, "### %s together\n\n| policy | seeds | SLO minutes | cost, mean | actions | turns | what it is |\n|---|---|---|---|---|---|---|\n", strings.Join(traces, ", "))
	for _, c := range append(contenders(), contender{name: "oracle", about: "knows the future", web: true}) {
		slo := each(o, known, c.name, traces, total(fs[0].of))
		if len(slo) == 0 {
			continue
		}
		cost := each(o, known, c.name, traces, func(r []run) float64 { return total(fs[2].of)(r) / float64(len(r)) })
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s |\n", c.name, len(slo), slo.text(1), cost.text(3),
			each(o, known, c.name, traces, total(fs[3].of)).text(0), each(o, known, c.name, traces, total(fs[4].of)).text(0), c.about)
	}
	fmt.Fprintln(out)
}

func matrix(out io.Writer, o options, known map[string]run, f figure) {
	traces := webTraces(o)
	if len(traces) == 0 {
		return
	}
	fmt.Fprintf(out, "### %s\n\n| policy | %s |\n|---|%s\n", f.title, strings.Join(traces, " | "), strings.Repeat("---|", len(traces)))
	for _, c := range append(contenders(), contender{name: "oracle", web: true}) {
		var cells []string
		some := false
		for _, name := range traces {
			s := each(o, known, c.name, []string{name}, func(r []run) float64 { return f.of(r[0]) })
			some = some || len(s) > 0
			cells = append(cells, s.text(f.digits))
		}
		if some {
			fmt.Fprintf(out, "| %s | %s |\n", c.name, strings.Join(cells, " | "))
		}
	}
	fmt.Fprintln(out)
}

func queue(out io.Writer, o options, known map[string]run) {
	head := false
	for _, c := range append(contenders(), contender{name: "oracle"}) {
		get := func(of func(r simulate.Result) float64) series {
			return each(o, known, c.name, []string{"Q"}, func(r []run) float64 { return of(r[0].Result) })
		}
		cost := get(func(r simulate.Result) float64 { return r.Paid / r.Work })
		if len(cost) == 0 {
			continue
		}
		if !head {
			fmt.Fprint(out, "### Q\n\n| policy | paid / work | actions | turns | longest queue | left at the end | consumers killed |\n|---|---|---|---|---|---|---|\n")
			head = true
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s | %s |\n", c.name, cost.text(2),
			get(func(r simulate.Result) float64 { return float64(r.Actions) }).text(0), get(func(r simulate.Result) float64 { return float64(r.Turns) }).text(0),
			get(func(r simulate.Result) float64 { return float64(r.MostQueued) }).text(0), get(func(r simulate.Result) float64 { return float64(r.Drained) }).text(0),
			get(func(r simulate.Result) float64 { return float64(r.Killed) }).text(0))
	}
	fmt.Fprintln(out)
}

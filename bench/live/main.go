// Command live measures the autoscaler at work, with real parts:
//
//	many   a planner of 500 services on 32 simulated nodes, over a real Consul
//	react  from a step of the load to the workers that it needs, beside containers
//	days   traces played on real gunicorns, beside a static size
//	cost   processor time of the daemon of a node
//
// `make bench-live` runs it in a lab, in about 12 minutes. The machine should do
// nothing else meanwhile.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	only := flag.String("only", "many,react,days,cost", "measure these parts alone")
	runs := flag.Int("runs", 2, "runs of each reaction")
	pace := flag.Float64("pace", 1, "play traces so many times faster: for a trial of the programs, not for figures")
	flag.Parse()
	if err := bench(strings.Split(*only, ","), *runs, *pace); err != nil {
		fmt.Fprintf(os.Stderr, "bench-live: %v\n", err)
		os.Exit(1)
	}
}

func bench(parts []string, runs int, pace float64) error {
	if slices.Contains(parts, "many") {
		if err := many(pace); err != nil {
			return fmt.Errorf("many: %w", err)
		}
	}
	if !slices.ContainsFunc(parts, func(p string) bool { return p != "many" }) {
		return nil
	}
	g, err := newGround(runs)
	if err != nil {
		return err
	}
	defer g.close()
	for _, p := range []struct {
		name string
		run  func() error
	}{
		{"react", func() error { return g.react(runs) }},
		{"days", func() error { return g.days(pace) }},
		{"cost", g.cost},
	} {
		if !slices.Contains(parts, p.name) {
			continue
		}
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", p.name, err, g.said())
		}
	}
	return nil
}

// quantile of values, 0 without any.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

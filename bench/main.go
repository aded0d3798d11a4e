// Command bench compares svckit with the plain tools that it stands beside, on
// the same engine, agent and registry, in turn, in one run:
//
//	svc-run up                 docker run -d, and a registration by curl
//	svc-build --push           docker build and docker push
//	svc-reload --source        docker restart, and docker-compose up with new containers
//
// The machine may be noisy, so what counts is the ratio within a pair; the table
// shows its median with the lowest and the highest.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	runs := flag.Int("runs", 7, "pairs for each row")
	only := flag.String("only", "", "measure `start` or `reload` alone")
	flag.Parse()
	if err := bench(*runs, *only); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func bench(runs int, only string) error {
	g, err := newGround()
	if err != nil {
		return err
	}
	defer g.close()
	if only != "reload" {
		if err := g.startBench(runs); err != nil {
			return err
		}
	}
	if only != "start" {
		return g.reloadBench(runs)
	}
	return nil
}

// startBench measures starts and builds, in pairs.
func (g *ground) startBench(runs int) error {
	rows := []struct {
		name string
		a, b func(n int) error // ours, theirs
		tidy func() error      // after each of both, not counted
	}{
		{"start a ready image: svc-run up / docker run + register", g.up, g.dockerRun, g.down},
		{"build and push, nothing cached: svc-build --push / docker build + push", g.buildCold, g.dockerBuildCold, nil},
		{"build and push, code changed: svc-build --push / docker build + push", g.buildChanged, g.dockerBuildChanged, nil},
		{"build and push, nothing changed: svc-build --push / docker build + push", g.buildWarm, g.dockerBuildWarm, nil},
	}
	fmt.Printf("| what (ours / theirs) | ours, median s | theirs, median s | ratio, median | lowest | highest |\n|---|---|---|---|---|---|\n")
	for _, row := range rows {
		var ours, theirs, ratios []float64
		for n := range runs + 1 {
			a, err := timed(row.a, n, row.tidy)
			if err != nil {
				return fmt.Errorf("%s: ours: %w", row.name, err)
			}
			b, err := timed(row.b, n, row.tidy)
			if err != nil {
				return fmt.Errorf("%s: theirs: %w", row.name, err)
			}
			if n == 0 {
				continue // warms up both
			}
			ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
		}
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", row.name, median(ours), median(theirs), median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
	return nil
}

// timed returns the seconds of f; what tidies up is not counted.
func timed(f func(int) error, n int, tidy func() error) (float64, error) {
	began := time.Now()
	err := f(n)
	took := time.Since(began).Seconds()
	if tidy != nil {
		if terr := tidy(); err == nil {
			err = terr
		}
	}
	return took, err
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

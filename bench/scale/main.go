// Command scale is the scoreboard of the scaling rule: svckit and its peers on
// the same requests, trace by trace and seed by seed. It prints the tables of
// docs/scaling.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

func main() {
	o := options{}
	flag.IntVar(&o.seeds, "seeds", 20, "seeds of each trace")
	flag.IntVar(&o.first, "first", 1, "first of the seeds: several processes may share the work, and then their files")
	flag.StringVar(&o.traces, "traces", "T1,T2,T3,T4,T5,T6,T7,T8,T9,Q", "traces to play")
	flag.StringVar(&o.only, "only", "", "policies to play; empty: all; none: print what -keep has")
	flag.StringVar(&o.keep, "keep", "", "file of results: what it has is not played again, what is played is added")
	flag.IntVar(&o.heldOut, "held-out", 0, "play this many random services instead of the traces")
	flag.Parse()
	if err := board(o); err != nil {
		fmt.Fprintf(os.Stderr, "scale: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	seeds, first, heldOut int
	traces, only, keep    string
}

func (o options) names() []string { return strings.Split(o.traces, ",") }

func (o options) wants(policy string) bool {
	if o.only == "" {
		return true
	}
	for _, name := range strings.Split(o.only, ",") {
		if name == policy {
			return true
		}
	}
	return false
}

// version says what was measured with.
func version() string {
	v := runtime.Version() + " " + runtime.GOARCH
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += fmt.Sprintf(", commit %.12s", s.Value)
			}
		}
	}
	return v
}

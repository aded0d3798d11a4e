package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"svckit/bench/peers"
	"svckit/lib/scale"
	"svckit/lib/simulate"
	"svckit/lib/spec"
)

// run is one policy on one trace with one seed.
type run struct {
	Policy string          `json:"policy"`
	Trace  string          `json:"trace"`
	Seed   int             `json:"seed"`
	Result simulate.Result `json:"result"`
	Oracle float64         `json:"oracle"` // worker-seconds of the oracle
	Share  float64         `json:"share"`  // of requests that the oracle lets wait
}

func (r run) key() string { return fmt.Sprintf("%s %s %d", r.Policy, r.Trace, r.Seed) }

// contender is a policy of the scoreboard.
type contender struct {
	name  string
	about string
	queue bool
	web   bool
	make  func(t *simulate.Trace, usual func() []*simulate.Trace, startUp int) simulate.Controller
}

// ours is svckit as it is recommended: the same policy for every trace.
func ours() []contender {
	rule := func(history, lane bool) func(*simulate.Trace, func() []*simulate.Trace, int) simulate.Controller {
		return func(t *simulate.Trace, usual func() []*simulate.Trace, startUp int) simulate.Controller {
			r := &simulate.Rule{Policy: recommended(t, startUp), Lane: lane}
			if history {
				r.History = simulate.Learn(usual())
			}
			return r
		}
	}
	return []contender{
		{"svckit", "without history: the first day of a service", true, true, rule(false, true)},
		{"svckit-history", "with seven earlier days, each at a level of its own", false, true, rule(true, true)},
		{"svckit-planner", "without history and without the fast lane on the nodes", false, true, rule(false, false)},
	}
}

// recommended is the policy of the documentation's example.
func recommended(t *simulate.Trace, startUp int) scale.Policy {
	p := scale.FromSpec(spec.Scale{
		Strategy: "busy_ratio", Wait: 0.03, WaitOver: 100 * time.Millisecond, Min: 1, MinNodes: 1, Survive: "none",
		Down: spec.ScaleDown{After: 10 * time.Minute, Step: 0.10}, StartUp: time.Duration(startUp) * time.Second,
		OnBlind: "forecast", Seasonal: true, Drain: 90 * time.Second,
	})
	if t.Queue() {
		p.Strategy, p.Wait, p.WaitOver, p.Down.After = scale.Queue, 0, 0, 6*time.Minute
	}
	return p
}

func contenders() []contender {
	all := ours()
	for _, p := range peers.All() {
		all = append(all, contender{p.Name, p.About, p.Queue, p.Web, func(t *simulate.Trace, usual func() []*simulate.Trace, startUp int) simulate.Controller {
			w := peers.World{Trace: t, Service: t.Service[0], StartUp: startUp}
			if p.Name == "static" && usual != nil && !t.Queue() {
				days := usual()
				w.Usual = days[len(days)-1]
			}
			return p.New(w)
		}})
	}
	return all
}

// board plays everything and prints the tables.
func board(o options) error {
	if o.heldOut > 0 {
		return heldOut(o)
	}
	known, err := load(o.keep)
	if err != nil {
		return err
	}
	if o.only == "none" {
		tables(os.Stdout, o, known)
		return nil
	}
	shares := map[string]float64{}
	for seed := o.first; seed < o.first+o.seeds; seed++ {
		week := sync.OnceValue(func() []*simulate.Trace { return simulate.Week(uint64(seed)) })
		for _, name := range o.names() {
			runs, err := play(o, name, seed, known, shares, week)
			if err != nil {
				return err
			}
			if err := save(o.keep, runs); err != nil {
				return err
			}
			for _, r := range runs {
				known[r.key()] = r
			}
		}
		fmt.Fprintf(os.Stderr, "seed %d of %d to %d\n", seed, o.first, o.first+o.seeds-1)
	}
	tables(os.Stdout, o, known)
	return nil
}

// play plays what is missing of one trace and seed.
func play(o options, name string, seed int, known map[string]run, shares map[string]float64, week func() []*simulate.Trace) ([]run, error) {
	t, err := simulate.Generate(name, uint64(seed))
	if err != nil {
		return nil, err
	}
	var todo []contender
	oracle := run{Policy: "oracle", Trace: name, Seed: seed}
	old, hasOracle := known[oracle.key()]
	for _, c := range contenders() {
		r := run{Policy: c.name, Trace: name, Seed: seed}
		if _, have := known[r.key()]; !have && o.wants(c.name) && (t.Queue() && c.queue || !t.Queue() && c.web) {
			todo = append(todo, c)
		}
	}
	if len(todo) == 0 && hasOracle {
		return nil, nil
	}
	work := simulate.Draw(t, uint64(seed))
	setup := simulate.Setup{NodeSlots: 8, Seed: uint64(seed)}
	var out []run
	if hasOracle {
		oracle = old
	} else {
		oracle.Result, oracle.Share = simulate.RunOracle(work, setup, shares[name])
		oracle.Oracle = oracle.Result.Paid
		if t.Queue() {
			oracle.Oracle = oracle.Result.Work // a queue's cost is compared with its work
		}
		shares[name] = oracle.Share
		out = append(out, oracle)
	}
	for _, c := range todo {
		r := run{Policy: c.name, Trace: name, Seed: seed, Oracle: oracle.Oracle, Share: oracle.Share}
		r.Result = simulate.Run(work, setup, c.make(t, week, 15), nil)
		out = append(out, r)
	}
	return out, nil
}

func load(file string) (map[string]run, error) {
	known := map[string]run{}
	if file == "" {
		return known, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r run
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		known[r.key()] = r
	}
	return known, lines.Err()
}

func save(file string, runs []run) error {
	if file == "" || len(runs) == 0 {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, r := range runs {
		if err := enc.Encode(r); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}

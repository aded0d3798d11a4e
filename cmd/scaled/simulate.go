package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // zones of schedules, also where the machine has none

	"github.com/urfave/cli/v2"

	"svckit/bench/peers"
	"svckit/lib/fault"
	"svckit/lib/scale"
	"svckit/lib/simulate"
	"svckit/lib/tool"
)

func simulateCommand() *cli.Command {
	return &cli.Command{
		Name: "simulate", Usage: "try a policy on a trace of demand",
		Description: `Plays every request of the trace, with the same decisions as the live planner.
SLO minutes are minutes whose 95th percentile of the wait is over 250 ms; late
requests waited longer than 0.5 s or timed out after 10 s; cost is what was paid for
beside an oracle that knows the future; reaction is the time from a step of demand
to 90 % of the workers that it needs. For a queue, cost is beside the work itself.

A trace is CSV (see scaled trace), or T1 to T9 or Q. Without -f the policy is
{strategy: busy_ratio, wait: 3%, wait_over: 100ms}.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "app.yaml with the policy"},
			&cli.StringFlag{Name: "service", Usage: "which service of it"},
			&cli.StringFlag{Name: "trace", Usage: "the trace `FILE.csv`, or T1 to T9 or Q"},
			&cli.StringSliceFlag{Name: "policy", Usage: "change one key of scale: `KEY=VALUE`, e.g. wait=1% or down.after=5m"},
			&cli.StringSliceFlag{Name: "history", Usage: "trace of an earlier day, the oldest first: `FILE.csv`"},
			&cli.StringFlag{Name: "compare", Usage: "other rules on the same requests: `LIST` of hpa, kpa, nomad, keda, aws, dae, static, oracle"},
			seedFlag(),
			&cli.StringFlag{Name: "plot", Usage: "draw demand, sizes and events into `FILE.svg` or .png"},
			&cli.StringFlag{Name: "journal", Usage: "write each decision with what it came from into `FILE`, one JSON line each"},
			&cli.IntFlag{Name: "node-slots", Usage: "workers that fit on a node of the trace; 0: no bound"},
			&cli.BoolFlag{Name: "per-node", Usage: "one queue per node instead of one for all"},
			&cli.BoolFlag{Name: "no-lane", Usage: "without the fast lane on the nodes"},
		},
		Action: tool.Action(func(_ context.Context, s *tool.Session, c *cli.Context) error {
			t, err := prepare(c)
			if err != nil {
				return err
			}
			if err := t.play(s); err != nil {
				return err
			}
			if t.plot != "" {
				if err := t.draw(); err != nil {
					return err
				}
				s.Say("plot: %s", t.plot)
			}
			return s.Result(t.report(), func(w io.Writer) { t.write(w, s) })
		}),
	}
}

// trial is one call of simulate.
type trial struct {
	service string
	policy  scale.Policy
	trace   *simulate.Trace
	history []*simulate.Trace
	peers   []peers.Peer
	seed    uint64
	setup   simulate.Setup
	plot    string
	journal string
	lane    bool

	rows   []row
	events []event
	lines  []line // what the plot shows
}

// row is one policy's result.
type row struct {
	Policy      string          `json:"policy"`
	Result      simulate.Result `json:"result"`
	LatePercent float64         `json:"late_percent"`
	Cost        float64         `json:"cost"`
}

// event is something of note.
type event struct {
	At   int    `json:"at"` // seconds
	What string `json:"what"`
}

func prepare(c *cli.Context) (*trial, error) {
	t := &trial{seed: c.Uint64("seed"), plot: c.String("plot"), journal: c.String("journal"), lane: !c.Bool("no-lane")}
	if c.String("trace") == "" {
		return nil, fault.WithHint(fault.New(fault.Usage, "--trace is missing"), "scaled trace T5 >t5.csv writes one; --trace T5 makes one on the way")
	}
	if t.plot != "" && !strings.HasSuffix(t.plot, ".svg") && !strings.HasSuffix(t.plot, ".png") {
		return nil, fault.New(fault.Usage, "--plot %s: expected a name that ends in .svg or .png", t.plot)
	}
	name, section, err := readService(c.String("file"), c.String("service"))
	if err != nil {
		return nil, err
	}
	if t.trace, err = readTrace(c.String("trace"), t.seed); err != nil {
		return nil, err
	}
	changes := c.StringSlice("policy")
	if t.trace.Queue() && c.String("file") == "" {
		changes = append([]string{"strategy=queue"}, changes...)
	}
	if section, err = override(section, changes); err != nil {
		return nil, err
	}
	t.service, t.policy = name, scale.FromSpec(section)
	if t.trace.Queue() != (t.policy.Strategy == scale.Queue) && t.policy.Strategy != scale.Noop {
		return nil, fault.WithHint(fault.New(fault.Usage, "the trace and the strategy %s do not fit: one is of a queue, the other of requests", t.policy.Strategy), "--policy strategy=queue, or another trace")
	}
	for _, file := range c.StringSlice("history") {
		day, err := readTrace(file, t.seed)
		if err != nil {
			return nil, err
		}
		t.history = append(t.history, day)
	}
	if list := c.String("compare"); list != "" {
		if t.peers, err = findPeers(list, t.trace.Queue()); err != nil {
			return nil, err
		}
	}
	t.setup = simulate.Setup{StartUp: int(t.policy.StartUp / time.Second), NodeSlots: c.Int("node-slots"), PerNode: c.Bool("per-node"), Seed: t.seed}
	return t, t.checkZones()
}

// checkZones refuses a schedule whose zone nobody knows.
func (t *trial) checkZones() error {
	for _, s := range t.policy.Schedules {
		if _, err := time.LoadLocation(s.Zone); err != nil {
			return fault.New(fault.Invalid, "schedule %s: there is no zone %s", s.Name, s.Zone)
		}
	}
	return nil
}

func findPeers(list string, queue bool) (out []peers.Peer, err error) {
	for _, name := range strings.Split(list, ",") {
		if name == "oracle" {
			continue // is always there
		}
		found, err := peers.Find(name)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if queue && p.Queue || !queue && p.Web {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// play runs the policy, the peers and the oracle on the same requests.
func (t *trial) play(s *tool.Session) error {
	s.Say("%s: %d seconds, about %.0f requests", t.trace.Name, t.trace.Len(), t.trace.Requests())
	work := simulate.Draw(t.trace, t.seed)
	best, _ := simulate.RunOracle(work, t.setup, 0)
	against := best.Paid
	if t.trace.Queue() {
		against = best.Work
	}
	add := func(name string, r simulate.Result) {
		t.rows = append(t.rows, row{name, r, r.LatePercent(), r.Paid / max(against, 1)})
	}
	rule := &simulate.Rule{Policy: t.policy, Lane: t.lane, Zones: zones()}
	if len(t.history) > 0 {
		rule.History = simulate.Learn(t.history)
	}
	closeJournal, err := t.watch(rule)
	if err != nil {
		return err
	}
	mine := newLine("svckit", t.trace.Len())
	add("svckit", simulate.Run(work, t.setup, rule, mine.see))
	if err := closeJournal(); err != nil {
		return err
	}
	t.lines = append(t.lines, *mine)
	world := peers.World{Trace: t.trace, Service: t.trace.Service[0], StartUp: t.setup.StartUp}
	if len(t.history) > 0 {
		world.Usual = t.history[len(t.history)-1]
	}
	for _, p := range t.peers {
		l := newLine(p.Name, t.trace.Len())
		add(p.Name, simulate.Run(work, t.setup, p.New(world), l.see))
		t.lines = append(t.lines, *l)
	}
	add("oracle", best)
	return nil
}

func zones() func(string, int64) (int, bool) {
	known := map[string]*time.Location{}
	return func(zone string, at int64) (int, bool) {
		l, ok := known[zone]
		if !ok {
			var err error
			if l, err = time.LoadLocation(zone); err != nil {
				return 0, false
			}
			known[zone] = l
		}
		_, offset := time.Unix(at, 0).In(l).Zone()
		return offset, true
	}
}

// watch notes events, and writes the journal.
func (t *trial) watch(rule *simulate.Rule) (closeJournal func() error, err error) {
	var journal *os.File
	var enc *json.Encoder
	if t.journal != "" {
		if journal, err = os.Create(t.journal); err != nil {
			return nil, fmt.Errorf("write journal: %w", err)
		}
		enc = json.NewEncoder(journal)
	}
	var failed error
	seen := newWatcher(t.trace)
	rule.Journal = func(p scale.Policy, s scale.State, in scale.Input, d scale.Decision) {
		t.events = append(t.events, seen.decision(in, d)...)
		if enc != nil && failed == nil {
			failed = enc.Encode(scale.Line{Policy: p, State: s, Input: in, Decision: d})
		}
	}
	t.events = append(t.events, seen.trace()...)
	return func() error {
		if journal == nil {
			return nil
		}
		if err := journal.Close(); failed == nil {
			failed = err
		}
		if failed != nil {
			return fmt.Errorf("write journal: %w", failed)
		}
		return nil
	}, nil
}

// report is the result as JSON.
func (t *trial) report() any {
	return struct {
		Trace   string       `json:"trace"`
		Service string       `json:"service,omitempty"`
		Seed    uint64       `json:"seed"`
		Seconds int          `json:"seconds"`
		Policy  scale.Policy `json:"policy"`
		Results []row        `json:"results"`
		Events  []event      `json:"events"`
	}{t.trace.Name, t.service, t.seed, t.trace.Len(), t.policy, t.rows, t.events}
}

// write is the result for people.
func (t *trial) write(w io.Writer, s *tool.Session) {
	table := s.Table("POLICY", "SLO MIN", "LATE %", "COST", "ACTIONS", "TURNS", "REACTION")
	if t.trace.Queue() {
		table = s.Table("POLICY", "LONGEST QUEUE", "LEFT", "COST", "ACTIONS", "TURNS", "REACTION")
	}
	for _, r := range t.rows {
		reaction := "-"
		if r.Result.Reaction >= 0 {
			reaction = fmt.Sprintf("%.0f s", r.Result.Reaction)
		}
		first, second := fmt.Sprint(r.Result.SLOMinutes), fmt.Sprintf("%.3f", r.LatePercent)
		if t.trace.Queue() {
			first, second = fmt.Sprint(r.Result.MostQueued), fmt.Sprint(r.Result.Drained)
		}
		table.Row(r.Policy, first, second, fmt.Sprintf("%.2f", r.Cost), fmt.Sprint(r.Result.Actions), fmt.Sprint(r.Result.Turns), reaction)
	}
	table.Write(w)
	if len(t.events) > 0 {
		fmt.Fprintln(w)
	}
	for _, e := range t.events {
		fmt.Fprintf(w, "%s  %s\n", clock(e.At), e.What)
	}
}

func clock(second int) string {
	text := fmt.Sprintf("%02d:%02d:%02d", second%86400/3600, second/60%60, second%60)
	if day := second / 86400; day > 0 {
		text = fmt.Sprintf("day %d %s", day+1, text)
	}
	return text
}

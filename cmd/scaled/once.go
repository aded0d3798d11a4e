package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/lead"
	"svckit/lib/planner"
	"svckit/lib/tool"
)

func onceCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "once", Usage: "one cycle of planning, for cron",
		Description: `Takes the lead for one cycle: asks the monitors, decides, writes what nodes are to run. When another
planner leads, nothing is done (exit 14). What "run" keeps between two cycles comes from Consul, so that
holds and guards work from call to call; call it at least once a minute.`,
		Flags: []cli.Flag{tool.DryRun()},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			if len(s.Args) > 0 {
				return fault.New(fault.Usage, "once takes no argument: it plans for the whole fleet")
			}
			out, err := once(ctx, w, s)
			if err != nil {
				return err
			}
			return s.Result(out, out.text)
		}),
	}
}

// cycleResult is what one cycle did.
type cycleResult struct {
	Changed bool         `json:"changed"`
	DryRun  bool         `json:"dry_run,omitempty"`
	Nodes   []nodeWish   `json:"nodes"`  // whose wish changed, in the order written
	Alarms  []lead.Alarm `json:"alarms"` //
	Seconds float64      `json:"seconds"`
}

type nodeWish struct {
	Node     string            `json:"node"`
	Gen      uint64            `json:"gen"`
	Services []fleet.Allotment `json:"services"`
}

// once is one cycle, under a lease of its own.
func once(ctx context.Context, w *here.Node, s *tool.Session) (cycleResult, error) {
	client, newPlanner, err := fleetOf(w, s)
	if err != nil {
		return cycleResult{}, err
	}
	p, began := newPlanner(), w.Now()
	var lease lead.Lease
	if !s.DryRun {
		held, err := takeLead(ctx, w, s, client, "", 0)
		if err != nil {
			return cycleResult{}, err
		}
		defer func() {
			if err := held.Release(context.WithoutCancel(ctx)); err != nil {
				s.Log.Warn("leadership not released: it ends by itself", "error", err)
			}
		}()
		lease = held
	}
	p.Since = began
	if list, _, err := client.Statuses(ctx); err == nil && newest(list) > began.Add(-continues).Unix() {
		p.Since = time.Time{} // the one before was just here
	}
	c, err := p.Look(ctx, began)
	if err != nil {
		return cycleResult{}, err
	}
	out := cycleResult{Changed: len(c.Wants) > 0, DryRun: s.DryRun, Nodes: []nodeWish{}, Alarms: append([]lead.Alarm{}, c.Alarms...)}
	for _, x := range c.Wants {
		out.Nodes = append(out.Nodes, nodeWish{x.Node, x.Gen, x.Services})
	}
	if lease == nil {
		return out, nil
	}
	if err := keepLines(w, s, c); err != nil {
		s.Log.Warn("journal not written", "error", err)
	}
	// From call to call everything is said anew: the next one goes on from there.
	c.Statuses = c.Statuses[:0]
	for _, v := range c.Plan.Services {
		c.Statuses = append(c.Statuses, c.Every[v.Name])
	}
	err = p.Write(ctx, lease, c)
	out.Seconds = w.Now().Sub(began).Seconds()
	return out, err
}

// continues is the pause between two calls of once that still counts as going on.
const continues = 10 * time.Minute

func newest(list []planner.Status) (at int64) {
	for _, x := range list {
		at = max(at, x.At)
	}
	return at
}

// keepLines writes what was decided to the journal of this node.
func keepLines(w *here.Node, s *tool.Session, c lead.Cycle) error {
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	lines, err := planner.Lines(c.Snapshot, c.Plan, false)
	if err != nil || len(lines) == 0 {
		return err
	}
	journal, err := openJournal(settings)
	if err != nil {
		return err
	}
	defer journal.Close()
	_, err = journal.Write(lines)
	return err
}

func (o cycleResult) text(w io.Writer) {
	verb := "told"
	if o.DryRun {
		verb = "would tell"
	}
	for _, n := range o.Nodes {
		fmt.Fprintf(w, "%s %s:", verb, n.Node)
		for _, a := range n.Services {
			fmt.Fprintf(w, " %s %d", a.Name, a.Count)
		}
		fmt.Fprintln(w)
	}
	if len(o.Nodes) == 0 {
		fmt.Fprintln(w, "nothing to change")
	}
	for _, a := range o.Alarms {
		fmt.Fprintf(w, "alarm: %s %s\n", a.Service, a.Words)
	}
}

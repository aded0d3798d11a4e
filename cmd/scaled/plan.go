package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/tool"
)

func planCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what the next cycle would decide, and why", ArgsUsage: "[APP/SERVICE]",
		Description: `It looks at the fleet as a planner does, asks all monitors, and decides; nothing is changed anywhere.
With --from it decides from a snapshot that was saved (--save). A snapshot is all that a decision depends on, as JSON with "schema": 1: services
with policy, signals and state, nodes, pools, what is placed, freezes and
announcements. The plan of it is always the same.
With APP/SERVICE it shows that service in full: what each source proposes and
which won, what limited it, node by node where it goes, and what moves.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "decide from the snapshot in `FILE`; - is the standard input"},
			&cli.StringFlag{Name: "save", Usage: "keep the snapshot of the fleet in `FILE`"},
			&cli.BoolFlag{Name: "journal", Usage: "print the lines of the journal instead"},
		},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			name := c.Args().First()
			snapshot, err := snapshotOf(ctx, w, s, c)
			if err != nil {
				return err
			}
			plan := planner.Decide(snapshot)
			if c.Bool("journal") {
				text, err := planner.Lines(snapshot, plan, false)
				if err != nil {
					return err
				}
				_, err = s.Stdout.Write(text)
				return err
			}
			for _, u := range plan.Unreadable {
				s.Say("unreadable, left as it is: %s %s: %s", u.Place, u.Name, u.Reason)
			}
			if name == "" {
				return s.Result(plan, func(w io.Writer) { writePlan(w, s, plan) })
			}
			return showService(s, snapshot, plan, name)
		}),
	}
}

// snapshotOf is the snapshot that is named, else the fleet as it is now.
func snapshotOf(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) (planner.Snapshot, error) {
	if c.String("from") != "" {
		return readSnapshot(s, c.String("from"))
	}
	_, newPlanner, err := fleetOf(w, s)
	if err != nil {
		return planner.Snapshot{}, err
	}
	cycle, err := newPlanner().Look(ctx, w.Now())
	if err != nil {
		return planner.Snapshot{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(cycle.Bad)) {
		s.Say("unreadable, left as it is: %s: %s", key, cycle.Bad[key])
	}
	if file := c.String("save"); file != "" {
		text, err := json.Marshal(cycle.Snapshot)
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o600)
		}
		if err != nil {
			return planner.Snapshot{}, fmt.Errorf("save snapshot: %w", err)
		}
	}
	return cycle.Snapshot, nil
}

// readSnapshot reads a snapshot from a file, or from the standard input.
func readSnapshot(s *tool.Session, path string) (planner.Snapshot, error) {
	from := s.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			kind := fault.Failed
			if os.IsNotExist(err) {
				kind = fault.NotFound
			}
			return planner.Snapshot{}, fault.New(kind, "read snapshot: %w", err)
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, planner.MaxBytes+1))
	if err != nil {
		return planner.Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	return planner.Decode(text)
}

// servicePlan is the plan of one service.
type servicePlan struct {
	Input     scale.Input     `json:"input"` // what the size was made of
	Service   planner.Sized   `json:"service"`
	Placement place.Placement `json:"placement"`
	Waves     []place.Wave    `json:"waves"` // its steps; empty waves are those of others
	Short     *place.Shortage `json:"short"`
	Held      string          `json:"held"` // why it is left alone
	Pool      string          `json:"pool"`
	Loans     []place.Loan    `json:"loans"` // nodes that come to its pool or leave it
}

// showService prints all about one service.
func showService(s *tool.Session, snapshot planner.Snapshot, plan planner.Plan, name string) error {
	at := slices.IndexFunc(plan.Place.Services, func(p place.Placement) bool { return p.Name == name })
	of := slices.IndexFunc(snapshot.Services, func(v planner.Service) bool { return v.Name == name })
	if at < 0 || of < 0 {
		err := fault.New(fault.NotFound, "plan: the snapshot has no service %q", name)
		return fault.WithHint(err, "`scaled plan --from FILE` lists its services")
	}
	out := servicePlan{Placement: plan.Place.Services[at], Pool: snapshot.Services[of].Policy.Pool, Waves: []place.Wave{}, Loans: []place.Loan{}}
	if k := slices.IndexFunc(plan.Services, func(z planner.Sized) bool { return z.Name == name }); k >= 0 {
		out.Service, out.Input = plan.Services[k], plan.Services[k].Input
	} else {
		out.Service.Name = name
	}
	for _, wave := range plan.Place.Waves {
		steps := place.Wave{}
		for _, step := range wave {
			if step.Name == name {
				steps = append(steps, step)
			}
		}
		out.Waves = append(out.Waves, steps)
	}
	if k := slices.IndexFunc(plan.Place.Short, func(z place.Shortage) bool { return z.Name == name }); k >= 0 {
		out.Short = &plan.Place.Short[k]
	}
	if k := slices.IndexFunc(plan.Held, func(h planner.Held) bool { return h.Name == name }); k >= 0 {
		out.Held = plan.Held[k].Reason
	}
	for _, l := range plan.Place.Loans {
		if l.From == out.Pool || l.To == out.Pool {
			out.Loans = append(out.Loans, l)
		}
	}
	return s.Result(out, func(w io.Writer) { out.write(w, s) })
}

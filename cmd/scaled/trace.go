package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/simulate"
	"svckit/lib/tool"
)

func traceCommand() *cli.Command {
	var lines []string
	for _, s := range simulate.Stories() {
		lines = append(lines, "  "+s.String())
	}
	return &cli.Command{
		Name: "trace", Usage: "write a trace to try policies on", ArgsUsage: "NAME",
		Description: "The traces, each a day long, at most 200 requests a second of 0.2 s:\n\n" + strings.Join(lines, "\n") + `

It is CSV with the columns t (seconds), rps and service_s, and where the trace has
them metrics (1 there, 0 missing), nodes (alive), announce_rps and announce_hold_s
(an announcement made at t), queue_in (messages a second) and stuck (1: consumers
take nothing). A row's values hold until the next row; the last row ends the trace.`,
		Flags: []cli.Flag{
			seedFlag(),
			&cli.IntFlag{Name: "step", Value: 5, Usage: "write a row each `SECONDS`"},
		},
		Action: tool.Action(func(_ context.Context, s *tool.Session, c *cli.Context) error {
			if s.JSON {
				return fault.WithHint(fault.New(fault.Usage, "a trace is CSV, there is no --json for it"), "simulate has one")
			}
			step := c.Int("step")
			if step < 1 || step > 3600 {
				return fault.New(fault.Usage, "--step %d: expected 1 to 3600 seconds", step)
			}
			t, err := simulate.Generate(c.Args().First(), c.Uint64("seed"))
			if err != nil {
				return err
			}
			var out bytes.Buffer
			if err := t.WriteCSV(&out, step); err != nil {
				return err
			}
			if _, err := s.Stdout.Write(out.Bytes()); err != nil {
				return fmt.Errorf("write trace: %w", err)
			}
			return nil
		}),
	}
}

func seedFlag() cli.Flag {
	return &cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`NUMBER` that chance comes from: the same one gives the same result"}
}

// readTrace reads a file, or makes one of the stories where no such file is there.
func readTrace(name string, seed uint64) (*simulate.Trace, error) {
	f, err := os.Open(name)
	if err != nil {
		if os.IsNotExist(err) {
			if slices.ContainsFunc(simulate.Stories(), func(s simulate.Story) bool { return s.Name == name }) {
				return simulate.Generate(name, seed)
			}
			return nil, fault.WithHint(fault.New(fault.NotFound, "read trace %s: there is no such file", name), "scaled trace T1 writes one")
		}
		return nil, fmt.Errorf("read trace: %w", err)
	}
	defer f.Close()
	return simulate.ReadCSV(f, name)
}

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
	"svckit/lib/tool"
)

func auditCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "show who changed what, oldest first", ArgsUsage: "[APP]",
		Description: `The journal in Consul keeps the last 200 records of each app.
--verbose shows the steps of each record too.`,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "since", Usage: "only what is younger than `AGE`, e.g. 2h"},
			&cli.StringFlag{Name: "app", Usage: "only records of `APP`"},
		},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			app, err := auditApp(c.Args().First(), c.String("app"))
			if err != nil {
				return err
			}
			if c.Duration("since") < 0 {
				return fault.New(fault.Usage, "--since must not be negative")
			}
			var since time.Time
			if d := c.Duration("since"); d > 0 {
				since = w.Now().Add(-d)
			}
			client, err := w.Consul(s)
			if err != nil {
				return err
			}
			records, err := client.Records(ctx, app, since)
			if err != nil {
				return err
			}
			list := auditList(records)
			return s.Result(list, func(w io.Writer) { list.write(w, s) })
		}),
	}
}

func auditApp(arg, flag string) (string, error) {
	if arg != "" && flag != "" && arg != flag {
		return "", fault.New(fault.Usage, "two apps: %s and --app %s", arg, flag)
	}
	if arg == "" {
		return flag, nil
	}
	return arg, nil
}

type auditResult struct {
	Records []fleet.Audit `json:"records"`
}

func auditList(records []fleet.Audit) auditResult {
	return auditResult{Records: append([]fleet.Audit{}, records...)}
}

func (l auditResult) write(w io.Writer, s *tool.Session) {
	if len(l.Records) == 0 {
		s.Say("no records")
		return
	}
	if s.Verbose {
		l.details(w, s)
		return
	}
	t := s.Table("TIME", "WHO", "NODE", "COMMAND", "RESULT", "CHANGED", "TOOK")
	for _, r := range l.Records {
		t.Cells(cell(stamp(r.At)), cell(r.Who), cell(r.Node), cell(cut(r.Program+" "+r.Command, 70)),
			tool.Cell{Text: r.Result, Tint: resultTint(r.Result)}, cell(changed(r.Changed)), cell(took(r.Seconds)))
	}
	t.Write(w)
}

// details writes each record with its steps and its error.
func (l auditResult) details(w io.Writer, s *tool.Session) {
	for _, r := range l.Records {
		head := fmt.Sprintf("%s  %s on %s: %s %s", stamp(r.At), r.Who, r.Node, r.Program, r.Command)
		fmt.Fprintln(w, s.Paint(tool.Plain, head))
		for _, step := range r.Plan {
			fmt.Fprintln(w, "  "+s.Paint(tool.Plain, step))
		}
		if r.Error != "" {
			fmt.Fprintln(w, "  "+s.Paint(tool.Bad, r.Error))
		}
		fmt.Fprintf(w, "  %s, changed: %s, took %s\n", s.Paint(resultTint(r.Result), r.Result), changed(r.Changed), took(r.Seconds))
	}
}

func resultTint(word string) tool.Tint {
	if word == fault.OK.String() {
		return tool.Good
	}
	return tool.Bad
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func changed(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func took(seconds float64) string { return fmt.Sprintf("%.1fs", seconds) }

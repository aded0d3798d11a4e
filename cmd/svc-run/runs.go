package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func runsCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "runs", Usage: "show the runs of services of kind cron: when, where, how they ended, and when the next one is due", ArgsUsage: "[APP[/SERVICE]]",
		Description: `The last 30 runs of a service, the newest first; of an app, the last run of each of its cron services and
the next tick. --output adds the last 20 lines that each run said. Results: done, failed (another exit code
than 0), timeout, killed (for a later tick, or by somebody), lost (its node went away), broken (nobody could
start it), missed (nobody was there in time).`,
		BashComplete: serviceNames(w),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "output", Aliases: []string{"o"}, Usage: "with the last lines of each run"},
		},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return runs(ctx, w, s, c.Bool("output"))
		}),
	}
}

// runList is the result of runs.
type runList struct {
	App      string      `json:"app"`
	Services []cronShown `json:"services"`
}

// cronShown is one cron service.
type cronShown struct {
	Service  string     `json:"service"`
	Schedule string     `json:"schedule,omitempty"` // "ZONE FIELDS", of the current release
	Next     time.Time  `json:"next,omitzero"`
	Going    *cron.Run  `json:"going"` // the run that goes on, or is being made ready; null: none
	Runs     []cron.Run `json:"runs"`
	Error    string     `json:"error,omitempty"` // why it cannot be shown
}

func runs(ctx context.Context, w *here.Node, s *tool.Session, output bool) error {
	if len(s.Args) > 1 {
		return fault.New(fault.Usage, "expected one app or service, got %d arguments", len(s.Args))
	}
	t, _, err := w.Target(strings.Join(s.Args, ""))
	if err != nil {
		return err
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	keys := []string{t.Service}
	if t.Service == "" {
		if keys, err = cronKeys(ctx, client, t.App); err != nil {
			return err
		}
	}
	out := runList{App: t.App, Services: []cronShown{}}
	for _, key := range keys {
		of := here.Target{App: t.App, Service: key}
		one, err := shownCron(ctx, client, of, w.Now())
		if err != nil && t.Service != "" {
			return err
		}
		if err != nil {
			one.Error = err.Error()
		}
		if t.Service == "" && len(one.Runs) > 1 {
			one.Runs = one.Runs[:1]
		}
		out.Services = append(out.Services, one)
	}
	return s.Result(out, func(to io.Writer) { out.write(to, s, output) })
}

// cronKeys are the services of kind cron of an app: of the current releases, else of the newest.
func cronKeys(ctx context.Context, client *consul.Client, app string) (keys []string, err error) {
	current, err := client.Current(ctx, app)
	if err != nil {
		return nil, err
	}
	add := func(release fleet.Release, only string) {
		of, err := apply.SpecOf(release)
		if err != nil {
			return
		}
		for _, s := range of.Services {
			if s.Kind == spec.Cron && (only == "" || s.Key == only) && !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	for key, p := range current.Services {
		release, err := client.Release(ctx, app, p.Release)
		if err != nil {
			return nil, err
		}
		add(release, key)
	}
	if len(current.Services) == 0 {
		release, err := apply.Choose(ctx, client, app, "", "")
		if err != nil {
			return nil, err
		}
		add(release, "")
	}
	slices.Sort(keys)
	return keys, nil
}

func shownCron(ctx context.Context, client *consul.Client, of here.Target, now time.Time) (cronShown, error) {
	out := cronShown{Service: of.Service, Runs: []cron.Run{}}
	state, _, err := client.CronState(ctx, of.String())
	if err != nil {
		return out, err
	}
	out.Going = state.Run
	found, err := client.Runs(ctx, of.String())
	if err != nil {
		return out, err
	}
	out.Runs = append(out.Runs, found...)
	service, _, err := cronService(ctx, client, of)
	switch {
	case err == nil:
		out.Schedule, out.Next = service.Fields, service.Schedule.Next(now)
	case len(out.Runs) > 0 && (errors.Is(err, fleet.ErrNotFound) || fault.KindOf(err) == fault.NotFound):
		err = nil // it is gone, and its runs are still there
	}
	return out, err
}

func (l runList) write(w io.Writer, s *tool.Session, output bool) {
	if len(l.Services) == 0 {
		s.Say("no service of %s is of kind cron", l.App)
		return
	}
	t := s.Table("SERVICE", "TICK", "BEGAN", "TOOK", "NODE", "RELEASE", "RESULT", "NOTE")
	stamp := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format("2006-01-02 15:04:05")
	}
	for _, one := range l.Services {
		name := l.App + "/" + one.Service
		if one.Going != nil {
			t.Cells(cell(name), cell(tickText(*one.Going, stamp)), cell(stamp(one.Going.Began)), cell(""), cell(one.Going.Node), cell(one.Going.Release),
				tool.Cell{Text: string(one.Going.Stage), Tint: tool.Warn}, cell(cut(one.Going.Error, 60)))
		}
		for _, r := range one.Runs {
			took := ""
			if !r.Began.IsZero() && !r.Ended.IsZero() {
				took = r.Ended.Sub(r.Began).Round(time.Second / 10).String()
			}
			t.Cells(cell(name), cell(tickText(r, stamp)), cell(stamp(r.Began)), cell(took), cell(r.Node), cell(r.Release), resultCell(r), cell(cut(note(r), 80)))
		}
		if len(one.Runs) == 0 && one.Going == nil {
			t.Cells(cell(name), cell(""), cell(""), cell(""), cell(""), cell(""), cell(""), cell(cmp.Or(one.Error, "never ran")))
		}
	}
	t.Write(w)
	for _, one := range l.Services {
		for _, r := range one.Runs {
			if output && len(r.Lines) > 0 {
				fmt.Fprintf(w, "\n%s/%s, run %s said:\n  %s\n", l.App, one.Service, r.ID, strings.Join(r.Lines, "\n  "))
			}
		}
		if !one.Next.IsZero() {
			fmt.Fprintf(w, "next of %s/%s: %s UTC (%s)\n", l.App, one.Service, stamp(one.Next), one.Schedule)
		}
	}
}

func tickText(r cron.Run, stamp func(time.Time) string) string {
	if r.Tick.IsZero() {
		return "by hand"
	}
	return stamp(r.Tick)
}

func resultCell(r cron.Run) tool.Cell {
	c := tool.Cell{Text: string(r.Result), Tint: tool.Good}
	if r.Result.Bad() {
		c.Tint = tool.Bad
	}
	if r.Result == cron.Failed {
		c.Text += fmt.Sprintf(" (%d)", r.Code)
	}
	return c
}

// note is what else is to be known of a run.
func note(r cron.Run) string {
	out := r.Error
	if r.By != "" {
		out = join(out, "by "+r.By)
	}
	if r.Missed > 0 {
		out = join(out, fmt.Sprintf("%d ticks before it were missed", r.Missed))
	}
	if r.Passed > 0 {
		out = join(out, fmt.Sprintf("%d ticks were skipped meanwhile", r.Passed))
	}
	if r.Tries > 1 {
		out = join(out, fmt.Sprintf("tried %d times", r.Tries))
	}
	return out
}

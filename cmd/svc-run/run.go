package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	_ "time/tzdata" // zones of schedules, also where the machine has none

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/cron"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/notify"
	"svckit/lib/spec"
	"svckit/lib/timetable"
	"svckit/lib/tool"
)

func runCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a service of kind cron once, here and now, and wait for its end",
		ArgsUsage: "[APP/]SERVICE",
		Description: `The app's current release, with the config of now, as scaled node runs it: with the same lock of the whole
fleet, so never beside another run, and with the same record (svc-run runs). What the program says goes to
stderr. The exit code is 0 when the program's is, 1 when it failed, 14 when a run goes on, 15 when it took
longer than cron.timeout. Ctrl-C stops the program. A tick of the schedule is neither used up nor moved.`,
		BashComplete: serviceNames(w),
		Flags: []cli.Flag{
			tool.DryRun(),
			&cli.DurationFlag{Name: "wait", Usage: "wait up to `TIME` for the end of a run that goes on"},
		},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return runOnce(ctx, w, s, c.Duration("wait"))
		}),
	}
}

// ranOnce is what run prints.
type ranOnce struct {
	App     string    `json:"app"`
	Service string    `json:"service"`
	Changed bool      `json:"changed"`
	DryRun  bool      `json:"dry_run,omitempty"`
	Steps   []string  `json:"steps,omitempty"` // of a dry run, each with its reason
	Run     *cron.Run `json:"run,omitempty"`
}

func (r ranOnce) text(w io.Writer) {
	for n, s := range r.Steps {
		fmt.Fprintf(w, "%d. %s\n", n+1, s)
	}
	if r.Run != nil {
		fmt.Fprintf(w, "%s/%s: run %s: %s\n", r.App, r.Service, r.Run.ID, here.Said(*r.Run))
	}
}

func runOnce(ctx context.Context, w *here.Node, s *tool.Session, wait time.Duration) error {
	of, err := w.Service(s.Args)
	if err != nil {
		return err
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	service, release, err := cronService(ctx, client, of)
	if err != nil {
		return err
	}
	if s.DryRun {
		state, held, err := client.CronState(ctx, of.String())
		if err == nil {
			err = timetable.Occupied(of.String(), state, held)
		}
		if err != nil {
			return err
		}
		out := wouldRun(of, service, release, node.Who(w.Getenv))
		return s.Result(out, out.text)
	}
	return runHere(ctx, w, s, client, of, service, wait)
}

// wouldRun is what a dry run prints.
func wouldRun(of here.Target, service timetable.Service, release fleet.Release, who string) ranOnce {
	return ranOnce{App: of.App, Service: of.Service, DryRun: true, Changed: true, Steps: []string{
		"lock " + of.String() + ": a run happens once in the fleet", "pull " + release.Image + ": where it is not here yet",
		"create a container: release " + service.Release + " is the current one", "start it: asked for by " + who,
		fmt.Sprintf("wait for its end: for at most %s", service.Rules.Timeout), "record what became of it, and remove it",
	}}
}

func runHere(ctx context.Context, w *here.Node, s *tool.Session, client *consul.Client, of here.Target, service timetable.Service, wait time.Duration) error {
	send := notify.New(s.Program)
	crons, err := here.OpenCrons(ctx, w, s, func(to []string, m notify.Message) {
		if err := send.Send(context.WithoutCancel(ctx), to, m); err != nil {
			s.Log.Warn("receiver not told", "event", m.Event, "error", err)
		}
	})
	if err != nil {
		return err
	}
	if err := crons.Know(ctx); err != nil {
		return err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return err
	}
	logs := newRunLog(ctx, s, engine)
	at := time.Now()
	r, err := crons.Site().ByHand(ctx, service, node.Who(w.Getenv), wait, logs.begin)
	logs.end()
	if r.ID != "" {
		result := fault.OK
		if r.Result.Bad() || err != nil {
			result = fault.Failed
		}
		w.Record(ctx, s, client, fleet.Audit{
			At: at.UTC(), Node: r.Node, App: of.App, Service: of.Service, Result: result.String(), Changed: true, Seconds: time.Since(at).Seconds(),
			Plan: []string{"run " + r.ID + ": by hand"}, Error: s.Veil(r.Error),
		})
	}
	if err != nil {
		return err
	}
	return verdict(s, ranOnce{App: of.App, Service: of.Service, Changed: true, Run: &r})
}

// verdict prints a run, and gives the exit code that it deserves.
func verdict(s *tool.Session, out ranOnce) error {
	r := *out.Run
	if !r.Result.Bad() {
		return s.Result(out, out.text)
	}
	kind := fault.Failed
	if r.Result == cron.Timeout {
		kind = fault.Timeout
	}
	e := fault.New(kind, "run %s/%s: %s", out.App, out.Service, here.Said(r))
	e.Detail = r.Lines
	return fault.WithHint(e, "svc-run runs %s/%s", out.App, out.Service)
}

// cronService is the service as its current release has it, else the newest.
func cronService(ctx context.Context, client *consul.Client, of here.Target) (timetable.Service, fleet.Release, error) {
	release, err := apply.Choose(ctx, client, of.App, of.Service, "")
	if err != nil {
		return timetable.Service{}, release, err
	}
	app, err := apply.SpecOf(release)
	if err != nil {
		return timetable.Service{}, release, err
	}
	service, ok := app.Service(of.Service)
	switch {
	case !ok:
		return timetable.Service{}, release, fault.New(fault.NotFound, "release %s of %s has no service %s", release.Name, of.App, of.Service)
	case service.Kind != spec.Cron:
		return timetable.Service{}, release, fault.WithHint(fault.New(fault.Usage, "run %s: kind %s runs all the time: only kind cron has runs", of, service.Kind), "svc-run up %s", of)
	}
	s, err := here.CronService(app, service, fleet.Pointer{Release: release.Name})
	return s, release, err
}

// runLog shows what a run says, from its beginning to its end.
type runLog struct {
	ctx    context.Context
	s      *tool.Session
	engine *docker.Engine
	done   chan struct{}
}

func newRunLog(ctx context.Context, s *tool.Session, engine *docker.Engine) *runLog {
	return &runLog{ctx: ctx, s: s, engine: engine}
}

func (f *runLog) begin(id string) {
	f.done = make(chan struct{})
	go func() {
		defer close(f.done)
		out := f.s.Lines()
		err := f.engine.Logs(f.ctx, id, docker.LogOptions{Follow: true}, out, out)
		if err != nil && f.ctx.Err() == nil && !errors.Is(err, fleet.ErrNotFound) {
			f.s.Log.Debug("output of the run not followed", "error", err)
		}
	}()
}

func (f *runLog) end() {
	if f.done != nil {
		<-f.done
	}
}

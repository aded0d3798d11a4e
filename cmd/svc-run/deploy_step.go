package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/deploy"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/notify"
	"svckit/lib/tool"
)

func deployStepCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "step", Usage: "do this node's part of a deploy, when it is its turn", ArgsUsage: "APP",
		Description: `Pulls the images, brings the services of this node to the release as "up" does and tries their smoke tests, or brings them
back to the last stable release, whatever the deploy wants of this node now; and says in the deploy how that ended. When it is not this node's
turn, it does nothing. While it works it gives a sign of life every few seconds.`,
		Flags: []cli.Flag{
			runFlag(),
			&cli.DurationFlag{Name: "wait-lock", Value: 2 * time.Minute, Usage: "wait up to `TIME` for another run on this node, such as a step whose control machine died"},
			tool.DryRun(),
		},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := openDeployment(w, s, c)
			if err != nil {
				return err
			}
			return (&nodeStep{deployment: d, wait: c.Duration("wait-lock")}).run(ctx)
		}),
	}
}

const (
	beatEach   = 5 * time.Second
	reportTime = 20 * time.Second // for telling how a step ended, also after an interrupt
)

// nodeStep is one call of step.
type nodeStep struct {
	*deployment
	node string
	wait time.Duration
	out  stepResult
}

// stepResult is what step prints.
type stepResult struct {
	App      string         `json:"app"`
	Node     string         `json:"node"`
	Run      string         `json:"run"`
	Do       deploy.Do      `json:"do"`
	Why      string         `json:"why"`
	Release  string         `json:"release"`
	Changed  bool           `json:"changed"`
	DryRun   bool           `json:"dry_run,omitempty"`
	Services []here.Outcome `json:"services"`
	Smoke    []smokeResult  `json:"smoke,omitempty"`
}

func (n *nodeStep) run(ctx context.Context) error {
	if err := n.name(ctx); err != nil {
		return err
	}
	st, err := n.read(ctx)
	if err != nil {
		return err
	}
	do, why := deploy.Turn(st, n.node)
	n.deployment.run = st.Run // from here on for this run only
	n.out = stepResult{App: n.app, Node: n.node, Run: st.Run, Do: do, Why: why, Release: st.Release, DryRun: n.s.DryRun, Services: []here.Outcome{}}
	switch {
	case do == deploy.Nothing:
		n.breathe(ctx)
	case n.s.DryRun:
		err = n.preview(ctx, st, do)
	default:
		err = n.turn(ctx, st, do)
	}
	if err != nil {
		return err
	}
	return n.s.Result(n.out, n.write)
}

// preview plans the turn and does nothing.
func (n *nodeStep) preview(ctx context.Context, st deploy.State, do deploy.Do) error {
	had, err := n.had(ctx, st)
	if err == nil {
		_, err = n.do(ctx, deploy.Start(st, n.node, do, had, n.w.Now().UTC()), do)
	}
	return err
}

// name is what this node is called in Consul.
func (n *nodeStep) name(ctx context.Context) error {
	settings, err := n.w.Settings(n.s)
	if err != nil {
		return err
	}
	if n.node = settings.Name; n.node != "" {
		return nil
	}
	agent, err := n.client.Self(ctx)
	n.node = agent.Node
	return err
}

// breathe gives a sign of life where nothing is to be done, unless there was one just now.
func (n *nodeStep) breathe(ctx context.Context) {
	if n.s.DryRun {
		return
	}
	_, err := n.change(ctx, func(st deploy.State) (deploy.State, error) {
		now := n.w.Now().UTC()
		if !st.Active() || now.Sub(st.Beat) < beatEach {
			return st, errSame
		}
		st.Beat = now
		return st, nil
	})
	if err != nil {
		n.s.Log.Debug("no sign of life given", "error", err)
	}
}

// turn does what the deploy wants of this node, and says in it how that ended.
func (n *nodeStep) turn(ctx context.Context, st deploy.State, do deploy.Do) error {
	had, err := n.had(ctx, st)
	if err != nil {
		return err
	}
	st, err = n.change(ctx, func(st deploy.State) (deploy.State, error) {
		if now, _ := deploy.Turn(st, n.node); now != do {
			return st, fault.New(fault.Conflict, "deploy %s: it went on meanwhile: %s", n.app, st.Words())
		}
		return deploy.Start(st, n.node, do, had, n.w.Now().UTC()), nil
	})
	if err != nil {
		return err
	}
	work, end := context.WithCancelCause(ctx)
	defer end(nil)
	var beats sync.WaitGroup
	stop := make(chan struct{})
	beats.Go(func() { n.beat(work, stop, end) })
	failed, err := n.do(work, st, do)
	close(stop)
	beats.Wait()
	if lost := context.Cause(work); lost != nil && ctx.Err() == nil {
		return lost
	}
	if err != nil && failed == nil {
		failed = &deploy.Failure{Check: fault.KindOf(err).String(), Output: n.said(err)}
	}
	return errors.Join(err, n.report(ctx, do, failed))
}

// had counts what runs here of each service.
func (n *nodeStep) had(ctx context.Context, st deploy.State) (map[string]int, error) {
	engine, err := n.w.Docker(ctx, n.s)
	if err != nil {
		return nil, err
	}
	list, err := engine.Instances(ctx, n.app, "")
	out := map[string]int{}
	for _, key := range st.Services {
		out[key] = 0
	}
	for _, i := range list {
		if _, ok := out[i.Service]; ok && here.Runs(i) {
			out[i.Service]++
		}
	}
	return out, err
}

// beat gives signs of life until stop is closed. A run that was taken over ends the work.
func (n *nodeStep) beat(ctx context.Context, stop <-chan struct{}, end context.CancelCauseFunc) {
	tick := time.NewTicker(beatEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case <-tick.C:
		}
		_, err := n.change(ctx, func(st deploy.State) (deploy.State, error) { return deploy.Alive(st, n.node, n.w.Now().UTC()), nil })
		if fault.KindOf(err) == fault.Conflict && !errors.Is(err, fleet.ErrConflict) {
			end(err)
			return
		}
		if err != nil {
			n.s.Log.Warn("no sign of life given", "error", err)
		}
	}
}

// report says how the turn ended; also after an interrupt, since nobody else knows.
func (n *nodeStep) report(ctx context.Context, do deploy.Do, failed *deploy.Failure) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	for {
		_, err := n.change(ctx, func(st deploy.State) (deploy.State, error) {
			next, ok := deploy.Note(st, n.node, do, failed, n.w.Now().UTC())
			if !ok {
				return st, errSame // somebody gave up waiting for it
			}
			return next, nil
		})
		if fault.KindOf(err) != fault.Unreachable && !errors.Is(err, fleet.ErrConflict) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// do does the work of a turn. A failure says more than its error where the error is no more than that a test failed.
func (n *nodeStep) do(ctx context.Context, st deploy.State, do deploy.Do) (*deploy.Failure, error) {
	for _, key := range st.Services {
		d, err := here.OpenService(ctx, n.w, n.s, here.Target{App: n.app, Service: key})
		if err != nil {
			return &deploy.Failure{Service: key, Check: fault.KindOf(err).String(), Output: n.said(err)}, err
		}
		d.Wait, d.Tell = n.wait, func(context.Context, []string, notify.Message) {} // the deploy tells once, when it turns back
		switch do {
		case deploy.DoPull:
			err = n.pull(ctx, d, st)
			if err != nil {
				return &deploy.Failure{Service: key, Check: "pull", Output: n.said(err)}, err
			}
			return nil, nil // every service of an app has the same image
		case deploy.DoReturn:
			aim := st.Stable[key]
			if aim.Release == "" {
				n.s.Say("note: %s/%s has no stable release to go back to: it is left as it is", n.app, key)
				continue
			}
			_, err = n.up(ctx, d, aim, st.Nodes[n.node].Had[key], st.Place)
		default:
			var runs bool
			runs, err = n.up(ctx, d, deploy.Aim{Release: st.Release, Image: st.Image}, st.Nodes[n.node].Had[key], st.Place)
			if err == nil && runs && !n.s.DryRun {
				if said, err := n.smoke(ctx, d); err != nil {
					return &deploy.Failure{Service: key, Check: "smoke", Output: said}, fault.New(fault.Unhealthy, "smoke test of %s/%s: %w", n.app, key, err)
				}
			}
		}
		if err != nil {
			return &deploy.Failure{Service: key, Check: checkOf(err), Output: n.said(err)}, err
		}
	}
	return nil, nil
}

// pull brings the image here, unless it is.
func (n *nodeStep) pull(ctx context.Context, d *here.Deploy, st deploy.State) error {
	_, err := d.World.Images.Image(ctx, st.Image)
	if !errors.Is(err, fleet.ErrNotFound) || n.s.DryRun {
		return err
	}
	p, done := n.s.Progress("pull " + st.Image)
	defer done()
	return d.World.Images.Pull(ctx, st.Image, p)
}

// up brings a service that runs here, or is to run here, to a release, with as many instances as it had unless the
// autoscaler says how many; false: there is none of it here.
func (n *nodeStep) up(ctx context.Context, d *here.Deploy, aim deploy.Aim, had int, place bool) (bool, error) {
	count, placed, err := d.Placed(ctx)
	switch {
	case err != nil:
		return false, err
	case placed:
	case had > 0:
		count = had
	case place:
		count = 1
	default:
		return false, nil
	}
	o, err := d.Work(ctx, func(ctx context.Context) (apply.Job, error) {
		release, err := d.Consul.Release(ctx, d.App, aim.Release)
		if err != nil {
			return apply.Job{}, err
		}
		release.Image = aim.Image
		return apply.ResolveRelease(ctx, d.Consul, d.Site, release, d.Service, count)
	})
	n.out.Changed = n.out.Changed || o.Changed
	n.out.Services = append(n.out.Services, o)
	return count > 0, err
}

// checkOf names what a release did not get through.
func checkOf(err error) string {
	switch kind := fault.KindOf(err); kind {
	case fault.Unhealthy, fault.Partial:
		return deploy.Gate
	case fault.Invalid:
		return "config"
	default:
		return kind.String()
	}
}

// said is an error with the last lines of what belongs to it, on one line, without anything secret.
func (n *nodeStep) said(err error) string {
	lines := fault.DetailOf(err)
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return n.s.Veil(strings.Join(append([]string{err.Error()}, lines...), " | "))
}

func (n *nodeStep) write(out io.Writer) {
	r := n.out
	if r.Do == deploy.Nothing {
		fmt.Fprintf(out, "%s: nothing to do on %s: %s\n", r.App, r.Node, n.s.Paint(tool.Plain, r.Why))
		return
	}
	would := ""
	if r.DryRun {
		would = "would "
	}
	fmt.Fprintf(out, "%s: %s%s on %s: %s\n", r.App, would, r.Do, r.Node, n.s.Paint(tool.Plain, r.Why))
	for _, o := range r.Services {
		o.Text(out)
	}
	for _, k := range r.Smoke {
		fmt.Fprintf(out, "smoke test of %s/%s: %s\n", r.App, k.Service, n.s.Paint(tool.Plain, cut(k.Output, 200)))
	}
}

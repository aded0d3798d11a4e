package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/deploy"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/tool"
)

func deployCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "bring a release to the whole fleet, node after node, and back when it fails",
		Description: `One deploy of an app is one document in Consul, so that whoever is called next goes on with it:

    svc-run deploy begin APP --release R     # on any node: who gets it when
    svc-run deploy step APP                  # on every node: does its part, when it is its turn
    svc-run deploy advance APP --over        # on any node: closes a batch, opens the next one, or turns back
    …                                        # step and advance, until advance says that it has ended
    svc-run deploy finish APP                # on any node: makes the release current and stable, or says what failed

ansible/playbooks/deploy.yml calls these. Images are pulled on every node first. When a gate or a smoke test fails, or a
node does not report, what was changed goes back to the last stable release, in batches. A run that was killed
is finished by the next begin of the same release, once it gave no sign of life for --patience.`,
		Subcommands: []*cli.Command{
			deployBeginCommand(w), deployStepCommand(w), deployAdvanceCommand(w), deployFinishCommand(w), deployAbortCommand(w), deployStatusCommand(w),
		},
	}
}

// runFlag names the run that a call belongs to.
func runFlag() cli.Flag {
	return &cli.StringFlag{Name: "run", Usage: "only for the run `ID`, as begin has named it: a run that was taken over is refused"}
}

// deployment is what a command does with the deploy of an app.
type deployment struct {
	w      *here.Node
	s      *tool.Session
	client *consul.Client
	app    string
	run    string // "" is whatever run there is
}

func openDeployment(w *here.Node, s *tool.Session, c *cli.Context) (*deployment, error) {
	if len(s.Args) != 1 || strings.Contains(s.Args[0], "/") {
		return nil, fault.New(fault.Usage, "expected one app")
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	return &deployment{w: w, s: s, client: client, app: s.Args[0], run: c.String("run")}, nil
}

// read reads the deploy, which must belong to the run that was named.
func (d *deployment) read(ctx context.Context) (deploy.State, error) {
	st, err := d.client.Deployment(ctx, d.app)
	if errors.Is(err, fleet.ErrNotFound) {
		return st, fault.WithHint(fault.New(fault.NotFound, "app %s was never deployed over the fleet", d.app), "svc-run deploy begin %s --release R", d.app)
	}
	if err == nil && d.run != "" {
		err = st.Belongs(d.run)
	}
	return st, err
}

// errSame tells change that there is nothing to write.
var errSame = errors.New("nothing to write")

// change replaces the deploy by what next makes of it, again when somebody else was faster.
func (d *deployment) change(ctx context.Context, next func(deploy.State) (deploy.State, error)) (st deploy.State, err error) {
	for range 20 {
		if st, err = d.read(ctx); err != nil {
			return st, err
		}
		var to deploy.State
		to, err = next(st)
		if errors.Is(err, errSame) {
			return to, nil
		}
		if err != nil {
			return st, err
		}
		if err = d.client.SetDeployment(ctx, to); !errors.Is(err, fleet.ErrConflict) {
			return to, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return st, err
}

// record writes what a command did to the journal.
func (d *deployment) record(ctx context.Context, began time.Time, steps []deploy.Step, changed bool, err error) {
	a := fleet.Audit{
		At: began.UTC(), App: d.app, Result: fault.KindOf(err).String(), Changed: changed, Seconds: d.w.Now().Sub(began).Seconds(),
	}
	for _, s := range steps {
		a.Plan = append(a.Plan, s.String())
	}
	if err != nil {
		a.Error = d.s.Veil(err.Error())
	}
	d.w.Record(ctx, d.s, d.client, a)
}

// holderOf is who runs this, and where.
func holderOf(w *here.Node) string {
	host, _ := os.Hostname()
	return node.Who(w.Getenv) + "@" + host
}

// deployView is a deploy as commands print it.
type deployView struct {
	deploy.State
	Ended   bool          `json:"ended"`
	Rounds  int           `json:"rounds"`            // calls of step on every node, each with an advance, that there can still be
	Open    []string      `json:"open"`              // nodes whose turn it is
	Lacking []string      `json:"lacking,omitempty"` // of these, who has not said how it ended
	Took    string        `json:"took,omitempty"`    // what was taken over from an earlier run
	Notes   []string      `json:"notes,omitempty"`
	Steps   []deploy.Step `json:"steps,omitempty"`
	DryRun  bool          `json:"dry_run,omitempty"`
	Changed bool          `json:"changed"` // something that runs, or that is to run, is another one now
}

func viewOf(st deploy.State) deployView {
	v := deployView{State: st, Ended: !st.Active(), Rounds: st.Rounds(), Open: []string{}}
	for _, name := range st.Members() {
		if do, _ := deploy.Turn(st, name); do != deploy.Nothing {
			v.Open = append(v.Open, name)
		}
	}
	return v
}

func (v deployView) write(out io.Writer, s *tool.Session) {
	if v.DryRun {
		fmt.Fprintln(out, "would:")
	}
	for i, step := range v.Steps {
		fmt.Fprintf(out, "%d. %s\n", i+1, s.Paint(tool.Plain, step.String()))
	}
	if v.Took != "" {
		fmt.Fprintln(out, "goes on with "+s.Paint(tool.Plain, v.Took))
	}
	for _, n := range v.Notes {
		fmt.Fprintln(out, "note: "+s.Paint(tool.Plain, n))
	}
	if v.DryRun {
		return
	}
	fmt.Fprintf(out, "%s %s, run %s by %s: %s\n", v.App, v.Release, v.Run, s.Paint(tool.Plain, v.Holder), s.Paint(tool.Plain, v.Words()))
	if v.Failure != nil {
		fmt.Fprintln(out, s.Paint(tool.Bad, v.Failure.Words()))
	}
	if len(v.Lacking) > 0 {
		fmt.Fprintln(out, "not done yet: "+strings.Join(v.Lacking, ", "))
	}
}

func (d *deployment) show(v deployView) error {
	return d.s.Result(v, func(out io.Writer) { v.write(out, d.s) })
}

func deployStatusCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the last deploy of an app: which node is how far, and why it failed", ArgsUsage: "APP",
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := openDeployment(w, s, c)
			if err != nil {
				return err
			}
			st, err := d.read(ctx)
			if err != nil {
				return err
			}
			v := viewOf(st)
			return s.Result(v, func(out io.Writer) {
				v.write(out, s)
				t := s.Table("NODE", "ZONE", "IS", "SINCE", "WHY")
				for _, name := range st.Members() {
					n := st.Nodes[name]
					is, why, since := string(n.Is), "", ""
					if n.Working {
						is += ", at work"
					}
					if n.Why != nil {
						why = cut(n.Why.Words(), 120)
					}
					if !n.At.IsZero() {
						since = stamp(n.At)
					}
					t.Row(name, n.Zone, is, since, why)
				}
				t.Write(out)
			})
		}),
	}
}

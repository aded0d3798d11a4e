package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func promoteCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "promote", Usage: "make a release the current one of an app", ArgsUsage: "APP RELEASE",
		Description: `Moves the pointer that "up" without --release follows, for every service of the
release or one of them, keeps the former release as the previous one, and marks
the release stable. It touches no container. A release that is marked failed is
refused without --force.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "service", Usage: "move only this `SERVICE`"},
			&cli.BoolFlag{Name: "force", Usage: "promote a release that is marked failed"},
			tool.DryRun(),
		},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			client, err := w.Consul(s)
			if err != nil {
				return err
			}
			p := promotion{
				app: s.Args[0], release: s.Args[1], service: c.String("service"), force: c.Bool("force"),
				by: node.Who(w.Getenv), now: w.Now().UTC(),
			}
			return promoteApp(ctx, w, s, client, p)
		}),
	}
}

// promotion is what is asked for.
type promotion struct {
	app, release, service string
	image                 string // that was proven; "" is the one of the release's record
	force                 bool
	by                    string
	now                   time.Time
}

// releaseStore is what promote needs of Consul.
type releaseStore interface {
	Release(ctx context.Context, app, name string) (fleet.Release, error)
	Current(ctx context.Context, app string) (fleet.Current, error)
	SetCurrent(ctx context.Context, app string, cur fleet.Current) error
	MarkStable(ctx context.Context, app, name string, m fleet.Mark) error
}

type promoteStore interface {
	releaseStore
	here.Journal
}

// promotePlan is what promote will do, with the result it prints.
type promotePlan struct {
	App     string        `json:"app"`
	Release string        `json:"release"`
	DryRun  bool          `json:"dry_run"`
	Changed bool          `json:"changed"`
	Steps   []promoteStep `json:"steps"`

	next fleet.Current
	move bool        // next is to be written
	mark *fleet.Mark // to be written
}

type promoteStep struct {
	Do  string `json:"do"`
	Why string `json:"why"`
}

func promoteApp(ctx context.Context, w *here.Node, s *tool.Session, store promoteStore, p promotion) error {
	began := w.Now()
	release, err := store.Release(ctx, p.app, p.release)
	if err != nil {
		return p.refuseRead(err)
	}
	current, err := store.Current(ctx, p.app)
	if err != nil {
		return err
	}
	plan, err := planPromotion(p, release, current)
	if err != nil {
		return err
	}
	if plan.DryRun = s.DryRun; !s.DryRun && len(plan.Steps) > 0 {
		plan.Changed, err = plan.carryOut(ctx, store)
		record := fleet.Audit{
			At: began.UTC(), App: p.app, Service: p.service, Plan: plan.words(),
			Result: fault.KindOf(err).String(), Changed: plan.Changed, Seconds: w.Now().Sub(began).Seconds(),
		}
		if err != nil {
			record.Error = err.Error()
		}
		w.Record(ctx, s, store, record)
		if err != nil {
			return err
		}
	}
	return s.Result(plan, func(out io.Writer) { plan.write(out, s) })
}

// promoteHere makes the job's release, with the image that was just proven here, the
// current one of this service.
func promoteHere(ctx context.Context, d *here.Deploy, job apply.Job) (bool, error) {
	release, err := d.Consul.Release(ctx, d.App, job.Wanted.Release)
	if err != nil {
		return false, err
	}
	current, err := d.Consul.Current(ctx, d.App)
	if err != nil {
		return false, err
	}
	plan, err := planPromotion(promotion{
		app: d.App, release: release.Name, service: d.Service, image: job.Wanted.Image,
		by: node.Who(d.Node.Getenv), now: d.Node.Now().UTC(),
	}, release, current)
	if err != nil {
		return false, err
	}
	return plan.carryOut(ctx, d.Consul)
}

// refuseRead tells a release that is not there from one that cannot be read.
func (p promotion) refuseRead(err error) error {
	if errors.Is(err, fleet.ErrNotFound) || fault.KindOf(err) != fault.Invalid {
		return err
	}
	return fault.WithHint(fault.New(fault.Refused, "promote %s of %s: its record cannot be read: %w", p.release, p.app, err),
		"build and push it again, or promote another one: svc-run releases %s", p.app)
}

// planPromotion decides what changes. It is pure.
func planPromotion(p promotion, r fleet.Release, current fleet.Current) (promotePlan, error) {
	plan := promotePlan{App: p.app, Release: p.release, Steps: []promoteStep{}}
	pinned := ""
	if p.image != "" && p.image != r.Image {
		r.Image, pinned = p.image, p.image
	}
	if r.Failed != nil && r.Failed.Image == r.Image && !p.force {
		return plan, fault.WithHint(fault.New(fault.Refused, "promote %s of %s: it was marked failed by %s on %s",
			p.release, p.app, r.Failed.By, stamp(r.Failed.At)), "--force promotes it all the same")
	}
	decoded, problems := spec.Decode(here.SpecFile, []byte(r.Spec))
	if err := spec.Invalid(fmt.Sprintf("promote %s of %s: the spec in its record", p.release, p.app), problems); err != nil {
		return plan, &fault.Error{Kind: fault.Refused, Err: err, Hint: "build and push it again"}
	}
	var keys []string
	for _, s := range decoded.Services {
		if p.service == "" || p.service == s.Key {
			keys = append(keys, s.Key)
		}
	}
	if len(keys) == 0 {
		return plan, fault.New(fault.NotFound, "promote %s of %s: it has no service %s", p.release, p.app, p.service)
	}
	plan.next = fleet.Current{Services: maps.Clone(current.Services), Index: current.Index}
	if plan.next.Services == nil {
		plan.next.Services = map[string]fleet.Pointer{}
	}
	for _, key := range slices.Sorted(slices.Values(keys)) {
		old := current.Services[key]
		next := fleet.Pointer{Release: p.release, Previous: old.Release, Image: pinned, At: p.now, By: p.by}
		why := "it has none yet"
		switch {
		case old.Release == p.release && old.Image == pinned:
			continue
		case old.Release == p.release:
			next.Previous = old.Previous
			why = "another image of it is current now"
		case old.Release != "":
			why = "it is " + old.Release + " now, which becomes the previous one"
		}
		plan.move = true
		plan.next.Services[key] = next
		plan.Steps = append(plan.Steps, promoteStep{Do: fmt.Sprintf("make %s the current release of %s/%s", p.release, p.app, key), Why: why})
	}
	plan.addMark(p, r)
	return plan, nil
}

func (plan *promotePlan) addMark(p promotion, r fleet.Release) {
	why := "it is promoted"
	switch {
	case r.Failed != nil && r.Failed.Image == r.Image:
		why = "it was marked failed, and --force is given"
	case r.Stable != nil && r.Stable.Image == r.Image:
		return
	case r.Stable != nil:
		why = "its image changed since it was marked"
	}
	plan.mark = &fleet.Mark{Image: r.Image, By: p.by, At: p.now}
	plan.Steps = append(plan.Steps, promoteStep{Do: fmt.Sprintf("mark %s stable", p.release), Why: why})
}

// carryOut writes the pointers, then the mark: a call that ends between the two is finished by the next one.
func (plan promotePlan) carryOut(ctx context.Context, store releaseStore) (changed bool, err error) {
	if plan.move {
		if err := store.SetCurrent(ctx, plan.App, plan.next); err != nil {
			return false, err
		}
		changed = true
	}
	if plan.mark != nil {
		if err := store.MarkStable(ctx, plan.App, plan.Release, *plan.mark); err != nil {
			if changed {
				return true, fault.WithHint(&fault.Error{Kind: fault.Partial, Err: err, Msg: "mark stable"}, "the pointers are moved; call again to mark it")
			}
			return false, err
		}
		changed = true
	}
	return changed, nil
}

func (plan promotePlan) words() []string {
	var out []string
	for _, s := range plan.Steps {
		out = append(out, s.Do+": "+s.Why)
	}
	return out
}

func (plan promotePlan) write(w io.Writer, s *tool.Session) {
	if len(plan.Steps) == 0 {
		fmt.Fprintln(w, s.Paint(tool.Plain, "nothing to do: "+plan.Release+" is current and stable"))
		return
	}
	if plan.DryRun {
		fmt.Fprintln(w, "would:")
	}
	for _, step := range plan.words() {
		fmt.Fprintln(w, "- "+s.Paint(tool.Plain, step))
	}
}

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/deploy"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func deployBeginCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "begin", Usage: "plan a deploy over the fleet, and take it", ArgsUsage: "APP[/SERVICE]",
		Description: `Nodes are those that --nodes names, else those on which Consul shows instances of the service. The canary goes first; a batch holds nodes
of one zone. Another run that is at work is left alone (exit 14, with its holder); one that gives no sign of life for --patience is taken over and
finished. deploy.window of app.yaml is kept to, unless --override gives a reason. Nothing that runs is changed by this command.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "deploy `RELEASE`"},
			&cli.BoolFlag{Name: "rollback", Usage: "deploy the release that was stable before the current one, once; further back by --release; no window is kept to"},
			&cli.StringFlag{Name: "nodes", Usage: "on these `NODES` (comma-separated), also where none of it runs yet"},
			&cli.StringFlag{Name: "batch", Usage: "change `N` nodes, or N% of them, at once", DefaultText: "deploy.batch of app.yaml: 25%"},
			&cli.IntFlag{Name: "canary", Usage: "change `N` nodes first", DefaultText: "deploy.canary of app.yaml: 1"},
			&cli.StringFlag{Name: "from", Usage: "take the record from `DATACENTER`, where the release must be stable"},
			&cli.StringFlag{Name: "override", Usage: "begin outside deploy.window, for this `REASON`, which the journal keeps"},
			&cli.BoolFlag{Name: "force", Usage: "deploy a release that is marked failed"},
			&cli.StringFlag{Name: "run", Usage: "call this run `ID`; the same again goes on with its own deploy", DefaultText: "at random"},
			&cli.StringFlag{Name: "holder", Usage: "who is told to others as the holder, `WHO@WHERE`", DefaultText: "this user on this machine"},
			&cli.DurationFlag{Name: "patience", Value: deploy.Patience, Usage: "watch another run for `TIME` until it counts as dead"},
			&cli.BoolFlag{Name: "take-over", Usage: "another run is dead for certain: take its deploy over at once"},
			tool.DryRun(),
		},
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			b, err := openBeginning(w, s, c)
			if err != nil {
				return err
			}
			return b.begin(ctx)
		}),
	}
}

// beginning is one call of begin.
type beginning struct {
	deployment
	c      *cli.Context
	only   string // service
	copied bool   // the record came out of another datacenter
	notes  []string
}

func openBeginning(w *here.Node, s *tool.Session, c *cli.Context) (*beginning, error) {
	if len(s.Args) != 1 {
		return nil, fault.New(fault.Usage, "expected one app, as APP or APP/SERVICE")
	}
	if c.Bool("rollback") == (c.String("release") != "") && !c.Bool("rollback") {
		return nil, fault.New(fault.Usage, "expected --release or --rollback")
	}
	t := here.Target{App: s.Args[0]}
	if app, service, ok := strings.Cut(s.Args[0], "/"); ok {
		t = here.Target{App: app, Service: service}
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	run := c.String("run")
	if run == "" {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails since Go 1.24
		run = hex.EncodeToString(random[:])
	}
	return &beginning{deployment: deployment{w: w, s: s, client: client, app: t.App, run: run}, c: c, only: t.Service}, nil
}

func (b *beginning) begin(ctx context.Context) error {
	began := b.w.Now()
	st, took, err := b.plan(ctx)
	if err == nil && !b.s.DryRun {
		err = b.client.SetDeployment(ctx, st)
		if errors.Is(err, fleet.ErrConflict) {
			err = fault.WithHint(err, "somebody else began a deploy of %s at the same moment: svc-run deploy status %s", b.app, b.app)
		}
	}
	v := deployView{}
	if err == nil {
		v = viewOf(st)
		v.Took, v.Notes, v.Steps, v.DryRun, v.Changed = took, b.notes, st.Steps(), b.s.DryRun, b.copied
	}
	if !b.s.DryRun && (err == nil || b.copied || b.c.String("override") != "") {
		b.record(ctx, began, v.Steps, b.copied, err)
	}
	if err != nil {
		return err
	}
	return b.show(v)
}

// plan is everything that begin decides, and copies the release's record where it is to come from elsewhere.
func (b *beginning) plan(ctx context.Context) (deploy.State, string, error) {
	list, _, err := b.client.Releases(ctx, b.app)
	if err != nil {
		return deploy.State{}, "", err
	}
	current, err := b.client.Current(ctx, b.app)
	if err != nil {
		return deploy.State{}, "", err
	}
	release, err := b.release(ctx, list, current)
	if err != nil {
		return deploy.State{}, "", err
	}
	app, err := apply.SpecOf(release)
	if err != nil {
		return deploy.State{}, "", err
	}
	if err := b.allowed(release, app.Deploy); err != nil {
		return deploy.State{}, "", err
	}
	want := deploy.Wanted{
		App: b.app, Release: release.Name, Image: release.Image, Rollback: b.c.Bool("rollback"), Only: b.only,
		Run: b.run, Holder: b.c.String("holder"), Stable: map[string]deploy.Aim{},
	}
	if want.Holder == "" {
		want.Holder = holderOf(b.w)
	}
	var names []string
	for _, s := range app.Services {
		if s.Kind == spec.Cron || b.only != "" && s.Key != b.only {
			continue
		}
		names = append(names, s.Name)
		want.Services = append(want.Services, s.Key)
		if rollout.StopFirst(s) != "" {
			want.Tight = append(want.Tight, s.Key)
		}
		if aim, ok := stableAim(list, current.Services[s.Key], release.Image); ok {
			want.Stable[s.Key] = aim
		}
	}
	if len(want.Services) == 0 {
		return deploy.State{}, "", fault.New(fault.NotFound, "release %s of %s has no service %s that a deploy could change", release.Name, b.app, b.only)
	}
	if want.How, err = b.how(app.Deploy, want.Rollback); err != nil {
		return deploy.State{}, "", err
	}
	return b.settle(ctx, want, names)
}

// settle finds the nodes, and joins the plan with what an earlier run has left.
func (b *beginning) settle(ctx context.Context, want deploy.Wanted, names []string) (deploy.State, string, error) {
	for {
		old, err := b.old(ctx)
		if err != nil {
			return deploy.State{}, "", err
		}
		if err := b.findNodes(ctx, &want, names, old); err != nil {
			return deploy.State{}, "", err
		}
		st, notes := deploy.Plan(want, b.w.Now().UTC())
		b.notes = notes
		claim := deploy.Claim{TakeOver: b.c.Bool("take-over")}
		next, took, err := deploy.Begin(old, st, claim, b.w.Now().UTC())
		if fault.KindOf(err) != fault.Conflict || b.s.DryRun {
			if err == nil && old != nil {
				next.Index = old.Index
			}
			return next, took, err
		}
		alive, werr := b.alive(ctx, *old)
		if werr != nil {
			return deploy.State{}, "", werr
		}
		if alive == nil {
			claim.Watched = true
			next, took, err = deploy.Begin(old, st, claim, b.w.Now().UTC())
			return next, took, err
		}
		if alive.Active() {
			return deploy.State{}, "", err // it named the holder
		}
	}
}

func (b *beginning) old(ctx context.Context) (*deploy.State, error) {
	old, err := b.client.Deployment(ctx, b.app)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	return &old, err
}

// alive watches another run for a sign of life: the deploy after it, nil when there was none.
func (b *beginning) alive(ctx context.Context, old deploy.State) (*deploy.State, error) {
	patience := b.c.Duration("patience")
	if patience <= 0 {
		return &old, nil
	}
	b.s.Say("%s deploys %s: watching up to %s whether that run is alive", old.Holder, old.Release, patience)
	watch, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.client.AwaitDeployment(watch, b.app, old.Index)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && watch.Err() == nil:
		return nil, err
	}
	now, err := b.old(ctx)
	if err != nil || now == nil || now.Index == old.Index {
		return nil, err
	}
	return now, nil
}

// findNodes fills in the nodes of a deploy. Nodes that a dead run of another release has changed are among them.
func (b *beginning) findNodes(ctx context.Context, want *deploy.Wanted, names []string, old *deploy.State) error {
	members, err := b.client.Members(ctx)
	if err != nil {
		return err
	}
	known := map[string]fleet.Member{}
	for _, m := range members {
		known[m.Node] = m
	}
	asked := map[string]bool{}
	want.Place = b.c.String("nodes") != ""
	for name := range strings.SplitSeq(b.c.String("nodes"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			asked[name] = true
		}
	}
	if !want.Place {
		for _, name := range names {
			found, err := b.client.Service(ctx, name)
			if err != nil {
				return err
			}
			for _, r := range found {
				if r.Meta[fleet.MetaOwner] != "" && r.Meta[fleet.MetaApp] == b.app {
					asked[r.Node] = true
				}
			}
		}
	}
	if len(asked) == 0 {
		return fault.WithHint(fault.New(fault.NotFound, "deploy %s: no node runs it yet", b.app), "name those that shall: --nodes node1,node2")
	}
	want.Nodes = map[string]string{}
	var missing, dead []string
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		switch m, ok := known[name]; {
		case !ok:
			missing = append(missing, name)
		case !m.Alive:
			dead = append(dead, name)
		default:
			want.Nodes[name] = m.Zone
		}
	}
	if old != nil && old.Active() && old.Run != b.run {
		for name, n := range old.Nodes {
			if m, ok := known[name]; ok && m.Alive && n.Touched {
				want.Nodes[name] = m.Zone
			}
		}
	}
	switch {
	case len(missing) > 0:
		return fault.New(fault.NotFound, "deploy %s: Consul knows no node %s", b.app, strings.Join(missing, ", "))
	case len(dead) > 0:
		return fault.WithHint(fault.New(fault.Refused, "deploy %s: Consul says that these nodes are down: %s", b.app, strings.Join(dead, ", ")),
			"bring them back, or name the others: --nodes; a node that comes back later gets what is current by `svc-run up`")
	}
	return nil
}

// allowed keeps to windows, and away from what has failed.
func (b *beginning) allowed(r fleet.Release, how spec.Deploy) error {
	if r.Failed != nil && r.Failed.Image == r.Image && !b.c.Bool("force") {
		e := fault.New(fault.Refused, "deploy %s of %s: it was marked failed by %s on %s", r.Name, b.app, r.Failed.By, stamp(r.Failed.At))
		if r.Failed.Why != "" {
			e.Detail = []string{r.Failed.Why}
		}
		return fault.WithHint(e, "--force deploys it all the same")
	}
	if b.c.Bool("rollback") || b.c.String("override") != "" {
		return nil
	}
	err := deploy.InWindow(how.Windows, b.w.Now(), func(zone string, at time.Time) (time.Time, bool) {
		place, err := time.LoadLocation(zone)
		if err != nil {
			return at, false
		}
		return at.In(place), true
	})
	if err != nil {
		return fmt.Errorf("deploy %s of %s: %w", r.Name, b.app, err)
	}
	return nil
}

// how is app.yaml's way, with what the flags say instead.
func (b *beginning) how(how spec.Deploy, back bool) (spec.Deploy, error) {
	if back {
		how.Canary = 0
	}
	if text := b.c.String("batch"); text != "" {
		share, ok := spec.ParseShare(text)
		if !ok || share.Part == 0 && share.Count < 1 {
			return how, fault.New(fault.Usage, "--batch %q: expected a number of nodes such as 2, or a percentage such as 25%%", text)
		}
		how.Batch = share
	}
	if b.c.IsSet("canary") {
		if how.Canary = b.c.Int("canary"); how.Canary < 0 {
			return how, fault.New(fault.Usage, "--canary must not be negative")
		}
	}
	return how, nil
}

// stableAim is what a service goes back to: its current release when that is stable, else the last stable one that is another image.
func stableAim(list []fleet.Release, current fleet.Pointer, image string) (deploy.Aim, bool) {
	for _, r := range list {
		at := current.Image
		if at == "" {
			at = r.Image
		}
		if r.Name == current.Release && r.Stable != nil && r.Stable.Image == at {
			return deploy.Aim{Release: r.Name, Image: at}, true
		}
	}
	r, ok := apply.LastStable(list, []string{image})
	return deploy.Aim{Release: r.Name, Image: r.Image}, ok
}

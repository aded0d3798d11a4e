//go:build real

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/consul"
	"svckit/lib/deploy"
	"svckit/lib/fleet"
)

// deployFleet is a fleet on which svc-run is called as a playbook calls it.
type deployFleet struct {
	*lab.Fleet
	t      *testing.T
	consul *consul.Client
	app    string
	builds int
}

const fleetSpec = `
app: %s
build: {image: %s}
deploy: {batch: 50%%}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 10s, drain: 500ms}
    smoke: {http: /smoke}
`

func newDeployFleet(t *testing.T, dcs ...lab.Datacenter) *deployFleet {
	t.Helper()
	f := &deployFleet{t: t, Fleet: lab.NewFleet(t, dcs...), app: "shop"}
	var err error
	if f.consul, err = consul.OpenAt(f.Hosts[0].Addr()+":8500", "svc", hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	return f
}

// release builds an image with these manners and records it.
func (f *deployFleet) release(name, manners, text string) {
	f.t.Helper()
	image := lab.AppImage(f.t, f.Registry, f.app, name, manners)
	repo, _, _ := strings.Cut(image, "@")
	f.builds++
	err := f.consul.PutRelease(f.t.Context(), fleet.Release{
		App: f.app, Name: name, Image: image, Tag: repo + ":" + name, Spec: fmt.Sprintf(text, f.app, repo),
		BuiltBy: "test", BuiltAt: time.Now().UTC().Add(time.Duration(f.builds) * time.Millisecond),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *deployFleet) command(h *lab.Host, args ...string) *exec.Cmd {
	f.t.Helper()
	cmd := h.Command(f.t, os.Args[0], args...)
	cmd.Env = append(cmd.Env, asProgram+"=1", "SVC_DNS_MARGIN=100ms")
	return cmd
}

// on calls svc-run on a host.
func (f *deployFleet) on(h *lab.Host, args ...string) result {
	f.t.Helper()
	cmd := f.command(h, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		f.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must calls svc-run on the first host and expects a code.
func (f *deployFleet) must(code int, args ...string) result {
	f.t.Helper()
	got := f.on(f.Hosts[0], args...)
	if got.code != code {
		f.t.Fatalf("svc-run %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got.code, code, got.stdout, got.stderr)
	}
	return got
}

func (f *deployFleet) deployment() deploy.State {
	f.t.Helper()
	st, err := f.consul.Deployment(f.t.Context(), f.app)
	if err != nil {
		f.t.Fatal(err)
	}
	return st
}

// round calls every host, as one round of the playbook does; it reports which of them changed something.
func (f *deployFleet) round(run string) (changed []string) {
	f.t.Helper()
	var all sync.WaitGroup
	got := make([]result, len(f.Hosts))
	for i, h := range f.Hosts {
		all.Go(func() { got[i] = f.on(h, "deploy", "step", f.app, "--run", run, "--json") })
	}
	all.Wait()
	for i, g := range got {
		if g.code == 0 && decode[stepResult](f.t, g.stdout).Changed {
			changed = append(changed, f.Hosts[i].Name())
		} else if g.code != 0 {
			f.t.Logf("step on %s: exit %d: %s", f.Hosts[i].Name(), g.code, g.stderr)
		}
	}
	f.must(0, "deploy", "advance", f.app, "--run", run, "--over", "--json")
	return changed
}

// play begins a deploy and plays its rounds; it returns who changed what, round by round, and how it ended.
func (f *deployFleet) play(code int, args ...string) (rounds [][]string, end result) {
	f.t.Helper()
	begun := decode[deployView](f.t, f.must(0, append([]string{"deploy", "begin", f.app, "--json"}, args...)...).stdout)
	return f.goOn(code, begun)
}

func (f *deployFleet) goOn(code int, begun deployView) (rounds [][]string, end result) {
	f.t.Helper()
	for n := begun.Rounds; n > 0; n-- {
		if st := f.deployment(); st.Phase == deploy.Ready || !st.Active() {
			break
		}
		rounds = append(rounds, f.round(begun.Run))
	}
	end = f.must(code, "deploy", "finish", f.app, "--run", begun.Run, "--json")
	return rounds, end
}

// runs is which release each host runs.
func (f *deployFleet) runs() string {
	f.t.Helper()
	found, err := f.consul.Service(f.t.Context(), f.app+"-web")
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, r := range found {
		out = append(out, r.Meta[fleet.MetaRelease]+" "+string(r.Health))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// load puts load on the service, found by the DNS of two hosts.
func (f *deployFleet) load() *load.Load {
	var clients []*http.Client
	for _, h := range f.Hosts[:2] {
		clients = append(clients, load.Client(h.DNS(), false), load.Client(h.DNS(), true))
	}
	l := load.StartAt(load.Steady, "http://"+f.app+"-web.service.consul/", clients...)
	f.t.Cleanup(l.Stop)
	return l
}

func (f *deployFleet) noLoss(l *load.Load) {
	f.t.Helper()
	l.Stop()
	f.t.Logf("%d requests, %d failed", l.Done.Load(), l.Failed.Load())
	if l.Failed.Load() > 0 || l.Done.Load() == 0 {
		f.t.Errorf("%d requests, %d failed: %v", l.Done.Load(), l.Failed.Load(), l.Errors())
	}
}

func TestADeployGoesOverTheFleetAndComesBack(t *testing.T) {
	f := newDeployFleet(t, lab.Datacenter{Servers: 1, Hosts: 4, Zones: []string{"a", "b"}})
	names := map[string]string{} // host → zone
	for _, h := range f.Hosts {
		names[h.Name()] = h.Zone()
	}
	all := slices.Sorted(maps.Keys(names))
	f.release("r1", "good", fleetSpec)
	f.release("r2", "good", fleetSpec)
	if got := f.on(f.Hosts[0], "deploy", "begin", f.app, "--release", "r1"); got.code != 12 || !strings.Contains(got.stderr, "--nodes") {
		t.Fatalf("a first deploy without nodes: exit %d\n%s", got.code, got.stderr)
	}
	rounds, _ := f.play(0, "--release", "r1", "--nodes", strings.Join(all, ","))
	if len(rounds) != 4 || len(rounds[0]) != 0 { // pull, the canary, the rest of its zone, the other zone
		t.Errorf("rounds %q", rounds)
	}
	t.Run("a new release, under load", func(t *testing.T) {
		f.t = t
		l := f.load()
		rounds, end := f.play(0, "--release", "r2")
		f.noLoss(l)
		if v := decode[deployView](t, end.stdout); v.Result != deploy.Stable || !v.Changed || len(rounds) != 4 {
			t.Errorf("%s, changed %v, rounds %q", v.Result, v.Changed, rounds)
		}
		for _, r := range rounds[1:] {
			if slices.ContainsFunc(r, func(n string) bool { return names[n] != names[r[0]] }) {
				t.Errorf("two zones at once: %q", r)
			}
		}
		if got := f.runs(); got != "r2 passing, r2 passing, r2 passing, r2 passing" {
			t.Error(got)
		}
		if r, _ := f.consul.Release(t.Context(), f.app, "r2"); r.Stable == nil {
			t.Error("not marked stable")
		}
	})
	t.Run("the same again changes nothing", func(t *testing.T) {
		f.t = t
		rounds, end := f.play(0, "--release", "r2")
		if n := len(slices.Concat(rounds...)); n > 0 || decode[deployView](t, end.stdout).Changed {
			t.Errorf("changed: %q", rounds)
		}
	})
	t.Run("what fails in a later batch comes back", func(t *testing.T) {
		f.t = t
		last := f.deployment().Members()[2]
		f.release("r3", "sour "+last, fleetSpec)
		l := f.load()
		_, end := f.play(16, "--release", "r3")
		f.noLoss(l)
		want := "smoke of web on " + last
		if !strings.Contains(end.stderr, want) || !strings.Contains(end.stderr, "sour on "+last) {
			t.Errorf("said %s", end.stderr)
		}
		if got := f.runs(); got != "r2 passing, r2 passing, r2 passing, r2 passing" {
			t.Error(got)
		}
		r, _ := f.consul.Release(t.Context(), f.app, "r3")
		if r.Failed == nil || !strings.Contains(r.Failed.Why, want) {
			t.Errorf("marked %+v", r.Failed)
		}
		again := f.must(17, "deploy", "begin", f.app, "--release", "r3")
		if !strings.Contains(again.stderr, "was marked failed") {
			t.Error(again.stderr)
		}
	})
	t.Run("a killed run is finished by the next", func(t *testing.T) { killedRun(t, f) })
	t.Run("back to the stable release before", func(t *testing.T) {
		f.t = t
		l := f.load()
		f.play(0, "--rollback")
		f.noLoss(l)
		rounds, end := f.play(0, "--rollback") // what was left does not come back
		if n := len(slices.Concat(rounds...)); n > 0 || decode[deployView](t, end.stdout).Changed {
			t.Errorf("changed by the second rollback: %q", rounds)
		}
		if got := f.runs(); got != "r2 passing, r2 passing, r2 passing, r2 passing" {
			t.Error(got)
		}
	})
	t.Run("a drained node gets the release and stays out", func(t *testing.T) { drainedNode(t, f) })
}

// drainedNode has a node drained before a deploy, which must not bring it back into DNS.
func drainedNode(t *testing.T, f *deployFleet) {
	f.t = t
	out := f.Hosts[3]
	if got := f.on(out, "drain", f.app); got.code != 0 {
		t.Fatalf("drain: exit %d\n%s", got.code, got.stderr)
	}
	f.release("r5", "good", fleetSpec)
	l := f.load()
	f.play(0, "--release", "r5")
	f.noLoss(l)
	if got := f.runs(); got != "r5 maintenance, r5 passing, r5 passing, r5 passing" {
		t.Error(got)
	}
	if got := f.on(out, "return", f.app); got.code != 0 {
		t.Fatalf("return: exit %d\n%s", got.code, got.stderr)
	}
	if got := f.runs(); got != "r5 passing, r5 passing, r5 passing, r5 passing" {
		t.Error(got)
	}
}

// killedRun kills a control machine and a step in the middle of a batch.
func killedRun(t *testing.T, f *deployFleet) {
	f.t = t
	f.release("r4", "good", fleetSpec)
	begun := decode[deployView](t, f.must(0, "deploy", "begin", f.app, "--release", "r4", "--run", "one", "--holder", "ann@desk", "--json").stdout)
	f.round("one")
	first := f.deployment().Batches[0][0]
	h := f.Hosts[slices.IndexFunc(f.Hosts, func(h *lab.Host) bool { return h.Name() == first })]
	cmd := f.command(h, "deploy", "step", f.app, "--run", "one")
	cmd.Env = append(cmd.Env, killAfter+"=2")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the step was not killed: %v", err)
	}
	if n := f.deployment().Nodes[first]; !n.Working || !n.Touched {
		t.Fatalf("left %+v", n)
	}
	// Somebody else comes while the run still gives signs of life.
	ctx, stop := context.WithCancel(t.Context())
	var breathing sync.WaitGroup
	breathing.Go(func() {
		for ctx.Err() == nil {
			st, err := f.consul.Deployment(ctx, f.app)
			if err == nil {
				st.Beat = time.Now().UTC()
				_ = f.consul.SetDeployment(ctx, st)
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	refused := f.must(14, "deploy", "begin", f.app, "--release", "r4", "--run", "two", "--patience", "60s")
	stop()
	breathing.Wait()
	if !strings.Contains(refused.stderr, "ann@desk deploys r4") {
		t.Errorf("said %s", refused.stderr)
	}
	// Nobody breathes any more.
	l := f.load()
	next := decode[deployView](t, f.must(0, "deploy", "begin", f.app, "--release", "r4", "--run", "two", "--patience", "2s", "--json").stdout)
	if next.Took != "the deploy that ann@desk began" {
		t.Errorf("took %q", next.Took)
	}
	if late := f.on(f.Hosts[0], "deploy", "advance", f.app, "--run", begun.Run, "--over"); late.code != 14 {
		t.Errorf("the old run goes on: exit %d\n%s", late.code, late.stderr)
	}
	f.goOn(0, next)
	f.noLoss(l)
	if got := f.runs(); got != "r4 passing, r4 passing, r4 passing, r4 passing" {
		t.Error(got)
	}
}

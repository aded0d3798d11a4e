package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/registry"
	"svckit/lib/source"
	"svckit/lib/tool"
)

const journalLimit = 5 * time.Second

// builder walks the steps of one build.
type builder struct {
	world
	subject
	talk     *tool.Session
	began    time.Time
	docker   engine
	ledger   ledger // nil: nothing is recorded
	machine  string
	insecure bool          // how the registry is spoken to
	before   before        // what was there
	known    fleet.Release // the record of that name, if there is one
}

// before is what a build is compared with to know whether it changed something.
type before struct {
	image  string // id of the local image
	digest string // of the manifest that the tag names in the registry
}

// run does the steps in order and stops at the first that fails: nothing is pushed
// unless the test passed, nothing is recorded unless the registry confirmed.
func (b *builder) run(ctx context.Context, steps []step) (out outcome, err error) {
	out = outcome{Tag: b.ref(), Release: b.release, Test: tested{Command: b.spec.Build.Test}}
	var id, digest string
	for _, s := range steps {
		b.talk.Log.Debug("step", "do", s.Do, "what", s.What)
		switch s.Do {
		case doBuild:
			if id, err = b.buildImage(ctx); err == nil {
				out.Image, out.Changed = b.repo+"@"+id, id != b.before.image
			}
		case doTest:
			out.Test.Seconds, err = b.runTest(ctx, id)
			out.Test.Ran = err == nil
		case doPush:
			if digest, err = b.pushImage(ctx); err == nil {
				out.Image, out.Pushed, out.Changed = b.repo+"@"+digest, true, digest != b.before.digest
			}
		case doConfirm:
			err = b.confirm(ctx, digest)
		case doRecord:
			var changed bool
			if changed, err = b.putRelease(ctx, out); err == nil {
				out.Recorded, out.Changed = true, out.Changed || changed
			}
		}
		if err != nil {
			out.Seconds = b.seconds()
			return out, err
		}
	}
	out.Seconds = b.seconds()
	return out, nil
}

// reach asks everybody who will be needed whether they are there, before minutes of work.
func (b *builder) reach(ctx context.Context, prefix string) (err error) {
	if b.machine, err = os.Hostname(); err != nil {
		b.machine = "unknown"
	}
	if b.record {
		if b.ledger, err = b.world.ledger(prefix, b.talk.Log.Named("consul")); err != nil {
			return err
		}
		if err := b.askLedger(ctx); err != nil {
			return err
		}
	}
	if b.docker, err = b.engine(ctx, b.talk.Log.Named("docker")); err != nil {
		return err
	}
	if err := b.askEngine(ctx); err != nil {
		_ = b.docker.Close()
		return err
	}
	return nil
}

func (b *builder) askLedger(ctx context.Context) error {
	agent, err := b.ledger.Self(ctx)
	if err != nil {
		return fault.WithHint(err, "start a Consul agent, set CONSUL_HTTP_ADDR, or push without a record with --no-record")
	}
	b.machine = agent.Node
	b.known, err = b.ledger.Release(ctx, b.spec.Name, b.release)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return err
	}
	return nil
}

func (b *builder) askEngine(ctx context.Context) error {
	old, err := b.docker.Image(ctx, b.ref())
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return err
	}
	b.before.image = old.ID
	if !b.push {
		return nil
	}
	info, err := b.docker.Info(ctx)
	if err != nil {
		return err
	}
	b.insecure = registry.Insecure(b.ref(), info.Insecure)
	b.before.digest, err = b.digest(ctx, b.ref(), b.insecure)
	if fault.KindOf(err) == fault.Unreachable {
		return err
	}
	return nil // a registry that denies reading may still let us push; the confirmation will tell
}

func (b *builder) buildImage(ctx context.Context) (string, error) {
	progress, done := b.progress("build " + b.ref())
	defer done()
	return b.docker.Build(ctx, docker.BuildRequest{
		Context: b.tree.Files(), Dockerfile: b.tree.Dockerfile(), Tags: []string{b.ref()},
		Args: source.MergeArgs(b.spec.Build.Args, b.args), Labels: b.labels(), Secrets: b.secrets,
		NoCache: b.noCache, Pull: b.pull,
		Out: b.talk.Lines(), Every: b.talk.Verbose || !b.talk.Terminal(), Progress: progress,
	})
}

func (b *builder) runTest(ctx context.Context, id string) (seconds float64, err error) {
	owner, err := node.Holder(node.Who(b.getenv), b.machine, b.talk.Program, b.began)
	if err != nil {
		return 0, err
	}
	took, err := b.docker.RunTest(ctx, docker.TestRequest{
		Image: id, App: b.spec.Name, Command: b.spec.Build.Test, Limit: b.testLimit, Out: b.talk.Lines(),
		Owner: owner, Alive: node.Alive,
	})
	return round(took.Seconds()), err
}

func (b *builder) pushImage(ctx context.Context) (string, error) {
	progress, done := b.talk.Progress("push " + b.ref())
	defer done()
	return b.docker.Push(ctx, b.ref(), progress)
}

// confirm asks the registry what the tag names now.
func (b *builder) confirm(ctx context.Context, digest string) error {
	got, err := b.digest(ctx, b.ref(), b.insecure)
	if err != nil {
		return fmt.Errorf("confirm push: %w", err)
	}
	if got != digest {
		return fault.WithHint(fault.New(fault.Conflict, "confirm push: the registry has %s as %s, but %s was pushed", b.ref(), got, digest),
			"somebody pushed the same tag at the same time: build again")
	}
	return nil
}

// putRelease writes the record unless the same one is there.
func (b *builder) putRelease(ctx context.Context, out outcome) (changed bool, err error) {
	r := fleet.Release{
		App: b.spec.Name, Name: b.release, Image: out.Image, Tag: out.Tag, Spec: b.text, Templates: b.templates, Git: b.origin.Git,
		BuiltBy: node.Who(b.getenv) + "@" + b.machine, BuiltAt: b.now().UTC(),
		Test: fleet.TestResult{Command: out.Test.Command, Seconds: out.Test.Seconds, Ran: out.Test.Ran},
	}
	if sameRelease(r, b.known) {
		return false, nil
	}
	return true, b.ledger.PutRelease(ctx, r)
}

// sameRelease reports whether two records differ in nothing but when and by whom they were made.
func sameRelease(a, b fleet.Release) bool {
	return a.Image == b.Image && a.Tag == b.Tag && a.Spec == b.Spec && a.Git == b.Git &&
		maps.Equal(a.Templates, b.Templates) && a.Test.Ran == b.Test.Ran && slices.Equal(a.Test.Command, b.Test.Command)
}

func (b *builder) seconds() float64 { return round(b.now().Sub(b.began).Seconds()) }

func round(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

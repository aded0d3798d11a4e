package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/tool"
)

// outcome is the result of a build, as --json prints it.
type outcome struct {
	Image    string  `json:"image"` // repo@sha256:…: the registry's manifest when pushed, else the local image's id
	Tag      string  `json:"tag"`   // repo:tag
	Release  string  `json:"release"`
	Pushed   bool    `json:"pushed"`
	Recorded bool    `json:"recorded"` // Consul has a record of this release with this image
	Changed  bool    `json:"changed"`
	Seconds  float64 `json:"seconds"`
	Test     tested  `json:"test"`
}

type tested struct {
	Ran     bool     `json:"ran"`
	Command []string `json:"command,omitempty"`
	Seconds float64  `json:"seconds"`
}

func (w world) build(ctx context.Context, s *tool.Session, c *cli.Context) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	about, err := gather(ctx, o, w.getenv)
	if err != nil {
		return err
	}
	for _, value := range about.secrets {
		s.Hide(string(value))
	}
	steps := plan(about)
	for _, line := range remarks(about) {
		s.Say("note: %s", line)
	}
	if s.DryRun {
		return dryRun(s, steps)
	}
	settings, err := node.Load(s.Config, w.getenv)
	if err != nil {
		return err
	}
	b := builder{world: w, subject: about, talk: s, began: w.now()}
	if err := b.reach(ctx, settings.Prefix); err != nil {
		return err
	}
	defer b.docker.Close()
	done, err := b.run(ctx, steps)
	b.journal(ctx, steps, done, err)
	if err != nil {
		return err
	}
	return s.Result(done, func(out io.Writer) { fmt.Fprintln(out, done.Image) })
}

func dryRun(s *tool.Session, steps []step) error {
	return s.Result(map[string]any{"changed": false, "plan": steps}, func(out io.Writer) {
		for i, step := range steps {
			fmt.Fprintf(out, "%d. %s\n", i+1, step)
		}
	})
}

// journal writes the audit record of a build that was to change what others see. A
// journal that cannot be written is said and changes nothing.
func (b *builder) journal(ctx context.Context, steps []step, done outcome, failed error) {
	if b.ledger == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalLimit)
	defer cancel()
	a := fleet.Audit{
		At: b.began.UTC(), Who: node.Who(b.getenv), Node: b.machine, Program: b.talk.Program,
		// The call without values of build arguments, which may be nobody's business.
		Command: "build " + b.file + " --push", App: b.spec.Name,
		Result: fault.KindOf(failed).String(), Changed: done.Pushed && done.Changed, Seconds: b.seconds(),
	}
	if failed != nil {
		a.Error = failed.Error()
	}
	for _, s := range steps {
		a.Plan = append(a.Plan, s.String())
	}
	if err := b.ledger.Record(ctx, a); err != nil {
		b.talk.Log.Warn("journal not written", "error", err)
	}
}

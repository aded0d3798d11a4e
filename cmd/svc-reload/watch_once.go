package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/tool"
)

// pass is what `watch --once` prints.
type pass struct {
	Changed  bool       `json:"changed"`
	DryRun   bool       `json:"dry_run,omitempty"`
	Services []passedBy `json:"services"`
}

// passedBy is one service of a pass.
type passedBy struct {
	App     string   `json:"app"`
	Service string   `json:"service"`
	Changed bool     `json:"changed"`
	Differs []string `json:"differs"` // files and variables that had to change
	Kind    string   `json:"kind"`    // a fault.Kind's word
	Error   string   `json:"error,omitempty"`
	Detail  []string `json:"detail,omitempty"`
}

// watchOnce looks at every service of this node once, one after the other.
func watchOnce(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	watcher, err := newWatcher(ctx, w, s, c)
	if err != nil {
		return err
	}
	seen := watcher.looker.look(ctx)
	if seen.away != nil {
		return seen.away
	}
	watcher.book.Keep(seen.services)
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	sent := make(chan struct{})
	go func() { defer close(sent); watcher.queue.Run(sending) }()
	defer func() { stop(); <-sent }()

	out, failures := pass{DryRun: s.DryRun, Services: []passedBy{}}, []error(nil)
	for _, service := range seen.services {
		a := acted{service: service, err: seen.refused[service]}
		if a.err == nil {
			a = watcher.pass(ctx, service, seen.content[service], s.DryRun)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		out.add(a, s.DryRun)
		if a.err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", service, a.err))
		}
	}
	if !s.DryRun {
		if err := watcher.memory.save(watcher.book.Told()); err != nil {
			s.Log.Warn("what was told is not remembered", "error", err)
		}
	}
	if err := s.Result(out, out.text); err != nil {
		return err
	}
	return verdict(failures, len(out.Services))
}

// pass works on one service and tells of what went wrong.
func (w *watcher) pass(ctx context.Context, service, content string, dry bool) acted {
	w.book.Saw(service, content, time.Now())
	w.book.Begin(service)
	a := w.actor.act(ctx, service)
	if ctx.Err() != nil {
		return a
	}
	v := w.book.Done(service, fault.KindOf(a.err), a.problem, time.Now(), rand.Float64())
	if v.Tell && !dry {
		w.queue.Put(a.to, a.message)
	}
	return a
}

func (p *pass) add(a acted, dry bool) {
	app, key, _ := strings.Cut(a.service, "/")
	one := passedBy{App: app, Service: key, Changed: a.changed || dry && a.err == nil && len(a.keys) > 0, Differs: a.keys, Kind: fault.KindOf(a.err).String()}
	if one.Differs == nil {
		one.Differs = []string{}
	}
	if a.err != nil {
		one.Error, one.Detail = a.err.Error(), fault.DetailOf(a.err)
	}
	p.Changed = p.Changed || one.Changed
	p.Services = append(p.Services, one)
}

func (p pass) text(w io.Writer) {
	for _, s := range p.Services {
		switch {
		case s.Changed && p.DryRun:
			fmt.Fprintf(w, "%s/%s: new content of %s would be brought in\n", s.App, s.Service, strings.Join(s.Differs, ", "))
		case s.Changed:
			fmt.Fprintf(w, "%s/%s: new content of %s is in\n", s.App, s.Service, strings.Join(s.Differs, ", "))
		}
	}
	if !p.Changed {
		fmt.Fprintln(w, "nothing to do")
	}
}

// verdict is how a pass over so many services ends.
func verdict(failures []error, services int) error {
	switch {
	case len(failures) == 0:
		return nil
	case services == 1:
		return failures[0]
	}
	kind := fault.Partial
	if len(failures) == services {
		kind = fault.Failed
	}
	e := fault.New(kind, "%d of %d services did not get their new config", len(failures), services)
	for _, f := range failures {
		e.Detail = append(e.Detail, f.Error())
		for _, line := range fault.DetailOf(f) {
			e.Detail = append(e.Detail, "  "+line)
		}
	}
	return e
}

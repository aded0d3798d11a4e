package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func restoreCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "start again what a reboot left stopped on this node, as it was",
		ArgsUsage: "[APP[/SERVICE]]",
		Description: "Files and secrets of containers lie in memory. After a reboot they are gone, and Docker cannot start the\n" +
			"containers that mount them. For every service with a container that does not run, or runs and is not\n" +
			"registered, restore delivers files and secrets again, starts the containers that are there, and lets them\n" +
			"in through the same gate as up: same release, same image, same number. It is made for a unit at boot.\n" +
			"When Consul does not answer, the last good config of this node is used; the exit code is then 3, and a\n" +
			"second run, once Consul is back, does the rest.",
		BashComplete: serviceNames(w),
		Flags: []cli.Flag{
			tool.DryRun(),
			&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "wait up to `TIME` for Consul, and as long for each lock"},
		},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return restore(ctx, w, s, c.Duration("wait"))
		}),
	}
}

// restored is what restore prints.
type restored struct {
	Changed  bool          `json:"changed"`
	Offline  string        `json:"offline,omitempty"` // why Consul was not used
	Services []restoration `json:"services"`
}

// restoration is one service of a node: its outcome or its error.
type restoration struct {
	here.Outcome
	Error  string   `json:"error,omitempty"`
	Detail []string `json:"detail,omitempty"`
}

func restore(ctx context.Context, w *here.Node, s *tool.Session, wait time.Duration) error {
	of, err := restorable(w, s.Args)
	if err != nil {
		return err
	}
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return err
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	list, err := engine.Instances(ctx, of.App, of.Service)
	if err != nil || len(list) == 0 {
		return s.Result(restored{Services: []restoration{}}, restored{}.text)
	}
	known, away := awaitConsul(ctx, s, client, wait)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	result, failures := restored{Services: []restoration{}}, []error(nil)
	if away != nil {
		result.Offline = away.Error()
		s.Say("note: Consul is away, the last good config of this node is used: %v", away)
	}
	for _, t := range lost(list, known, settings.Prefix, away == nil) {
		o, err := restoreOne(ctx, w, s, t, away == nil, wait)
		one := restoration{Outcome: o}
		one.App, one.Service = t.App, t.Service
		if err != nil {
			failures = append(failures, fmt.Errorf("restore %s: %w", t, err))
			one.Error, one.Detail = err.Error(), fault.DetailOf(err)
		}
		result.Changed = result.Changed || o.Changed
		result.Services = append(result.Services, one)
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	if err := s.Result(result, result.text); err != nil {
		return err
	}
	return result.verdict(failures)
}

// restorable is what the arguments name; nothing is every service of this node.
func restorable(w *here.Node, args []string) (here.Target, error) {
	switch len(args) {
	case 0:
		return here.Target{}, nil
	case 1:
		t, _, err := w.Target(args[0])
		return t, err
	}
	return here.Target{}, fault.New(fault.Usage, "expected one app or service, got %d arguments", len(args))
}

// verdict is how restore ends when the result is printed.
func (r restored) verdict(failures []error) error {
	switch {
	case len(failures) == 1 && len(r.Services) == 1:
		return failures[0]
	case len(failures) > 0:
		kind := fault.Partial
		if len(failures) == len(r.Services) {
			kind = fault.Failed
		}
		e := fault.New(kind, "%d of %d services were not restored", len(failures), len(r.Services))
		for _, f := range failures {
			e.Detail = append(e.Detail, f.Error())
			for _, line := range fault.DetailOf(f) {
				e.Detail = append(e.Detail, "  "+line)
			}
		}
		return e
	case r.Offline != "" && len(r.Services) > 0:
		return fault.WithHint(fault.New(fault.Partial, "what can be started without Consul was started; what it knows was not checked"),
			"run `svc-run restore` again when Consul answers")
	}
	return nil
}

func (r restored) text(w io.Writer) {
	for _, s := range r.Services {
		if s.Error == "" {
			s.Outcome.Text(w)
		}
	}
	if len(r.Services) == 0 {
		fmt.Fprintln(w, "nothing to restore on this node")
	}
}

// awaitConsul waits until Consul has a leader and tells what is registered here.
func awaitConsul(ctx context.Context, s *tool.Session, c *consul.Client, wait time.Duration) ([]fleet.Registration, error) {
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	said := false
	for {
		known, err := registrationsWithLeader(ctx, c)
		if err == nil || fault.KindOf(err) != fault.Unreachable {
			return known, err
		}
		if !said {
			s.Say("waiting up to %s for Consul: %v", wait, err)
			said = true
		}
		select {
		case <-limit.Done():
			return nil, err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func registrationsWithLeader(ctx context.Context, c *consul.Client) ([]fleet.Registration, error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if leader == "" {
		return nil, fault.New(fault.Unreachable, "the Consul servers have no leader")
	}
	return c.Registrations(ctx)
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/tool"
)

// order is one thing that a person tells the planner.
type order struct {
	Service string `json:"service,omitempty"` // app/service
	Pool    string `json:"pool,omitempty"`
	Changed bool   `json:"changed"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Words   string `json:"words"` // what is different now
	given   bool   // it was given before, by whomever: nothing is written
	// await is called once it is given, before it is told; nil is allowed.
	await func(context.Context, *consul.Client) error
}

// give carries an order out, unless it is a dry run, and writes the audit record.
func give(ctx context.Context, w *here.Node, s *tool.Session, o order, do func(context.Context, *consul.Client) (changed bool, err error)) error {
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	if s.DryRun || o.given {
		o.DryRun, o.Changed = s.DryRun, !o.given
		if o.await != nil {
			if err := o.await(ctx, client); err != nil {
				return err
			}
		}
		return s.Result(o, o.text)
	}
	began := w.Now()
	o.Changed, err = do(ctx, client)
	if err != nil || o.Changed {
		a := fleet.Audit{At: began.UTC(), App: fleetApp, Result: fault.KindOf(err).String(), Changed: o.Changed, Plan: []string{o.Words}, Seconds: w.Now().Sub(began).Seconds()}
		if app, service, ok := strings.Cut(o.Service, "/"); ok {
			a.App, a.Service = app, service
		}
		if err != nil {
			a.Error = err.Error()
		}
		w.Record(ctx, s, client, a)
	}
	if err == nil && o.await != nil {
		err = o.await(ctx, client)
	}
	if err != nil {
		return err
	}
	return s.Result(o, o.text)
}

// fleetApp is the app under which the journal keeps what concerns the whole fleet.
const fleetApp = "scaled"

// serviceArg is the one argument of a command, APP/SERVICE.
func serviceArg(s *tool.Session) (string, error) {
	if len(s.Args) != 1 {
		return "", fault.New(fault.Usage, "expected one APP/SERVICE, found %d arguments", len(s.Args))
	}
	app, service, ok := strings.Cut(s.Args[0], "/")
	if !ok || app == "" || service == "" || strings.Contains(service, "/") {
		return "", fault.New(fault.Usage, "expected APP/SERVICE, found %q", s.Args[0])
	}
	return s.Args[0], nil
}

// why are the flags of every order: who reads it later wants to know.
func why() cli.Flag {
	return &cli.StringFlag{Name: "why", Usage: "`REASON`, for those who read it later"}
}

func lasts(usage string) cli.Flag { return &cli.DurationFlag{Name: "for", Usage: usage} }

// until is the end of an order; 0: it has none.
func until(w *here.Node, c *cli.Context) (int64, error) {
	d := c.Duration("for")
	if c.IsSet("for") && d < time.Second {
		return 0, fault.New(fault.Usage, "--for %s: expected a second or more", d)
	}
	if d == 0 {
		return 0, nil
	}
	return w.Now().Add(d).Unix(), nil
}

func who(w *here.Node) string { return node.Who(w.Getenv) }

// ends tells when an order ends.
func ends(at int64) string {
	if at == 0 {
		return "until it is taken back"
	}
	return "until " + time.Unix(at, 0).UTC().Format("2006-01-02 15:04:05 MST")
}

// names completes APP/SERVICE.
func names(w *here.Node) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		return w.ServiceNames(ctx, c.String("config"), want)
	})
}

func (o order) text(w io.Writer) {
	switch {
	case o.DryRun && o.Changed:
		fmt.Fprintf(w, "would: %s\n", o.Words)
	case !o.Changed:
		fmt.Fprintln(w, "nothing to change")
	default:
		fmt.Fprintln(w, o.Words)
	}
}

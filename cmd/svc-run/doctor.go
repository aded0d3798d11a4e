package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func doctorCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look for what would go wrong on this node, with a fix for each",
		Description: `Asks Docker, the Consul agent, DNS and the machine, and changes nothing.
Exit code 1 when something is an error; warnings alone leave it at 0. Under an
ordinary user some facts are not to be had: such checks are "unknown".`,
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			p, done := fleet.Progress(nil), func() {}
			if s.Terminal() {
				p, done = s.Progress("examine this node")
			}
			facts := examine(ctx, w, s, p)
			done()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			list := diagnose(facts)
			if err := s.Result(list, func(out io.Writer) { list.write(out, s) }); err != nil {
				return err
			}
			if list.Errors > 0 {
				return fault.New(fault.Failed, "examine this node: %s", count(list.Errors, "error"))
			}
			return nil
		}),
	}
}

// grade is the outcome of one check.
type grade string

const (
	good   grade = "ok"
	warn   grade = "warning"
	bad    grade = "error"
	unsure grade = "unknown" // the fact was not to be had
)

// finding is what one check found.
type finding struct {
	Check string `json:"check"`
	Grade grade  `json:"grade"`
	Says  string `json:"says"`
	Fix   string `json:"fix"` // what to do; "" when nothing is
}

type diagnosis struct {
	Checks   []finding `json:"checks"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
}

// check is one row of the doctor's list: a pure function of the facts that
// returns what is wrong, or one finding that all is well, or nothing when the
// check has no object here.
type check struct {
	name string
	look func(f facts) []finding
}

// checks is the doctor's list, in the order in which a cause comes before its effects.
func checks() []check {
	return []check{
		{"settings", checkSettings},
		{"docker", checkDocker},
		{"user namespaces", checkUserNS},
		{"consul agent", checkAgent},
		{"consul leader", checkLeader},
		{"consul version", checkConsulVersion},
		{"leave on terminate", checkLeave},
		{"dns", checkDNS},
		{"container dns", checkContainerDNS},
		{"port range", checkPortRange},
		{"ports in use", checkPorts},
		{"run folder", checkRunDir},
		{"state folder", checkStateDir},
		{"permissions", checkPermissions},
		{"disk", checkDisks},
		{"clock", checkClock},
		{"restart policy", checkRestart},
		{"stop signal", checkStopSignal},
		{"shell command", checkShell},
		{"code", checkCode},
		{"names", checkNames},
		{"maintenance", checkMaintenance},
		{"registry", checkRegistries},
	}
}

// diagnose runs every check over the facts.
func diagnose(f facts) diagnosis {
	d := diagnosis{Checks: []finding{}}
	for _, c := range checks() {
		for _, found := range c.look(f) {
			found.Check = c.name
			d.Checks = append(d.Checks, found)
			switch found.Grade {
			case bad:
				d.Errors++
			case warn:
				d.Warnings++
			}
		}
	}
	return d
}

func ok(format string, args ...any) []finding {
	return []finding{{Grade: good, Says: fmt.Sprintf(format, args...)}}
}

// is makes a finding; an empty fix is allowed.
func is(g grade, fix, format string, args ...any) finding {
	return finding{Grade: g, Says: fmt.Sprintf(format, args...), Fix: fix}
}

func (d diagnosis) write(w io.Writer, s *tool.Session) {
	tints := map[grade]tool.Tint{good: tool.Good, warn: tool.Warn, bad: tool.Bad, unsure: tool.Faint}
	for _, c := range d.Checks {
		word := s.Paint(tints[c.Grade], string(c.Grade)) + strings.Repeat(" ", len(warn)-len(c.Grade))
		fmt.Fprintf(w, "%s  %s: %s\n", word, c.Check, s.Paint(tool.Plain, c.Says))
		if c.Fix != "" {
			fmt.Fprintf(w, "%s  fix: %s\n", strings.Repeat(" ", len(warn)), s.Paint(tool.Plain, c.Fix))
		}
	}
}

// Package tool is the only place where a program meets its user: flags, signals,
// output, progress and exit codes. The rules:
//
//   - stdout is the result, stderr is talk.
//   - --json prints one JSON document on stdout, or one JSON error on stderr.
//   - Nothing secret is ever printed.
//   - Only Main ends the process.
package tool

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"svckit/lib/fleet"
)

// Session is what a command has to talk with: made once per call, never global.
type Session struct {
	Args   []string // arguments after the flags
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	JSON   bool         // --json
	Quiet  bool         // --quiet
	DryRun bool         // --dry-run, where the command has it
	Log    hclog.Logger // to stderr; --verbose and --log-json act on it
}

// Func is the work of one command.
type Func func(ctx context.Context, s *Session, c *cli.Context) error

// Result prints the command's result: v as one JSON document with --json, else what text writes.
// v must be a struct or map without a field "schema": Result adds "schema": 1.
func (s *Session) Result(v any, text func(w io.Writer)) error { panic("contract only") }

// Say prints one line of talk on stderr, unless --quiet.
func (s *Session) Say(format string, args ...any) { panic("contract only") }

// Progress returns a reporter for one long action: a line that is redrawn on a
// terminal, a plain line every few seconds elsewhere, nothing with --quiet.
// done ends it.
func (s *Session) Progress(title string) (p fleet.Progress, done func()) { panic("contract only") }

// Main runs the program and ends the process with its exit code.
func Main(app *cli.App) { panic("contract only") }

// Run is Main without the process: it returns the exit code.
func Run(ctx context.Context, app *cli.App, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	panic("contract only")
}

// Action turns the work of a command into a cli action.
func Action(f Func) cli.ActionFunc { panic("contract only") }

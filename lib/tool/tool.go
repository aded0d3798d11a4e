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
	"errors"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

// Session is what a command has to talk with: made once per call, never global.
type Session struct {
	Program string   // e.g. svc-run
	Command string   // the call in words, e.g. "up shortener/web --release 3f2c": for locks and the journal
	Args    []string // arguments after the flags
	Stdin   io.Reader
	Stdout  io.Writer // hides what Hide was told
	Stderr  io.Writer // hides what Hide was told, and keeps clear of the progress line
	JSON    bool      // --json
	Quiet   bool      // --quiet
	Verbose bool      // --verbose
	DryRun  bool      // --dry-run, where the command has it
	Config  string    // --config: the node's settings; "" is the default place
	Log     hclog.Logger

	talk   hclog.Logger // takes what is said, with --log-json
	screen *screen
	hidden *hidden
	colour bool
}

// Func is the work of one command.
type Func func(ctx context.Context, s *Session, c *cli.Context) error

// Action turns the work of a command into a cli action. A signal cancels ctx;
// when the command then ends with an error, the exit code is 130 or 143.
func Action(f Func) cli.ActionFunc {
	return func(c *cli.Context) error {
		return f(c.Context, newSession(c, hclog.Warn), c)
	}
}

// Daemon is Action for a program that runs until it is told to stop: TERM is
// then its good end (exit 0), and it logs at level info.
func Daemon(f Func) cli.ActionFunc {
	return func(c *cli.Context) error {
		err := f(c.Context, newSession(c, hclog.Info), c)
		var cause *stopped
		if errors.As(context.Cause(c.Context), &cause) && cause.term && endedBy(c.Context, err) {
			return nil
		}
		return err
	}
}

// DryRun is the flag of every command that changes something; it sets Session.DryRun.
func DryRun() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show what would be done, and do nothing"}
}

// Hide makes the session replace every later appearance of these values, on
// stdout, on stderr, in logs and in errors, by ***. It covers their JSON, URL,
// quoted and base64 forms too, and single lines of a value of many lines.
// Values shorter than 6 bytes are not hidden: they would garble ordinary text.
func (s *Session) Hide(values ...string) { s.hidden.add(values...) }

// Veil returns text as the session would print it: what Hide was told is replaced by ***. It is for
// text that leaves the program another way.
func (s *Session) Veil(text string) string {
	if s.hidden == nil {
		return text
	}
	text, _ = s.hidden.replace(text, true)
	return text
}

func newSession(c *cli.Context, level hclog.Level) *Session {
	r := runOf(c.App)
	s := &Session{
		Program: c.App.Name,
		Command: strings.Join(r.words, " "),
		Args:    c.Args().Slice(),
		Stdin:   r.stdin,
		Stdout:  r.stdout,
		Stderr:  r.screen,
		JSON:    c.Bool("json"),
		Quiet:   c.Bool("quiet"),
		Verbose: c.Bool("verbose"),
		DryRun:  c.Bool("dry-run"),
		Config:  c.String("config"),
		screen:  r.screen,
		hidden:  r.hidden,
		colour:  r.colour,
	}
	switch {
	case s.Verbose:
		level = hclog.Debug
	case s.Quiet:
		level = hclog.Error
	}
	s.screen.json = c.Bool("log-json")
	options := hclog.LoggerOptions{
		Name: c.App.Name, Level: level, Output: s.Stderr, JSONFormat: s.screen.json, Color: hclog.ColorOff,
	}
	s.Log = hclog.New(&options)
	options.Level = hclog.Info
	s.talk = hclog.New(&options)
	return s
}

// colourWanted reports whether w is a terminal whose user did not refuse colours.
func colourWanted(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

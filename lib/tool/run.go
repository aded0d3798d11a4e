package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
)

// Main runs the program with the process's arguments and ends the process with its exit code.
// The first SIGINT or SIGTERM cancels the command's context, the second ends the process at once.
func Main(app *cli.App) {
	ctx, stop := withSignals(context.Background(), os.Exit)
	code := Run(ctx, app, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run is Main without the process: it returns the exit code. args begins with
// the program's name, as os.Args does.
func Run(ctx context.Context, app *cli.App, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	h := &hidden{}
	r := &running{
		stdin:  stdin,
		stdout: &hiding{w: stdout, hidden: h},
		screen: newScreen(&hiding{w: stderr, hidden: h}, isTerminal(stderr)),
		hidden: h,
		colour: colourWanted(stdout),
	}
	var words []string
	if len(args) > 0 {
		words = args[1:]
	}
	defer func() {
		_ = r.stdout.Flush()
		r.screen.close()
	}()
	err := r.call(ctx, app, words)
	if err = judge(ctx, err); err == nil || r.stdout.caused(err) {
		return 0
	}
	printError(r.screen, app.Name, err, wantsJSON(words))
	return int(fault.KindOf(err))
}

// running is one call of a program, kept in the app's metadata.
type running struct {
	stdin  io.Reader
	stdout *hiding
	screen *screen
	hidden *hidden
	colour bool
	words  []string
}

const runKey = "svckit/tool"

func runOf(app *cli.App) *running { return app.Metadata[runKey].(*running) }

// call finds the command that is meant, and runs it or shows its help.
func (r *running) call(ctx context.Context, app *cli.App, words []string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p, words)
		}
	}()
	if err := prepare(app); err != nil {
		return err
	}
	app.Reader, app.Writer, app.ErrWriter = r.stdin, r.stdout, r.screen
	app.Metadata[runKey] = r
	if len(words) > 0 && words[0] == completeWord {
		complete(ctx, app, words[1:], r.stdout)
		return nil
	}
	found, err := parse(app, words)
	if err != nil {
		return err
	}
	switch {
	case found.help:
		return writeHelp(r.stdout, app, found.path)
	case found.version:
		return writeVersion(r.stdout, app, wantsJSON(words))
	case found.empty:
		if wantsJSON(words) {
			return usage("run "+app.Name+" help", "missing command")
		}
		_ = writeHelp(r.screen, app, found.path)
		return usage("", "missing command")
	}
	r.words = found.line()
	return app.RunContext(ctx, found.words(app))
}

func panicked(p any, words []string) error {
	e := fault.New(fault.Failed, "internal error: %v", p)
	e.Hint = "this is a bug; run again with --verbose to see where, and report it"
	for _, w := range beforeDashes(words) {
		if w == "--verbose" || w == "-v" {
			e.Hint = "this is a bug; please report it"
			e.Detail = lines(string(debug.Stack()))
		}
	}
	return e
}

// stopped is the cause of a context that a signal cancelled.
type stopped struct{ term bool }

func (s *stopped) Error() string {
	if s.term {
		return "terminated"
	}
	return "interrupted"
}

// Interrupt and Terminate are the causes to cancel a context with, to act as a SIGINT or SIGTERM does in Main.
func Interrupt() error { return &stopped{} }

// Terminate is the cause that stands for SIGTERM.
func Terminate() error { return &stopped{term: true} }

// endedBy reports whether err is how a command ends when its context is cancelled.
func endedBy(ctx context.Context, err error) bool {
	if ctx.Err() == nil {
		return false
	}
	return err == nil || errors.Is(err, context.Canceled) || fault.KindOf(err) == fault.Failed
}

// judge gives the error of a command its last kind.
func judge(ctx context.Context, err error) error {
	var pipe *brokenPipe
	var cause *stopped
	switch signalled := errors.As(context.Cause(ctx), &cause); {
	case err == nil, errors.As(err, &pipe):
		return nil
	case signalled && endedBy(ctx, err):
		kind := fault.Interrupted
		if cause.term {
			kind = fault.Terminated
		}
		e := &fault.Error{Kind: kind, Err: err, Hint: fault.HintOf(err), Detail: fault.DetailOf(err)}
		if errors.Is(err, context.Canceled) {
			e.Err = cause
		}
		return e
	case fault.KindOf(err) == fault.Failed && errors.Is(err, context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Timeout, Err: err, Hint: fault.HintOf(err), Detail: fault.DetailOf(err)}
	}
	return err
}

// brokenPipe says that nobody reads stdout any more: a quiet end.
type brokenPipe struct{ err error }

func (b *brokenPipe) Error() string { return fmt.Sprintf("write result: %v", b.err) }
func (b *brokenPipe) Unwrap() error { return b.err }

func pipeError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return &brokenPipe{err}
	}
	return err
}

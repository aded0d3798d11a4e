package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
)

// ran is what the test program was asked to do.
type ran struct {
	command string
	args    []string
	dry     bool
	release string
	tail    int
	tags    []string
	follow  bool
}

// program has the shapes of command that ours have, and records what ran.
func program(log *[]ran) *cli.App {
	note := func(name string) cli.ActionFunc {
		return Action(func(_ context.Context, s *Session, c *cli.Context) error {
			*log = append(*log, ran{name, s.Args, s.DryRun, c.String("release"), c.Int("tail"), c.StringSlice("tag"), c.Bool("follow")})
			return s.Result(map[string]any{"ran": name}, func(w io.Writer) { fmt.Fprintln(w, "ran", name) })
		})
	}
	return &cli.App{
		Name: "prog", Usage: "records what ran",
		Commands: []*cli.Command{
			{Name: "up", Usage: "start", ArgsUsage: "[TARGET]", Action: note("up"), Flags: []cli.Flag{
				DryRun(), &cli.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "`NAME` of the release"},
				&cli.StringSliceFlag{Name: "tag", Usage: "a `TAG`"},
			}},
			{Name: "logs", Usage: "show logs", ArgsUsage: "TARGET...", Action: note("logs"), Flags: []cli.Flag{
				&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow"},
				&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "times"},
				&cli.IntFlag{Name: "tail", Value: 100, Usage: "`N` lines"},
				&cli.DurationFlag{Name: "since", Usage: "`AGE`"},
			}},
			{Name: "promote", Usage: "promote", ArgsUsage: "APP RELEASE", Action: note("promote")},
			{Name: "set", Usage: "a group", Flags: []cli.Flag{&cli.StringFlag{Name: "release", Usage: "r"}}, Subcommands: []*cli.Command{
				{Name: "one", Usage: "one", ArgsUsage: "[A] [B]", Action: note("set one"), Flags: []cli.Flag{DryRun()}},
			}},
		},
	}
}

func run(t *testing.T, words ...string) (code int, stdout, stderr string, log []ran) {
	t.Helper()
	var out, talk bytes.Buffer
	code = Run(t.Context(), program(&log), append([]string{"prog"}, words...), strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String(), log
}

func TestEveryArgumentIsHonouredOrRefused(t *testing.T) {
	up := func(change func(*ran)) *ran {
		r := ran{command: "up", args: []string{"web"}, tags: []string{}}
		change(&r)
		return &r
	}
	dry := up(func(r *ran) { r.dry = true })
	tests := []struct {
		name  string
		words string
		want  *ran   // nil: nothing ran
		code  int    // 10 when nothing ran
		err   string // part of stderr
	}{
		{"flag before the argument", "up --dry-run web", dry, 0, ""},
		{"flag after the argument", "up web --dry-run", dry, 0, ""},
		{"short flag after the argument", "up web -n", dry, 0, ""},
		{"flag with a value after the argument", "up web --release r1 --dry-run", up(func(r *ran) { r.dry = true; r.release = "r1" }), 0, ""},
		{"flag with = after the argument", "up web --release=r1", up(func(r *ran) { r.release = "r1" }), 0, ""},
		{"value that begins with a dash, with =", "up web --release=-x", up(func(r *ran) { r.release = "-x" }), 0, ""},
		{"alias", "up web -r r1", up(func(r *ran) { r.release = "r1" }), 0, ""},
		{"alias and name: the last wins", "up -r r1 web --release r2", up(func(r *ran) { r.release = "r2" }), 0, ""},
		{"false", "up web --dry-run=false", up(func(*ran) {}), 0, ""},
		{"a list keeps its commas", "up web --tag a,b --tag c", up(func(r *ran) { r.tags = []string{"a,b", "c"} }), 0, ""},
		{"global flag first", "--quiet up web --dry-run", dry, 0, ""},
		{"global flag last", "up web --dry-run --quiet", dry, 0, ""},
		{"an empty argument is one", "up ", &ran{command: "up", args: []string{""}, tags: []string{}}, 0, ""},
		{"a word of the program as argument", "up -- help", &ran{command: "up", args: []string{"help"}, tags: []string{}}, 0, ""},
		{"help as argument", "up help", &ran{command: "up", args: []string{"help"}, tags: []string{}}, 0, ""},
		{"-- ends flags", "up -- --dry-run", &ran{command: "up", args: []string{"--dry-run"}, tags: []string{}}, 0, ""},
		{"a single dash is an argument", "up -", &ran{command: "up", args: []string{"-"}, tags: []string{}}, 0, ""},
		{"number below zero as value", "logs a --tail -1", &ran{command: "logs", args: []string{"a"}, tail: -1}, 0, ""},
		{"cluster of letters", "logs a -ft b", &ran{command: "logs", args: []string{"a", "b"}, tail: 100, follow: true}, 0, ""},
		{"group", "set one a --dry-run", &ran{command: "set one", args: []string{"a"}, dry: true}, 0, ""},
		{"flag of a group after its command", "set one a --release x", &ran{command: "set one", args: []string{"a"}, release: "x"}, 0, ""},
		{"flag of a group before its command", "set --release x one a b", &ran{command: "set one", args: []string{"a", "b"}, release: "x"}, 0, ""},

		{"unknown flag after the argument", "up web --dryrun", nil, 10, "hint: did you mean --dry-run?"},
		{"unknown flag", "up --nothing-like-it web", nil, 10, "prog: up: unknown flag --nothing-like-it"},
		{"one dash for a word", "up web -dry-run", nil, 10, "hint: write --dry-run"},
		{"two dashes for a letter", "up web --n", nil, 10, "hint: write -n"},
		{"flag of another command", "promote a b --dry-run", nil, 10, "prog: promote: unknown flag --dry-run"},
		{"flag of a command before it", "--dry-run up web", nil, 10, "the flags of a command go after its name"},
		{"a flag as value of another", "up web --release --dry-run", nil, 10, "--release needs a value, and --dry-run looks like a flag"},
		{"no value", "up web --release", nil, 10, "flag --release needs a value"},
		{"number as argument", "up -1", nil, 10, "unknown flag -1"},
		{"bad cluster", "logs a -fx", nil, 10, "unknown flag -fx"},
		{"bad number", "logs a --tail many", nil, 10, "hint: expected a whole number"},
		{"bad duration", "logs a --since 5", nil, 10, "hint: expected a duration with its unit"},
		{"bad bool", "up web --dry-run=maybe", nil, 10, "hint: expected true or false"},
		{"bad global bool", "up web --json=maybe", nil, 10, "prog: up: invalid value \"maybe\" for --json"},
		{"flag after --", "up -- web --dry-run", nil, 10, `unexpected argument "--dry-run"`},
		{"too many arguments", "up web api", nil, 10, `unexpected argument "api"`},
		{"missing argument", "promote a", nil, 10, "missing argument RELEASE"},
		{"missing argument of many", "logs -f", nil, 10, "missing argument TARGET"},
		{"unknown command", "upp web", nil, 10, "hint: did you mean up?"},
		{"unknown command far from all", "deploy web", nil, 10, "hint: run prog --help for the list"},
		{"unknown command of a group", "set two", nil, 10, `prog: set: unknown command "two"`},
		{"command after --", "-- up web", nil, 10, `unknown command "up"`},
		{"no command", "", nil, 10, "missing command"},
		{"no command of a group", "set", nil, 10, "missing command"},
		{"only flags", "--quiet", nil, 10, "missing command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var words []string
			if tt.words != "" {
				words = strings.Split(tt.words, " ")
			}
			code, stdout, stderr, log := run(t, words...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, tt.code, stderr)
			}
			if tt.want == nil {
				if len(log) > 0 || stdout != "" {
					t.Errorf("ran %+v and printed %q, want nothing", log, stdout)
				}
				if !strings.Contains(stderr, tt.err) {
					t.Errorf("stderr %q does not contain %q", stderr, tt.err)
				}
				return
			}
			if len(log) != 1 || !equal(log[0], *tt.want) {
				t.Errorf("ran %+v, want %+v", log, *tt.want)
			}
		})
	}
}

func equal(a, b ran) bool {
	return a.command == b.command && a.dry == b.dry && a.release == b.release && a.tail == b.tail && a.follow == b.follow &&
		slices.Equal(a.args, b.args) && slices.Equal(a.tags, b.tags)
}

func TestHelpIsTheResultWhenAskedFor(t *testing.T) {
	for _, line := range []string{"-h", "--help", "help", "up -h", "up web --help", "--help up", "help up", "promote -h", "up --release -h", "up --bogus -h", "set -h", "help set one"} {
		t.Run(line, func(t *testing.T) {
			code, stdout, stderr, log := run(t, strings.Split(line, " ")...)
			if code != 0 || stderr != "" || len(log) > 0 {
				t.Errorf("exit code %d, stderr %q, ran %v", code, stderr, log)
			}
			if !strings.Contains(stdout, "Usage:") || !strings.Contains(stdout, "17   refused as unsafe, nothing touched") {
				t.Errorf("help without usage or exit codes:\n%s", stdout)
			}
		})
	}
}

func TestErrorsEndWithTheirCode(t *testing.T) {
	withDetail := fault.New(fault.Unhealthy, "gate web: no check passed")
	withDetail.Detail = []string{"last probe: 500", "line one\nline two"}
	tests := []struct {
		name string
		err  error
		code int
		text string
	}{
		{"plain", errors.New("read x: gone"), 1, "prog: read x: gone\n"},
		{"kind and hint", fault.WithHint(fault.New(fault.NotFound, "release r1: not found"), "run prog releases"), 12, "prog: release r1: not found\nhint: run prog releases\n"},
		{
			"details below a hint", fault.WithHint(fmt.Errorf("up web: %w", withDetail), "look"), 16,
			"prog: up web: gate web: no check passed\n  last probe: 500\n  line one\n  line two\nhint: look\n",
		},
		{"joined", errors.Join(errors.New("a"), fault.New(fault.Conflict, "b")), 14, "prog: a b\n"},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), 15, "prog: wait: context deadline exceeded\n"},
		{"escape sequences of others", errors.New("bad\x1b[31m name\u202e"), 1, "prog: bad\\x1b[31m name\\x202e\n"},
		{"cli.Exit of a command does not end the process", cli.Exit("no", 7), 1, "prog: no\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runOne(t.Context(), tt.err)
			if code != tt.code || stderr != tt.text || stdout != "" {
				t.Errorf("code %d, stderr %q, stdout %q; want %d, %q", code, stderr, stdout, tt.code, tt.text)
			}
		})
	}
}

// runOne runs a program whose one command ends with err.
func runOne(ctx context.Context, err error, words ...string) (int, string, string) {
	var out, talk bytes.Buffer
	app := &cli.App{Name: "prog", Usage: "fails", Action: Action(func(context.Context, *Session, *cli.Context) error { return err })}
	code := Run(ctx, app, append([]string{"prog"}, words...), nil, &out, &talk)
	return code, out.String(), talk.String()
}

func TestAnErrorIsOneJSONDocumentOnStderr(t *testing.T) {
	err := fault.WithHint(&fault.Error{Kind: fault.Refused, Msg: "promote <r1>", Detail: []string{"it is marked failed"}}, "use --force")
	code, stdout, stderr := runOne(t.Context(), err, "--json")
	want := `{"schema":1,"error":{"kind":"refused","code":17,"message":"promote <r1>","hint":"use --force","detail":["it is marked failed"]}}` + "\n"
	if code != 17 || stdout != "" || stderr != want {
		t.Errorf("code %d, stdout %q, stderr\n%swant\n%s", code, stdout, stderr, want)
	}
	code, stdout, stderr, _ = run(t, "up", "--bogus", "--json")
	want = `{"schema":1,"error":{"kind":"usage","code":10,"message":"up: unknown flag --bogus","hint":"run prog up --help for the list; an argument that begins with - goes after --"}}` + "\n"
	if code != 10 || stdout != "" || stderr != want {
		t.Errorf("code %d, stdout %q, stderr\n%swant\n%s", code, stdout, stderr, want)
	}
}

func TestASignalDecidesTheExitCode(t *testing.T) {
	tests := []struct {
		name   string
		cause  error
		err    error
		daemon bool
		code   int
	}{
		{"interrupted", Interrupt(), context.Canceled, false, 130},
		{"terminated", Terminate(), fmt.Errorf("wait: %w", context.Canceled), false, 143},
		{"a failure that the signal caused", Terminate(), errors.New("read: closed"), false, 143},
		{"the command finished in spite of it", Interrupt(), nil, false, 0},
		{"a state that the user must know", Interrupt(), fault.New(fault.Partial, "two of three"), false, 3},
		{"daemon terminated", Terminate(), context.Canceled, true, 0},
		{"daemon terminated, no error", Terminate(), nil, true, 0},
		{"daemon interrupted", Interrupt(), context.Canceled, true, 130},
		{"daemon that could not stop well", Terminate(), fault.New(fault.Partial, "left two"), true, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			work := func(ctx context.Context, _ *Session, _ *cli.Context) error {
				cancel(tt.cause)
				<-ctx.Done()
				return tt.err
			}
			app := &cli.App{Name: "prog", Usage: "waits", Action: Action(work)}
			if tt.daemon {
				app.Action = Daemon(work)
			}
			var talk bytes.Buffer
			if code := Run(ctx, app, []string{"prog"}, nil, io.Discard, &talk); code != tt.code {
				t.Errorf("exit code %d, want %d; stderr %s", code, tt.code, talk.String())
			}
		})
	}
}

func TestAPanicIsAFailureWithAMessage(t *testing.T) {
	app := func() *cli.App {
		return &cli.App{Name: "prog", Usage: "panics", Action: Action(func(context.Context, *Session, *cli.Context) error { panic("boom") })}
	}
	var quiet, verbose bytes.Buffer
	if code := Run(t.Context(), app(), []string{"prog"}, nil, io.Discard, &quiet); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.HasPrefix(quiet.String(), "prog: internal error: boom\nhint: ") || strings.Contains(quiet.String(), "goroutine") {
		t.Errorf("stderr %q", quiet.String())
	}
	Run(t.Context(), app(), []string{"prog", "--verbose"}, nil, io.Discard, &verbose)
	if !strings.Contains(verbose.String(), "goroutine") {
		t.Errorf("no stack with --verbose: %q", verbose.String())
	}
}

func TestADeadlineOfTheCommandIsATimeout(t *testing.T) {
	app := &cli.App{Name: "prog", Usage: "waits", Action: Action(func(ctx context.Context, _ *Session, _ *cli.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return ctx.Err()
	})}
	if code := Run(t.Context(), app, []string{"prog"}, nil, io.Discard, io.Discard); code != 15 {
		t.Errorf("exit code %d, want 15", code)
	}
}

func TestAProgramThatBringsATrapBackIsRefused(t *testing.T) {
	act := Action(func(context.Context, *Session, *cli.Context) error { return nil })
	tests := []struct {
		name string
		app  *cli.App
		want string
	}{
		{"required flag", &cli.App{Commands: []*cli.Command{{Name: "a", Usage: "a", Action: act, Flags: []cli.Flag{&cli.StringFlag{Name: "x", Required: true}}}}}, "flag x is Required"},
		{"shared flag", &cli.App{Flags: []cli.Flag{&cli.BoolFlag{Name: "json"}}}, "flag json is declared twice"},
		{"shared letter", &cli.App{Commands: []*cli.Command{{Name: "a", Usage: "a", Action: act, Flags: []cli.Flag{&cli.BoolFlag{Name: "x", Aliases: []string{"v"}}}}}}, "flag v is declared twice"},
		{"no usage", &cli.App{Commands: []*cli.Command{{Name: "a", Action: act}}}, "has no usage line"},
		{"no action", &cli.App{Commands: []*cli.Command{{Name: "a", Usage: "a"}}}, "does nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.app.Name = "prog"
			var talk bytes.Buffer
			if code := Run(t.Context(), tt.app, []string{"prog", "a"}, nil, io.Discard, &talk); code != 1 || !strings.Contains(talk.String(), tt.want) {
				t.Errorf("exit code %d, stderr %q; want 1 and %q", code, talk.String(), tt.want)
			}
		})
	}
}

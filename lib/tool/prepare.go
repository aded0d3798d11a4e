package tool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
)

const preparedKey = "svckit/tool/prepared"

// sharedFlags are the flags that every command of every program takes.
func sharedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the result as one JSON document, an error as JSON on stderr"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no talk and no progress on stderr, only errors"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say more on stderr"},
		&cli.BoolFlag{Name: "log-json", Usage: "write the log on stderr as JSON lines"},
		&cli.StringFlag{Name: "config", Usage: "read the node's settings from `FILE`", EnvVars: []string{"SVC_CONFIG"}, DefaultText: "/etc/svckit/node.yaml"},
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help"},
		&cli.BoolFlag{Name: "version", Usage: "show the version"},
	}
}

func isShared(name string) bool {
	for _, f := range sharedFlags() {
		if slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}

// prepare takes over what the cli library would do in its own way: help,
// version, usage errors, exit codes, completion. It is nothing to prepare twice.
func prepare(app *cli.App) error {
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	if app.Metadata[preparedKey] != nil {
		return nil
	}
	if err := check(app); err != nil {
		return err
	}
	app.Metadata[preparedKey] = true
	app.HideHelp, app.HideVersion, app.EnableBashCompletion = true, true, false
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = usageError
	app.Commands = append(app.Commands, versionCommand(), completionCommand(app.Name), manCommand())
	takeOver(app.Commands)
	app.Flags = append(app.Flags, sharedFlags()...)
	if app.Action == nil {
		app.Action = func(*cli.Context) error { return usage("", "missing command") }
		app.Metadata[noActionKey] = true
	}
	return nil
}

const noActionKey = "svckit/tool/group"

func takeOver(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelp = true
		c.OnUsageError = usageError
		takeOver(c.Subcommands)
	}
}

// usageError turns what the flag package says of a value into one line.
func usageError(c *cli.Context, err error, _ bool) error {
	msg := err.Error()
	if value, rest, ok := strings.Cut(strings.TrimPrefix(msg, "invalid value "), " for flag -"); ok {
		name, _, _ := strings.Cut(rest, ":")
		return usage(valueHint(c, name), "invalid value %s for %s", value, dashed(name))
	}
	msg = strings.TrimPrefix(msg, "could not parse ")
	return usage("", "%s", strings.Join(strings.Fields(msg), " "))
}

func valueHint(c *cli.Context, name string) string {
	for _, at := range c.Lineage() {
		if at.Command == nil {
			continue
		}
		for _, f := range at.Command.Flags {
			if slices.Contains(f.Names(), name) {
				return kindHint(f)
			}
		}
	}
	return ""
}

func kindHint(f cli.Flag) string {
	switch f.(type) {
	case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag, *cli.Uint64Flag:
		return "expected a whole number"
	case *cli.Float64Flag:
		return "expected a number"
	case *cli.DurationFlag:
		return "expected a duration with its unit, e.g. 30s or 5m"
	case *cli.BoolFlag:
		return "expected true or false"
	}
	return ""
}

func usage(hint, format string, args ...any) *fault.Error {
	e := fault.New(fault.Usage, format, args...)
	e.Hint = hint
	return e
}

// check finds what a program must not declare: it would bring back the traps
// that this package closes.
func check(app *cli.App) error {
	var bad []string
	seen := func(where string, flags []cli.Flag) {
		names := map[string]bool{}
		for _, f := range flags {
			if r, ok := f.(cli.RequiredFlag); ok && r.IsRequired() {
				bad = append(bad, fmt.Sprintf("%s: flag %s is Required", where, f.Names()[0]))
			}
			for _, n := range f.Names() {
				if isShared(n) || names[n] {
					bad = append(bad, fmt.Sprintf("%s: flag %s is declared twice", where, n))
				}
				names[n] = true
			}
		}
	}
	var walk func(where string, commands []*cli.Command)
	walk = func(where string, commands []*cli.Command) {
		for _, c := range commands {
			at := where + " " + c.Name
			seen(at, c.Flags)
			if c.Usage == "" {
				bad = append(bad, at+": has no usage line")
			}
			if len(c.Subcommands) == 0 && c.Action == nil {
				bad = append(bad, at+": does nothing")
			}
			walk(at, c.Subcommands)
		}
	}
	seen(app.Name, app.Flags)
	walk(app.Name, app.Commands)
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("program %s: %s", app.Name, strings.Join(bad, "; "))
}

// wantsJSON finds --json in a command line that may be wrong.
func wantsJSON(words []string) bool {
	on := false
	for _, w := range beforeDashes(words) {
		switch w {
		case "--json", "--json=true", "--json=1":
			on = true
		case "--json=false", "--json=0":
			on = false
		}
	}
	return on
}

func beforeDashes(words []string) []string {
	if i := slices.Index(words, "--"); i >= 0 {
		return words[:i]
	}
	return words
}

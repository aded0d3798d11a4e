package tool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// call is a command line that was understood: which command, which flags of
// which level, which arguments.
type call struct {
	path    []*cli.Command // outermost first; empty: the program itself
	flags   []given
	args    []string
	help    bool
	version bool
	empty   bool // a command is missing
}

// given is one flag of the command line.
type given struct {
	name  string // the flag's first name
	value string
	level int // 0: the program, n: path[n-1]
}

// level is one step of the command path, with what it accepts.
type level struct {
	flags    []cli.Flag
	commands []*cli.Command
	args     string // ArgsUsage
	group    bool   // does nothing by itself: its flags are for the commands below
}

// parse understands a command line in which flags may stand anywhere after the
// command they belong to. The cli library stops at the first argument and takes
// all that follows, flags too, as arguments; so nothing of it is left to it.
func parse(app *cli.App, words []string) (call, error) {
	p := newParser(app)
	for p.rest = words; len(p.rest) > 0; {
		w := p.rest[0]
		p.rest = p.rest[1:]
		var err error
		switch {
		case w == "--":
			p.found.args = append(p.found.args, p.rest...)
			p.rest, p.dashes = nil, true
		case w != "-" && strings.HasPrefix(w, "-"):
			err = p.flag(w)
		default:
			err = p.word(w)
		}
		if err != nil && strings.HasPrefix(w, "-") && asksHelp(words) {
			p.found.help = true
			return p.found, nil
		}
		if err != nil {
			return call{}, err
		}
	}
	return p.finish()
}

// asksHelp reports whether somebody who mistook a flag also asked for help.
func asksHelp(words []string) bool {
	return slices.ContainsFunc(beforeDashes(words), func(w string) bool { return w == "-h" || w == "--help" })
}

type parser struct {
	name   string // program and commands so far
	levels []level
	rest   []string
	found  call
	dashes bool
}

// wrong makes a usage error that names the command, if one was found.
func (p *parser) wrong(hint, format string, args ...any) error {
	err := usage(hint, format, args...)
	if _, command, ok := strings.Cut(p.name, " "); ok {
		err.Msg = command
	}
	return err
}

func newParser(app *cli.App) *parser {
	return &parser{name: app.Name, levels: []level{{
		flags: app.Flags, commands: app.Commands, args: app.ArgsUsage, group: app.Metadata[noActionKey] != nil,
	}}}
}

func (p *parser) leaf() level { return p.levels[len(p.levels)-1] }

// word takes a command name or an argument.
func (p *parser) word(w string) error {
	at := p.leaf()
	if len(p.found.args) == 0 && len(at.commands) > 0 {
		if w == "help" && len(p.levels) == 1 && !slices.ContainsFunc(at.commands, func(c *cli.Command) bool { return c.HasName("help") }) {
			p.found.help = true
			return nil
		}
		for _, c := range at.commands {
			if c.HasName(w) {
				p.found.path = append(p.found.path, c)
				p.name += " " + c.Name
				p.levels = append(p.levels, level{flags: c.Flags, commands: c.Subcommands, args: c.ArgsUsage, group: c.Action == nil})
				return nil
			}
		}
		if at.group || at.args == "" {
			return p.wrong(closest("did you mean ", w, commandNames(at.commands), "run "+p.name+" --help for the list"), "unknown command %q", w)
		}
	}
	p.found.args = append(p.found.args, w)
	return nil
}

// flag takes one flag and its value.
func (p *parser) flag(w string) error {
	name, value, hasValue := strings.Cut(strings.TrimLeft(w, "-"), "=")
	f, lv := p.lookup(w, name)
	if f == nil {
		if more := p.cluster(w); more != nil {
			p.rest = append(more, p.rest...)
			return nil
		}
		return p.unknown(w, name)
	}
	takes := takesValue(f)
	switch {
	case !takes && !hasValue:
		value = "true"
	case takes && !hasValue:
		if len(p.rest) == 0 {
			return p.wrong(valueExample(f), "flag %s needs a value", dashed(name))
		}
		value = p.rest[0]
		if strings.HasPrefix(value, "-") && value != "-" && !isNumber(value) {
			return p.wrong(fmt.Sprintf("if %s is the value, write %s=%s", value, dashed(name), value),
				"flag %s needs a value, and %s looks like a flag", dashed(name), value)
		}
		p.rest = p.rest[1:]
	}
	if !takes {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return p.wrong("expected true or false", "invalid value %q for %s", value, dashed(name))
		}
		p.builtin(f.Names()[0], on)
	}
	p.found.flags = append(p.found.flags, given{name: f.Names()[0], value: value, level: lv})
	return nil
}

func (p *parser) builtin(name string, on bool) {
	switch name {
	case "help":
		p.found.help = on
	case "version":
		p.found.version = on
	}
}

// lookup finds a flag at the innermost level that has it. One letter takes one dash, a word two.
func (p *parser) lookup(w, name string) (cli.Flag, int) {
	if name == "" || dashed(name) != strings.SplitN(w, "=", 2)[0] {
		return nil, 0
	}
	for i := len(p.levels) - 1; i >= 0; i-- {
		for _, f := range p.levels[i].flags {
			if slices.Contains(f.Names(), name) && p.inherited(i, name) {
				return f, i
			}
		}
	}
	return nil, 0
}

// inherited reports whether a flag of level i may be given to the command found so far.
func (p *parser) inherited(i int, name string) bool {
	return i == len(p.levels)-1 || p.levels[i].group || i == 0 && isShared(name)
}

// cluster splits -fv into -f -v when each letter is a flag without a value.
func (p *parser) cluster(w string) []string {
	if len(w) < 3 || w[1] == '-' || strings.Contains(w, "=") {
		return nil
	}
	var out []string
	for _, r := range w[1:] {
		f, _ := p.lookup("-"+string(r), string(r))
		if f == nil || takesValue(f) {
			return nil
		}
		out = append(out, "-"+string(r))
	}
	return out
}

func (p *parser) unknown(w, name string) error {
	shown := strings.SplitN(w, "=", 2)[0]
	if f, _ := p.lookup(dashed(name), name); f != nil {
		return p.wrong("write "+dashed(name), "unknown flag %s", shown)
	}
	var names []string
	for i, l := range p.levels {
		for _, f := range l.flags {
			for _, n := range f.Names() {
				if len(n) > 1 && p.inherited(i, n) {
					names = append(names, dashed(n))
				}
			}
		}
	}
	other := "run " + p.name + " --help for the list; an argument that begins with - goes after --"
	if len(p.leaf().commands) > 0 && len(p.found.args) == 0 {
		other = "run " + p.name + " --help for the list; the flags of a command go after its name"
	}
	return p.wrong(closest("did you mean ", "--"+name, names, other), "unknown flag %s", shown)
}

// finish checks what can only be known at the end of the line.
func (p *parser) finish() (call, error) {
	at := p.leaf()
	if p.found.help || p.found.version {
		return p.found, nil
	}
	for _, g := range p.found.flags {
		if !p.inherited(g.level, g.name) {
			return call{}, p.wrong("run "+p.name+" --help for its flags", "%s is not a flag of this command", dashed(g.name))
		}
	}
	if at.group {
		if len(p.found.args) > 0 {
			return call{}, p.wrong("run "+p.name+" --help for the list", "unknown command %q", p.found.args[0])
		}
		p.found.empty = true
		return p.found, nil
	}
	if p.dashes && len(p.found.args) > 0 && slices.ContainsFunc(at.commands, func(c *cli.Command) bool { return c.HasName(p.found.args[0]) }) {
		return call{}, p.wrong("", "argument %q is also the name of a command", p.found.args[0])
	}
	return p.found, p.count(at.args)
}

// count compares the arguments with the command's ArgsUsage: words in brackets
// may be left out, one that ends with ... may be repeated.
func (p *parser) count(declared string) error {
	synopsis := "usage: " + strings.TrimSpace(p.name+" [flags] "+declared)
	var most int
	for i, w := range strings.Fields(declared) {
		if !strings.HasPrefix(w, "[") && i >= len(p.found.args) {
			return p.wrong(synopsis, "missing argument %s", strings.TrimSuffix(w, "..."))
		}
		if strings.HasSuffix(strings.TrimSuffix(w, "]"), "...") {
			return nil
		}
		most++
	}
	if len(p.found.args) > most {
		return p.wrong(synopsis, "unexpected argument %q", p.found.args[most])
	}
	return nil
}

// words returns the line in the one order that the cli library reads right.
func (c call) words(app *cli.App) []string {
	out := []string{app.Name}
	for lv := 0; lv <= len(c.path); lv++ {
		if lv > 0 {
			out = append(out, c.path[lv-1].Name)
		}
		for _, g := range c.flags {
			if g.level == lv {
				out = append(out, "--"+g.name+"="+g.value)
			}
		}
	}
	return append(append(out, "--"), c.args...)
}

// line returns the call in words for people: command, arguments, its own flags.
func (c call) line() []string {
	var out []string
	for _, cmd := range c.path {
		out = append(out, cmd.Name)
	}
	out = append(out, c.args...)
	for _, g := range c.flags {
		switch {
		case g.level == 0 && isShared(g.name):
		case g.value == "true":
			out = append(out, dashed(g.name))
		default:
			out = append(out, dashed(g.name)+"="+g.value)
		}
	}
	return out
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

func dashed(name string) string {
	if len([]rune(name)) == 1 {
		return "-" + name
	}
	return "--" + name
}

// isNumber reports whether w is a negative number or duration, the only values that may begin with -.
func isNumber(w string) bool {
	if _, err := strconv.ParseFloat(w, 64); err == nil {
		return true
	}
	_, err := time.ParseDuration(w)
	return err == nil
}

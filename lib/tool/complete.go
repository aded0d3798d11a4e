package tool

import (
	"bytes"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// completeWord is what the completion scripts call the program with:
// PROGRAM __complete SHELL WORD..., the last word being the one under the
// cursor. The answer is one candidate per line, "word<TAB>what it is", or
// the line :files for names of files.
const completeWord = "__complete"

// completeFor is how long a user waits for names from Consul after the tab key.
const completeFor = time.Second

// Want is what is to be completed.
type Want struct {
	Flag   string   // the flag's name when its value is wanted, else ""
	Args   []string // arguments before the word under the cursor
	Prefix string   // the word so far
}

// Completer returns candidates for a flag's value or an argument, each a word
// or "word<TAB>what it is". It may return more than fit: the rest is left out.
// ctx ends after a second, and what comes later is not shown.
type Completer func(ctx context.Context, c *cli.Context, w Want) []string

type wantKey struct{}

// Names makes a command's BashComplete of a completer.
func Names(f Completer) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		w, ok := c.Context.Value(wantKey{}).(Want)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(c.Context, completeFor)
		defer cancel()
		found := make(chan []string, 1)
		go func() {
			defer func() { _ = recover() }() // a completion that panics must not garble the user's line
			found <- f(ctx, c, w)
		}()
		select {
		case names := <-found:
			for _, n := range names {
				fmt.Fprintln(c.App.Writer, n)
			}
		case <-ctx.Done():
		}
	}
}

// complete answers a completion script. It never fails: what is not known is not offered.
func complete(ctx context.Context, app *cli.App, words []string, w io.Writer) {
	if len(words) < 2 {
		return
	}
	shell, words := words[0], rejoin(words[1:])
	cursor, before := words[len(words)-1], words[:len(words)-1]
	p := newParser(app)
	pending := p.follow(before)
	prefix := ""
	if name, value, ok := strings.Cut(cursor, "="); ok && pending == nil && strings.HasPrefix(cursor, "-") && !p.dashes {
		pending, _ = p.lookup(name, strings.TrimLeft(name, "-"))
		if pending == nil {
			return
		}
		if cursor = value; shell != "bash" { // bash takes = as the end of a word
			prefix = name + "="
		}
	}
	var out []string
	switch {
	case pending != nil:
		out = p.values(ctx, app, pending, cursor)
	case strings.HasPrefix(cursor, "-") && !p.dashes:
		out = p.flagNames(cursor)
	default:
		out = append(p.commandNames(), p.values(ctx, app, nil, cursor)...)
	}
	for _, line := range out {
		word, about, _ := strings.Cut(line, "\t")
		if line != filesLine && (!strings.HasPrefix(word, cursor) || !offered.MatchString(word)) {
			continue
		}
		if line != filesLine {
			line = prefix + word
			if about != "" {
				line += "\t" + clean(about)
			}
		}
		fmt.Fprintln(w, line)
	}
}

const filesLine = ":files"

// offered are the words that may be put on a command line without quotes, whatever Consul says.
var offered = regexp.MustCompile(`^[A-Za-z0-9@%_+=:,./-]+$`)

// rejoin undoes that bash takes = as a word of its own.
func rejoin(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		if words[i] == "=" && len(out) > 0 && strings.HasPrefix(out[len(out)-1], "--") {
			out[len(out)-1] += "="
			if i+1 < len(words) {
				i++
				out[len(out)-1] += words[i]
			}
			continue
		}
		out = append(out, words[i])
	}
	return out
}

// follow reads the words before the cursor, forgiving every mistake, and
// returns the flag whose value comes next, if one does.
func (p *parser) follow(words []string) cli.Flag {
	for p.rest = words; len(p.rest) > 0; {
		w := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case w == "--":
			p.found.args = append(p.found.args, p.rest...)
			p.rest, p.dashes = nil, true
		case w != "-" && strings.HasPrefix(w, "-"):
			f, _ := p.lookup(w, strings.TrimLeft(w, "-"))
			if f != nil && takesValue(f) && len(p.rest) == 0 {
				return f
			}
			_ = p.flag(w)
		default:
			_ = p.word(w)
		}
	}
	return nil
}

func (p *parser) commandNames() []string {
	at := p.leaf()
	if len(p.found.args) > 0 || p.dashes {
		return nil
	}
	var out []string
	for _, c := range shown(at.commands) {
		out = append(out, c.Name+"\t"+c.Usage)
	}
	if len(p.levels) == 1 && len(at.commands) > 0 && !p.found.help {
		out = append(out, "help\tshow help")
	}
	return out
}

func (p *parser) flagNames(cursor string) []string {
	var out []string
	for i := len(p.levels) - 1; i >= 0; i-- {
		for _, f := range shownFlags(p.levels[i].flags) {
			for _, n := range f.Names() {
				if p.inherited(i, n) && (len(n) > 1 || cursor == "-") {
					out = append(out, dashed(n)+"\t"+flagText(f))
				}
			}
		}
	}
	return out
}

// values asks the command's completer; the value of a flag that names a file is completed by the shell.
func (p *parser) values(ctx context.Context, app *cli.App, f cli.Flag, cursor string) []string {
	want := Want{Args: p.found.args, Prefix: cursor}
	if f != nil {
		want.Flag = f.Names()[0]
		if d, ok := f.(cli.DocGenerationFlag); ok {
			if name, _ := placeholder(d); slices.Contains([]string{"FILE", "FOLDER", "PATH"}, name) {
				return []string{filesLine}
			}
		}
	}
	ask := app.BashComplete
	if n := len(p.found.path); n > 0 {
		ask = p.found.path[n-1].BashComplete
	}
	if ask == nil || p.leaf().group || p.found.help || f != nil && isShared(want.Flag) {
		return nil
	}
	var out bytes.Buffer
	old := app.Writer
	app.Writer = &out
	defer func() { app.Writer = old }()
	ask(p.context(context.WithValue(ctx, wantKey{}, want), app))
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

// context makes the cli's context of the flags before the cursor, as far as they are right.
func (p *parser) context(ctx context.Context, app *cli.App) *cli.Context {
	set := flag.NewFlagSet(app.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for i := len(p.levels) - 1; i >= 0; i-- {
		for _, f := range p.levels[i].flags {
			if !slices.ContainsFunc(f.Names(), func(n string) bool { return set.Lookup(n) != nil }) {
				_ = f.Apply(set)
			}
		}
	}
	for _, g := range p.found.flags {
		_ = set.Set(g.name, g.value)
	}
	c := cli.NewContext(app, set, nil)
	c.Context = ctx
	return c
}

//go:embed complete.bash
var bashScript string

//go:embed complete.zsh
var zshScript string

//go:embed complete.fish
var fishScript string

func completionCommand(program string) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell: bash, zsh or fish", ArgsUsage: "SHELL",
		Description: strings.ReplaceAll(`  bash: PROGRAM completion bash > /etc/bash_completion.d/PROGRAM
  zsh:  PROGRAM completion zsh > /usr/local/share/zsh/site-functions/_PROGRAM
  fish: PROGRAM completion fish > /etc/fish/completions/PROGRAM.fish`, "PROGRAM", program),
		BashComplete: Names(func(context.Context, *cli.Context, Want) []string { return []string{"bash", "zsh", "fish"} }),
		Action: func(c *cli.Context) error {
			script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Args().First()]
			if !ok {
				return usage("expected bash, zsh or fish", "completion: unknown shell %q", c.Args().First())
			}
			r := strings.NewReplacer("PROGRAM", c.App.Name, "FUNCTION", strings.ReplaceAll(c.App.Name, "-", "_"))
			_, err := io.WriteString(c.App.Writer, r.Replace(script))
			return err
		},
	}
}

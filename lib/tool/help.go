package tool

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
)

// page is what help and manual show of a program or one of its commands.
type page struct {
	name     string // program and command, e.g. "svc-run up"
	usage    string // one line
	synopsis string
	text     string // paragraphs
	commands []*cli.Command
	flags    []cli.Flag
}

// pageOf collects the page of the command at the end of path; an empty path is the program.
func pageOf(app *cli.App, path []*cli.Command) page {
	group := app.Metadata[noActionKey] != nil
	p := page{name: app.Name, usage: app.Usage, text: app.Description, commands: shown(app.Commands), flags: ownFlags(app.Flags)}
	p.synopsis = synopsis(p, app.ArgsUsage, group)
	for _, c := range path {
		above := p
		p = page{name: above.name + " " + c.Name, usage: c.Usage, text: c.Description, commands: shown(c.Subcommands), flags: shownFlags(c.Flags)}
		if group {
			p.flags = append(p.flags, above.flags...)
		}
		group = c.Action == nil
		p.synopsis = synopsis(p, c.ArgsUsage, group)
	}
	return p
}

func synopsis(p page, args string, group bool) string {
	if group {
		return p.name + " COMMAND [flags] [arguments]"
	}
	return strings.TrimSpace(p.name + " [flags] " + args)
}

func shown(commands []*cli.Command) []*cli.Command {
	var out []*cli.Command
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c)
		}
	}
	return out
}

func shownFlags(flags []cli.Flag) []cli.Flag {
	var out []cli.Flag
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); !ok || v.IsVisible() {
			out = append(out, f)
		}
	}
	return out
}

func ownFlags(flags []cli.Flag) []cli.Flag {
	var out []cli.Flag
	for _, f := range shownFlags(flags) {
		if !isShared(f.Names()[0]) {
			out = append(out, f)
		}
	}
	return out
}

// writeHelp writes the help of the command at the end of path.
func writeHelp(w io.Writer, app *cli.App, path []*cli.Command) error {
	p := pageOf(app, path)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage:\n  %s\n", p.name, p.usage, p.synopsis)
	if p.text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.Trim(p.text, "\n"))
	}
	var rows [][2]string
	for _, c := range p.commands {
		rows = append(rows, [2]string{strings.TrimSpace(c.Name + " " + c.ArgsUsage), c.Usage})
	}
	section(&b, "Commands", rows)
	section(&b, "Flags", flagRows(p.flags))
	section(&b, "Flags of every command", flagRows(sharedFlags()))
	rows = nil
	for _, c := range fault.Codes() {
		rows = append(rows, [2]string{fmt.Sprint(int(c.Kind)), c.Meaning})
	}
	section(&b, "Exit codes", rows)
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	width := 0
	for _, r := range rows {
		if n := len([]rune(r[0])); n > width && n <= 28 {
			width = n
		}
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, r := range rows {
		if len([]rune(r[0])) > width {
			fmt.Fprintf(b, "  %s\n  %-*s  %s\n", r[0], width, "", r[1])
			continue
		}
		fmt.Fprintf(b, "  %-*s  %s\n", width, r[0], r[1])
	}
}

func flagRows(flags []cli.Flag) [][2]string {
	var rows [][2]string
	for _, f := range flags {
		rows = append(rows, [2]string{flagNames(f), flagText(f)})
	}
	return rows
}

// flagNames renders e.g. "-n, --tail N".
func flagNames(f cli.Flag) string {
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	text := strings.Join(append(short, long...), ", ")
	if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() {
		name, _ := placeholder(d)
		text += " " + name
	}
	return text
}

// flagText renders a flag's usage with its default and its variable.
func flagText(f cli.Flag) string {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	_, text := placeholder(d)
	if v := d.GetDefaultText(); d.TakesValue() && v != "" && v != `""` && v != "0" && v != "0s" {
		text += " (default " + strings.Trim(v, `"`) + ")"
	}
	if vars := d.GetEnvVars(); len(vars) > 0 {
		text += " [" + strings.Join(vars, ", ") + "]"
	}
	return text
}

// placeholder returns the name of a flag's value, the word in backquotes of its usage, and the usage without them.
func placeholder(d cli.DocGenerationFlag) (name, usage string) {
	usage = d.GetUsage()
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return "VALUE", usage
	}
	name, after, ok := strings.Cut(rest, "`")
	if !ok {
		return "VALUE", usage
	}
	return name, before + name + after
}

package tool

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestMain lets a completion script run the test program as a process of its own.
func TestMain(m *testing.M) {
	switch os.Getenv("SVCKIT_TEST_PROGRAM") {
	case "1":
		Main(completing())
	case "waiting":
		Main(waiting())
	}
	os.Exit(m.Run())
}

// completing is the test program with names to complete.
func completing() *cli.App {
	app := program(new([]ran))
	names := Names(func(_ context.Context, c *cli.Context, w Want) []string {
		switch {
		case w.Flag == "release":
			return []string{"r1\tstable", "r2", "other"}
		case w.Flag != "":
			return nil
		case len(w.Args) > 0:
			return []string{"after-" + w.Args[0]}
		}
		return []string{"shop/web\tpassing", "shop/worker", "blog/web", "evil;reboot", "evil\x1b[31m", "$(reboot)", "from-" + c.String("config")}
	})
	for _, c := range app.Commands {
		c.BashComplete = names
	}
	up := app.Commands[0]
	up.Flags = append(up.Flags, &cli.StringFlag{Name: "file", Aliases: []string{"F"}, Usage: "the spec, a `FILE`"})
	return app
}

func TestCompletionOffersWhatFits(t *testing.T) {
	tests := []struct {
		name  string
		words []string
		want  []string // words without their descriptions
	}{
		{"commands", []string{""}, []string{"up", "logs", "promote", "set", "version", "completion", "help"}},
		{"commands that begin so", []string{"p"}, []string{"promote"}},
		{"after help", []string{"help", "l"}, []string{"logs"}},
		{"after a global flag", []string{"--json", "u"}, []string{"up"}},
		{"commands of a group", []string{"set", ""}, []string{"one"}},
		{"names", []string{"up", "shop/"}, []string{"shop/web", "shop/worker"}},
		{"nothing that a shell would act on", []string{"up", "evil"}, nil},
		{"nothing that a shell would run", []string{"up", "$"}, nil},
		{"flags before the cursor are known", []string{"up", "--config", "x.yaml", "from"}, []string{"from-x.yaml"}},
		{"the next argument", []string{"promote", "shop", ""}, []string{"after-shop"}},
		{"long flags", []string{"up", "--d"}, []string{"--dry-run"}},
		{"flags after an argument", []string{"up", "shop/web", "--r"}, []string{"--release"}},
		{"short and long flags", []string{"logs", "-"}, []string{"--follow", "-f", "--timestamps", "-t", "--tail", "--since", "--json", "--quiet", "-q", "--verbose", "-v", "--log-json", "--config", "--help", "-h", "--version"}},
		{"flags of a group", []string{"set", "one", "--rel"}, []string{"--release"}},
		{"value of a flag", []string{"up", "--release", "r"}, []string{"r1", "r2"}},
		{"value of a flag by its letter", []string{"up", "-r", ""}, []string{"r1", "r2", "other"}},
		{"value after =", []string{"up", "--release=r"}, []string{"--release=r1", "--release=r2"}},
		{"a file", []string{"up", "--file", ""}, []string{":files"}},
		{"a file for a flag of every command", []string{"up", "--config", "x"}, []string{":files"}},
		{"after --, no flags", []string{"up", "--", "-"}, nil},
		{"shells", []string{"completion", "z"}, []string{"zsh"}},
		{"after a mistake", []string{"up", "--bogus", "blog"}, []string{"blog/web"}},
		{"after an unknown command", []string{"bogus", ""}, []string{"up", "logs", "promote", "set", "version", "completion", "help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, talk bytes.Buffer
			code := Run(t.Context(), completing(), append([]string{"prog", completeWord, "zsh"}, tt.words...), nil, &out, &talk)
			if code != 0 || talk.Len() > 0 {
				t.Errorf("exit code %d, stderr %q", code, talk.String())
			}
			if got := firstWords(out.String()); !slices.Equal(got, tt.want) {
				t.Errorf("offered %q, want %q", got, tt.want)
			}
		})
	}
}

func firstWords(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		out = append(out, word)
	}
	return out
}

func TestACompleterThatHangsOrPanicsOffersNothing(t *testing.T) {
	hang := func(ctx context.Context, _ *cli.Context, _ Want) []string {
		<-ctx.Done()
		select {} // it does not even obey its context
	}
	for name, f := range map[string]Completer{"hangs": hang, "panics": func(context.Context, *cli.Context, Want) []string { panic("boom") }} {
		t.Run(name, func(t *testing.T) {
			app := completing()
			app.Commands[0].BashComplete = Names(f)
			var out, talk bytes.Buffer
			code := Run(t.Context(), app, []string{"prog", completeWord, "bash", "up", ""}, nil, &out, &talk)
			if code != 0 || out.Len() > 0 || talk.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), talk.String())
			}
		})
	}
}

// installed writes the test program as an executable file and its completion script for a shell.
func installed(t *testing.T, shell string) (dir, script string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	wrapper := "#!/bin/sh\nGORACE=atexit_sleep_ms=0 SVCKIT_TEST_PROGRAM=1 exec '" + self + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "prog"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Run(t.Context(), completing(), []string{"prog", "completion", shell}, nil, &out, &out); code != 0 {
		t.Fatalf("completion %s: %s", shell, out.String())
	}
	script = filepath.Join(dir, "script")
	if err := os.WriteFile(script, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, script
}

func shellOutput(t *testing.T, dir, shell string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, text)
	}
	return firstWords(string(text))
}

func TestBashCompletesWithTheScript(t *testing.T) {
	dir, script := installed(t, "bash")
	if err := os.WriteFile(filepath.Join(dir, "my app.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		words []string // as bash cuts them
		want  []string
	}{
		{"command", []string{"prog", "pro"}, []string{"promote"}},
		{"name", []string{"prog", "up", "shop/"}, []string{"shop/web", "shop/worker"}},
		{"flag", []string{"prog", "up", "shop/web", "--dr"}, []string{"--dry-run"}},
		{"value", []string{"prog", "up", "--release", "r"}, []string{"r1", "r2"}},
		{"value after =", []string{"prog", "up", "--release", "=", "r"}, []string{"r1", "r2"}},
		{"empty value after =", []string{"prog", "up", "--release", "="}, []string{"r1", "r2", "other"}},
		{"file", []string{"prog", "up", "--file", "my"}, []string{"my app.yaml"}},
		{"nothing", []string{"prog", "up", "nosuch"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			quoted := make([]string, len(tt.words))
			for i, w := range tt.words {
				quoted[i] = "'" + w + "'"
			}
			text := "source " + script + "; COMP_WORDS=(" + strings.Join(quoted, " ") + "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); " +
				`_prog_complete; for c in "${COMPREPLY[@]}"; do printf '%s\n' "$c"; done`
			if got := shellOutput(t, dir, "bash", "--norc", "-c", text); !slices.Equal(got, tt.want) {
				t.Errorf("bash offered %q, want %q", got, tt.want)
			}
		})
	}
}

//go:build real

package tool

import (
	"slices"
	"strings"
	"testing"
)

// completed are lines that zsh and fish must complete alike.
var completed = []struct {
	name  string
	words []string
	want  []string
}{
	{"command", []string{"pro"}, []string{"promote"}},
	{"name", []string{"up", "shop/"}, []string{"shop/web", "shop/worker"}},
	{"flag", []string{"up", "shop/web", "--dr"}, []string{"--dry-run"}},
	{"value", []string{"up", "--release", "r"}, []string{"r1", "r2"}},
	{"value after =", []string{"up", "--release=r"}, []string{"--release=r1", "--release=r2"}},
	{"empty word", []string{"set", ""}, []string{"one"}},
}

func TestZshCompletesWithTheScript(t *testing.T) {
	dir, script := installed(t, "zsh")
	for _, tt := range completed {
		t.Run(tt.name, func(t *testing.T) {
			// What zsh's own completion functions would be called with is printed.
			text := `compdef() { : }; _describe() { print -rl -- "${(@P)2%%:*}" }; _files() { print -r files }; source ` + script +
				`; words=(prog '` + strings.Join(tt.words, "' '") + `'); CURRENT=$#words; _prog_complete`
			if got := shellOutput(t, dir, "zsh", "-f", "-c", text); !slices.Equal(got, tt.want) {
				t.Errorf("zsh offered %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFishCompletesWithTheScript(t *testing.T) {
	dir, script := installed(t, "fish")
	for _, tt := range completed {
		t.Run(tt.name, func(t *testing.T) {
			text := "source " + script + "; complete -C 'prog " + strings.Join(tt.words, " ") + "'"
			got := shellOutput(t, dir, "fish", "--no-config", "-c", text)
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("fish offered %q, want %q", got, tt.want)
			}
		})
	}
}

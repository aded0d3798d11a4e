package tool

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// What must hold for every command line: a dry run that was asked for is never
// lost, and an argument is never invented.
func FuzzNoFlagIsEverTakenAsAnArgument(f *testing.F) {
	for _, line := range []string{"up web --dry-run", "up --release r web -n", "-n up", "up -- -n", "logs -ft a --tail -1", "set one --release=x a -n", "up\x1f\x1f-n", "help up", "up web --tag=a,b --dry-run=false -q"} {
		f.Add(strings.ReplaceAll(line, " ", "\x1f"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x1f")
		if words[0] == completeWord {
			return
		}
		var log []ran
		code := Run(t.Context(), program(&log), append([]string{"prog"}, words...), strings.NewReader(""), io.Discard, io.Discard)
		if code != 0 && code != 10 {
			t.Fatalf("%q ends with %d", words, code)
		}
		if code == 10 && len(log) > 0 {
			t.Fatalf("%q ran %+v and was refused", words, log)
		}
		if len(log) == 0 {
			return
		}
		got := log[0]
		for _, a := range got.args {
			if !slices.Contains(words, a) {
				t.Errorf("%q has an argument %q of nowhere", words, a)
			}
			if strings.HasPrefix(a, "-") && a != "-" && !slices.Contains(words, "--") {
				t.Errorf("%q takes the flag %q as an argument", words, a)
			}
		}
		asked := slices.Contains(beforeDashes(words), "--dry-run") || slices.Contains(beforeDashes(words), "-n")
		off := slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "--dry-run=") || strings.HasPrefix(w, "-n=") })
		if asked && !off && !got.dry {
			t.Errorf("%q ran without its dry run: %+v", words, got)
		}
	})
}

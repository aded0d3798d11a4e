package tool

import (
	"github.com/urfave/cli/v2"
)

// closest returns prefix and the name that w was probably meant to be, or other when none is near.
func closest(prefix, w string, names []string, other string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(w, n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	if best == "" {
		return other
	}
	return prefix + best + "?"
}

// distance is the number of letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func commandNames(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c.Names()...)
		}
	}
	return out
}

func valueExample(f cli.Flag) string {
	if d, ok := f.(cli.DocGenerationFlag); ok {
		_, text := placeholder(d)
		return text
	}
	return ""
}

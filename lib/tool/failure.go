package tool

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"svckit/lib/fault"
)

// failure is an error as --json prints it.
type failure struct {
	Kind    string   `json:"kind"` // a fault.Kind's word
	Code    int      `json:"code"` // the exit code
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	Detail  []string `json:"detail,omitempty"`
}

// printError writes the last words of a program that failed.
func printError(w io.Writer, program string, err error, asJSON bool) {
	kind := fault.KindOf(err)
	f := failure{Kind: kind.String(), Code: int(kind), Message: err.Error(), Hint: fault.HintOf(err), Detail: fault.DetailOf(err)}
	if asJSON {
		_ = encode(w, struct {
			Schema int     `json:"schema"`
			Error  failure `json:"error"`
		}{1, f})
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", program, clean(strings.Join(lines(f.Message), " ")))
	for _, d := range f.Detail {
		for _, l := range lines(d) {
			fmt.Fprintf(&b, "  %s\n", clean(l))
		}
	}
	if f.Hint != "" {
		fmt.Fprintf(&b, "hint: %s\n", clean(strings.Join(lines(f.Hint), " ")))
	}
	_, _ = io.WriteString(w, b.String())
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func lines(s string) []string {
	return strings.Split(strings.TrimRight(s, "\n"), "\n")
}

// clean makes text of unknown origin safe for a terminal: control characters
// become visible, broken UTF-8 becomes U+FFFD. Tabs become spaces.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case isControl(r):
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isControl reports whether a terminal may act on r: C0, DEL, C1, and the marks that turn the direction of text.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

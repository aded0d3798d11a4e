package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rule is what a text must be.
type Rule struct {
	Want string            // in words: "an absolute path"
	OK   func(string) bool // nil: any text
	// Hidden texts are never repeated in a message, since they may hold a password.
	Hidden bool
}

// Text reads a text that follows the rule. A number or a boolean is not a text: it needs quotes.
func (r *Reader) Text(v Value, def string, rule Rule) string {
	switch {
	case v.Kind == Missing:
		return def
	case v.Kind == Number || v.Kind == Bool:
		r.Addf(v, "expected %s, found the %s %s: put it in quotes if it is meant", rule.Want, map[Kind]string{Number: "number", Bool: "boolean"}[v.Kind], v.Found())
		return def
	case v.Kind != Text:
		r.Addf(v, "expected %s, found %s", rule.Want, v.Found())
		return def
	case strings.ContainsRune(v.Text, 0):
		r.Addf(v, "expected %s, found a text with a NUL byte", rule.Want)
		return def
	case rule.OK != nil && !rule.OK(v.Text):
		if rule.Hidden {
			r.Addf(v, "expected %s", rule.Want)
		} else {
			r.Addf(v, "expected %s, found %s", rule.Want, v.Found())
		}
		return def
	}
	return v.Text
}

// Word reads one argument of a command: a text, or a number, which is passed as it is written.
func (r *Reader) Word(v Value, rule Rule) string {
	if v.Kind == Number {
		v.Kind = Text
	}
	return r.Text(v, "", rule)
}

// Words reads a list of arguments.
func (r *Reader) Words(v Value, want string, most int) []string {
	var out []string
	for _, item := range r.List(v, want, most) {
		out = append(out, r.Word(item, Rule{Want: "a text"}))
	}
	return out
}

// OneOf reads one of a few words.
func OneOf[T ~string](r *Reader, v Value, def T, options ...T) T {
	if v.Kind == Missing {
		return def
	}
	words := make([]string, len(options))
	for i, o := range options {
		if v.Kind == Text && v.Text == string(o) {
			return o
		}
		words[i] = string(o)
	}
	msg := fmt.Sprintf("expected %s, found %s", oneOf(words), v.Found())
	if near, ok := Near(v.Text, words); ok && v.Kind == Text {
		msg += ": did you mean " + near + "?"
	}
	r.Addf(v, "%s", msg)
	return def
}

// Bool reads true or false.
func (r *Reader) Bool(v Value, def bool) bool {
	switch {
	case v.Kind == Missing:
		return def
	case v.Kind != Bool:
		r.Addf(v, "expected true or false, found %s", v.Found())
		return def
	}
	return strings.EqualFold(v.Text, "true")
}

// Int reads a decimal whole number within bounds.
func (r *Reader) Int(v Value, def, low, high int) int {
	if v.Kind == Missing {
		return def
	}
	n, err := strconv.Atoi(v.Text)
	if v.Kind != Number || err != nil || v.Text != strconv.Itoa(n) {
		r.Addf(v, "expected a whole number from %d to %d, found %s", low, high, v.Found())
		return def
	}
	if n < low || n > high {
		r.Addf(v, "expected a number from %d to %d, found %d", low, high, n)
		return def
	}
	return n
}

// Number reads a plain decimal number; low itself is excluded, high is allowed.
func (r *Reader) Number(v Value, def, low, high float64) float64 {
	if v.Kind == Missing {
		return def
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != Number || err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(v.Text, "xX_") || f <= low || f > high {
		r.Addf(v, "expected a number above %v and at most %v, found %s", low, high, v.Found())
		return def
	}
	return f
}

// Duration reads a duration with its unit, e.g. 1m30s, within bounds.
func (r *Reader) Duration(v Value, def, low, high time.Duration) time.Duration {
	if v.Kind == Missing {
		return def
	}
	if v.Kind == Number {
		r.Addf(v, "expected a duration with a unit such as 5s, found %s without a unit", v.Found())
		return def
	}
	d, err := ParseDuration(v.Text)
	if v.Kind != Text || err != nil {
		r.Addf(v, "expected a duration with a unit such as 5s or 1m30s, found %s", v.Found())
		return def
	}
	if d < low || d > high {
		r.Addf(v, "expected a duration from %s to %s, found %s", FormatDuration(low), FormatDuration(high), v.Text)
		return def
	}
	return d
}

// Size reads a number of bytes with its unit, e.g. 512MiB, within bounds.
func (r *Reader) Size(v Value, def, low, high int64) int64 {
	if v.Kind == Missing {
		return def
	}
	if v.Kind == Number {
		r.Addf(v, "expected a size with a unit such as 512MiB, found %s without a unit", v.Found())
		return def
	}
	n, err := ParseSize(v.Text)
	if v.Kind != Text || err != nil {
		msg := "expected a size with a unit such as 512MiB or 2GiB, found " + v.Found()
		if near, ok := nearSize(v.Text); ok {
			msg += ": did you mean " + near + "?"
		}
		r.Addf(v, "%s", msg)
		return def
	}
	if n < low || n > high {
		r.Addf(v, "expected a size from %s to %s, found %s", FormatSize(low), FormatSize(high), v.Text)
		return def
	}
	return n
}

// Percent reads a share as a percentage with its sign, e.g. 2.5%, and returns it as a fraction above 0 and at most high.
func (r *Reader) Percent(v Value, def, high float64) float64 {
	if v.Kind == Missing {
		return def
	}
	f, err := ParsePercent(v.Text)
	if v.Kind != Text || err != nil || f <= 0 || f > high {
		r.Addf(v, "expected a percentage above 0%% and at most %s such as 10%%, found %s", FormatPercent(high), v.Found())
		return def
	}
	return f
}

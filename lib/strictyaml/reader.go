package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Reader turns values into Go values and collects what is wrong with them. Its
// methods return def for a value that is missing, and also for a bad one, which
// is then a problem: the reading goes on, so that all problems show at once.
// The zero Reader is ready. Not safe for concurrent use.
type Reader struct {
	// Elsewhere says where a key belongs that people put in the wrong section: memory → resources.memory.
	Elsewhere map[string]string

	problems []Problem
}

// Addf notes a problem at v's place.
func (r *Reader) Addf(v Value, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: v.Line, Col: v.Col, Path: v.Path, Msg: fmt.Sprintf(format, args...)})
}

// Problems returns what was noted, sorted by place.
func (r *Reader) Problems() []Problem {
	out := slices.Clone(r.problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
	})
	return out
}

// Fields are the known keys of a mapping.
type Fields struct {
	of    Value
	known map[string]Value
}

// Read reports whether there was a mapping to read at all.
func (f Fields) Read() bool { return f.of.Kind == Map }

// Get returns the value of a key. One that is not there is Missing and has the
// place of the mapping, so a problem can be noted at it.
func (f Fields) Get(key string) Value {
	if v, ok := f.known[key]; ok {
		return v
	}
	return Value{Line: f.of.Line, Col: f.of.Col, Path: child(f.of.Path, key)}
}

// Fields reads a mapping that has these keys and no others. want says in words
// what was expected when v is not a mapping.
func (r *Reader) Fields(v Value, want string, keys ...string) Fields {
	f := Fields{of: v, known: map[string]Value{}}
	for _, e := range r.Entries(v, want, 0) {
		if !slices.Contains(keys, e.Key.Text) {
			hint := "expected " + oneOf(keys)
			if near, ok := Near(e.Key.Text, keys); ok {
				hint = "did you mean " + near + "?"
			} else if place, ok := r.Elsewhere[e.Key.Text]; ok {
				hint = "it belongs to " + place
			}
			r.Addf(e.Key, "unknown key: %s", hint)
			continue
		}
		f.known[e.Key.Text] = e.Value
	}
	return f
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}

// Entries reads a mapping with free keys: each key once, in the order of the
// document. most bounds their number; 0 is no bound.
func (r *Reader) Entries(v Value, want string, most int) []Entry {
	if v.Kind == Missing {
		return nil
	}
	if v.Kind != Map {
		r.Addf(v, "expected %s, found %s", want, v.Found())
		return nil
	}
	if most > 0 && len(v.Entries) > most {
		r.Addf(v, "expected at most %d entries, found %d", most, len(v.Entries))
		return nil
	}
	first := map[string]Value{}
	var out []Entry
	for _, e := range v.Entries {
		if f, twice := first[e.Key.Text]; twice {
			r.Addf(e.Key, "duplicate key: it is already set on line %d", f.Line)
			continue
		}
		first[e.Key.Text] = e.Key
		out = append(out, e)
	}
	return out
}

// List reads a list of at most so many items.
func (r *Reader) List(v Value, want string, most int) []Value {
	switch {
	case v.Kind == Missing:
		return nil
	case v.Kind != List:
		r.Addf(v, "expected %s, found %s", want, v.Found())
		return nil
	case len(v.Items) > most:
		r.Addf(v, "expected at most %d items, found %d", most, len(v.Items))
		return nil
	}
	return v.Items
}

// Near finds the option that a misspelt word most likely means: the same
// letters apart from case, dashes and underscores, else within two edits (one
// for words below five letters). Ties go to the earlier option.
func Near(word string, options []string) (string, bool) {
	if len(word) > 64 {
		return "", false
	}
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(s))
	}
	best, most := "", 2
	if len(word) < 5 {
		most = 1
	}
	for _, o := range options {
		if plain(o) == plain(word) {
			return o, true
		}
		if d := edits(plain(word), plain(o)); d <= most {
			best, most = o, d-1
		}
	}
	return best, best != ""
}

// edits is the optimal string alignment distance: insert, delete, replace, or
// swap two neighbours, each one edit.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

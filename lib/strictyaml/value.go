// Package strictyaml reads one small YAML document written by a person, and
// collects everything that is wrong with it instead of stopping at the first
// fault. Every value knows its place. What people do not need in a settings
// file and machines can abuse (anchors, tags, several documents, deep nesting)
// is refused by name. It reads no files: bytes in, values and problems out.
package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says what a value is.
type Kind int

// The kinds of value. Missing is the zero value: the key is not there.
const (
	Missing Kind = iota
	Null         // a key with nothing behind it, or null
	Bool         // true | false, not quoted
	Number       // not quoted; its Text is as written
	Text
	List
	Map
)

// Value is one value of the document with its place.
type Value struct {
	Kind      Kind
	Text      string  // of Bool, Number and Text
	Items     []Value // of List
	Entries   []Entry // of Map, in the order of the document, duplicates included
	Line, Col int     // 1-based; of a block list or mapping the place of its key
	Path      string  // e.g. services.web.tags[0]; "" for the document itself
}

// Entry is one key of a mapping. Key holds its text and place, whatever it was written as.
type Entry struct {
	Key   Value
	Value Value
}

// Given reports whether the document says anything here.
func (v Value) Given() bool { return v.Kind != Missing }

// Found describes the value for a message, shortened to one line.
func (v Value) Found() string {
	switch v.Kind {
	case Missing, Null:
		return "nothing"
	case Bool, Number:
		return shorten(v.Text)
	case Text:
		text := v.Text
		if scheme, _, url := strings.Cut(text, "://"); url {
			text = scheme + "://…" // the rest often is a password
		}
		return strconv.Quote(shorten(text))
	case List:
		return "a list"
	default:
		return "a mapping"
	}
}

// shorten bounds text that somebody else wrote to what fits into a message.
func shorten(s string) string {
	const most = 60 // runes
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}

// child is the path of a key below path; odd keys are quoted so that a path stays one word.
func child(path, key string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == '.' || r == '"' || r > '~' }) || key == "" {
		key = strconv.Quote(shorten(key))
	}
	key = shorten(key)
	if path == "" {
		return key
	}
	return path + "." + key
}

// item is the path of the n-th item of the list at path.
func item(path string, n int) string { return fmt.Sprintf("%s[%d]", path, n) }

// Problem is one thing that is wrong, and where.
type Problem struct {
	Line, Col int
	Path      string
	Msg       string
}

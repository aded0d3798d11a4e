package notify

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Message is what a receiver gets: a POST of this as JSON.
type Message struct {
	Schema  int       `json:"schema"`            // 1; set by Send
	At      time.Time `json:"at"`                // UTC
	Event   string    `json:"event"`             // what went wrong, e.g. "up failed", "config not usable"
	Kind    string    `json:"kind"`              // a fault.Kind's word, e.g. "unhealthy"
	App     string    `json:"app"`               //
	Service string    `json:"service"`           //
	Node    string    `json:"node"`              // where it happened
	Program string    `json:"program"`           // e.g. svc-run
	Release string    `json:"release,omitempty"` //
	Message string    `json:"message"`           // one line, at most 2,000 bytes; nothing secret
	Hint    string    `json:"hint,omitempty"`    // what to do, at most 500 bytes
	Detail  []string  `json:"detail,omitempty"`  // at most 40 lines of 500 bytes: problems, last lines of a log
}

const (
	maxMessage = 2000
	maxLine    = 500
	maxDetail  = 40
)

// bounded is the message as it is sent: with its schema, in valid UTF-8, each
// part cut to its bound. Of too many lines of detail the last are kept: a log
// says at its end why it ended.
func (m Message) bounded() Message {
	m.Schema = 1
	m.At = m.At.UTC()
	for _, s := range []*string{&m.Event, &m.Kind, &m.App, &m.Service, &m.Node, &m.Program, &m.Release, &m.Hint} {
		*s = cut(*s, maxLine)
	}
	m.Message = cut(m.Message, maxMessage)
	from := max(len(m.Detail)-maxDetail, 0)
	lines := make([]string, 0, len(m.Detail)-from)
	for _, l := range m.Detail[from:] {
		lines = append(lines, cut(l, maxLine))
	}
	m.Detail = lines
	return m
}

// cut ends s with an ellipsis where it is longer than limit bytes.
func cut(s string, limit int) string {
	const ellipsis = "…"
	if len(s) > 2*limit {
		s = s[:2*limit]
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

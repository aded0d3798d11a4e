package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/term"
)

// Result prints the command's result: v as one JSON document with --json, else what text writes.
// v must be a struct or map without a field "schema": Result adds "schema": 1.
// An error is that of writing: a reader who has gone away ends the program quietly.
func (s *Session) Result(v any, text func(w io.Writer)) error {
	var out bytes.Buffer
	switch {
	case s.JSON:
		if err := document(&out, v); err != nil {
			return err
		}
	case text != nil:
		text(&out)
	}
	if _, err := s.Stdout.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// document writes v as one line of JSON that begins with the schema.
func document(out *bytes.Buffer, v any) error {
	var body bytes.Buffer
	if err := encode(&body, v); err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	text := bytes.TrimSpace(body.Bytes())
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return fmt.Errorf("encode result: %T is no JSON object", v)
	}
	if _, ok := fields["schema"]; ok {
		return fmt.Errorf("encode result: %T has a field schema of its own", v)
	}
	out.WriteString(`{"schema":1`)
	if len(fields) > 0 {
		out.WriteByte(',')
	}
	out.Write(text[1:])
	out.WriteByte('\n')
	return nil
}

// Say prints one line of talk on stderr, unless --quiet. With --log-json it is a log line.
func (s *Session) Say(format string, args ...any) {
	switch line := clean(fmt.Sprintf(format, args...)); {
	case s.Quiet:
	case s.screen != nil && s.screen.json:
		s.talk.Info(line)
	default:
		fmt.Fprintln(s.Stderr, line)
	}
}

// Lines returns a writer whose whole lines are said one by one; nil with --quiet.
func (s *Session) Lines() io.Writer {
	if s.Quiet {
		return nil
	}
	return &lineSayer{say: s.Say}
}

type lineSayer struct {
	say  func(format string, args ...any)
	rest []byte
}

func (l *lineSayer) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte{'\n'})
		if !found {
			return len(p), nil
		}
		l.say("%s", line)
		l.rest = rest
	}
}

type descriptor interface{ Fd() uintptr }

func isTerminal(w any) bool {
	f, ok := w.(descriptor)
	return ok && term.IsTerminal(int(f.Fd()))
}

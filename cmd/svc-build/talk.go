package main

import (
	"bytes"
	"io"

	"svckit/lib/fleet"
	"svckit/lib/tool"
)

// lines is where the lines of a build and a test go: nowhere with --quiet, to the log with --log-json.
func (b *builder) lines() io.Writer {
	if b.talk.Quiet {
		return nil
	}
	return &sayer{say: b.talk}
}

// progress is the line that a terminal redraws. Elsewhere the steps' own lines tell as much.
func (b *builder) progress(title string) (p fleet.Progress, done func()) {
	if !b.talk.Terminal() {
		return nil, func() {}
	}
	return b.talk.Progress(title)
}

// sayer hands whole lines to a session's talk.
type sayer struct {
	say  *tool.Session
	rest []byte
}

func (s *sayer) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		line, rest, found := bytes.Cut(s.rest, []byte{'\n'})
		if !found {
			return len(p), nil
		}
		s.say.Say("%s", line)
		s.rest = rest
	}
}

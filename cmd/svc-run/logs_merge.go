package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"svckit/lib/fleet"
)

// maxLogLine bounds one line of a log in bytes; a longer one is cut into several.
const maxLogLine = 64 << 10

// logLine is one line of one instance.
type logLine struct {
	stamp string // as the engine writes it, so that texts compare as times do
	text  string // with the newline
	err   bool   // stderr
}

// merge prints the logs of several instances in the order of their times.
func (j logsJob) merge(ctx context.Context, found []fleet.Instance) error {
	group, ctx := errgroup.WithContext(ctx)
	options := j.options
	options.Timestamps = true
	streams := make([]chan logLine, len(found))
	for n, i := range found {
		streams[n] = make(chan logLine, 64)
		group.Go(func() error {
			defer close(streams[n])
			out := &lineWriter{put: send(ctx, streams[n], false)}
			err := &lineWriter{put: send(ctx, streams[n], true)}
			if e := j.engine.Logs(ctx, i.ID, options, out, err); e != nil {
				return e
			}
			return errors.Join(out.Flush(), err.Flush())
		})
	}
	group.Go(func() error { return j.printMerged(found, streams) })
	return group.Wait()
}

// printMerged takes the oldest line of all streams, again and again.
func (j logsJob) printMerged(found []fleet.Instance, streams []chan logLine) error {
	heads := make([]*logLine, len(streams))
	for {
		oldest := -1
		for n := range streams {
			if heads[n] == nil {
				if l, ok := <-streams[n]; ok {
					heads[n] = &l
				}
			}
			if heads[n] != nil && (oldest < 0 || heads[n].stamp < heads[oldest].stamp) {
				oldest = n
			}
		}
		if oldest < 0 {
			return nil
		}
		l := heads[oldest]
		heads[oldest] = nil
		to := j.stdout
		if l.err {
			to = j.stderr
		}
		stamp := ""
		if j.timestamps {
			stamp = l.stamp + " "
		}
		if _, err := fmt.Fprintf(to, "%s | %s%s", name(found[oldest]), stamp, l.text); err != nil {
			return fmt.Errorf("show logs: %w", err)
		}
	}
}

// send parts a line from its time and passes it on.
func send(ctx context.Context, to chan<- logLine, isErr bool) func(line []byte) error {
	return func(line []byte) error {
		stamp, text, _ := strings.Cut(string(line), " ")
		select {
		case to <- logLine{stamp: stamp, text: text, err: isErr}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lineWriter passes on whole lines, each with its newline. It is safe for one goroutine.
type lineWriter struct {
	put  func(line []byte) error
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		n := bytes.IndexByte(w.rest, '\n') + 1
		switch {
		case n > maxLogLine, n == 0 && len(w.rest) >= maxLogLine:
			n = maxLogLine
		case n == 0:
			return len(p), nil
		}
		line := w.rest[:n:n]
		if line[n-1] != '\n' {
			line = append(line, '\n')
		}
		if err := w.put(line); err != nil {
			return 0, err
		}
		w.rest = w.rest[n:]
	}
}

// Flush passes on a last line without its end.
func (w *lineWriter) Flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	line := append(w.rest, '\n')
	w.rest = nil
	return w.put(line)
}

// ledWriter writes whole lines to a shared writer, each led by a name that may still change.
type ledWriter struct {
	lineWriter
}

// shared is a writer for many goroutines.
type shared struct {
	mu sync.Mutex
	w  *bufio.Writer
}

// led returns a writer of lines led by lead().
func (s *shared) led(lead func() string) *ledWriter {
	return &ledWriter{lineWriter{put: func(line []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := s.w.WriteString(lead()); err != nil {
			return err
		}
		if _, err := s.w.Write(line); err != nil {
			return err
		}
		return s.w.Flush()
	}}}
}

func newShared(w io.Writer) *shared { return &shared{w: bufio.NewWriter(w)} }

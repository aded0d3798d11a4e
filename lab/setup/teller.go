package setup

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Teller tells a person what is going on, on stderr.
type Teller struct {
	w        io.Writer
	terminal bool
	every    time.Duration // between two signs of life of a step
}

// NewTeller redraws one line each second on a terminal; elsewhere it writes a line every 30 seconds.
func NewTeller(f *os.File) *Teller {
	if term.IsTerminal(int(f.Fd())) {
		return &Teller{w: f, terminal: true, every: time.Second}
	}
	return &Teller{w: f, every: 30 * time.Second}
}

// Line writes one line.
func (t *Teller) Line(format string, args ...any) { fmt.Fprintf(t.w, "lab: "+format+"\n", args...) }

// Step runs f, showing what it does, how long that usually takes and how long it has taken.
func (t *Teller) Step(ctx context.Context, what, usually string, f func() error) error {
	start := time.Now()
	t.draw("%s (usually %s)", what, usually)
	done := make(chan error, 1)
	go func() { done <- f() }()
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			t.end(what, time.Since(start), err)
			return err
		case <-tick.C:
			note := ""
			if ctx.Err() != nil {
				note = ", stopping"
			}
			t.draw("%s (usually %s): %s%s", what, usually, time.Since(start).Round(time.Second), note)
		}
	}
}

func (t *Teller) draw(format string, args ...any) {
	if t.terminal {
		fmt.Fprintf(t.w, "\r\x1b[Klab: "+format, args...)
		return
	}
	t.Line(format, args...)
}

func (t *Teller) end(what string, took time.Duration, err error) {
	if t.terminal {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
	if err == nil {
		t.Line("%s: done in %s", what, took.Round(100*time.Millisecond))
	}
}

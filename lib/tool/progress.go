package tool

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"svckit/lib/fleet"
)

const (
	redrawEvery = 150 * time.Millisecond // on a terminal
	repeatEvery = 5 * time.Second        // elsewhere
)

// Progress returns a reporter for one long action: a line that is redrawn on a
// terminal, a plain line at the start, every five seconds and at the end
// elsewhere, nothing with --quiet. Amounts are bytes; total 0 means unknown.
// done ends it and must be called; it may be called twice. p may be called from many goroutines.
func (s *Session) Progress(title string) (p fleet.Progress, done func()) {
	if s.Quiet || s.screen == nil {
		return func(string, int64, int64) {}, func() {}
	}
	m := &meter{title: clean(title), began: time.Now()}
	stop := s.screen.watch(m, func(line string) { s.Say("%s", line) })
	return m.report, sync.OnceFunc(stop)
}

// meter is how far one action is.
type meter struct {
	mu          sync.Mutex
	title, what string
	done, total int64
	began       time.Time
}

func (m *meter) report(what string, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.what, m.done, m.total = clean(what), done, total
}

// line renders the meter at a point in time, e.g. "pull web: layer 3f2c 12.0 MiB of 40.0 MiB, 4s".
func (m *meter) line(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	b.WriteString(m.title + ":")
	if m.what != "" {
		b.WriteString(" " + m.what)
	}
	switch {
	case m.total > 0:
		fmt.Fprintf(&b, " %s of %s", Bytes(m.done), Bytes(m.total))
	case m.done > 0:
		b.WriteString(" " + Bytes(m.done))
	}
	if b.Len() > len(m.title)+1 {
		b.WriteByte(',')
	}
	fmt.Fprintf(&b, " %s", now.Sub(m.began).Round(time.Second))
	return b.String()
}

// end renders the last line.
func (m *meter) end(now time.Time) string {
	took := now.Sub(m.began)
	if took < 10*time.Second {
		return fmt.Sprintf("%s: %s", m.title, took.Round(100*time.Millisecond))
	}
	return fmt.Sprintf("%s: %s", m.title, took.Round(time.Second))
}

// Bytes renders an amount with its unit, e.g. "12.0 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 5 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit-1])
}

// screen is stderr: lines of talk above at most one line that is redrawn.
type screen struct {
	mu       sync.Mutex
	w        *hiding
	terminal bool
	json     bool // talk is logged
	drawn    bool // a progress line is on the terminal now
}

func newScreen(w *hiding, terminal bool) *screen { return &screen{w: w, terminal: terminal} }

// Write writes text of the talk, after taking the progress line away.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	return s.w.Write(p)
}

func (s *screen) erase() {
	if s.drawn {
		_, _ = io.WriteString(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) draw(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	width := 80
	if f, ok := s.w.w.(descriptor); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			width = w
		}
	}
	if r := []rune(line); len(r) >= width {
		line = string(r[:width-1])
	}
	s.erase()
	_, _ = io.WriteString(s.w, line)
	s.drawn = true
}

func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	_ = s.w.Flush()
}

// watch shows m until the returned function is called.
func (s *screen) watch(m *meter, say func(string)) (stop func()) {
	every, live := repeatEvery, s.terminal && !s.json
	if live {
		every = redrawEvery
		s.draw(m.line(m.began))
	} else {
		say(m.title + " …")
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				if live {
					s.draw(m.line(now))
				} else {
					say(m.line(now))
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
		say(m.end(time.Now()))
	}
}

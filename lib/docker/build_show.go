package docker

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/opencontainers/go-digest"
)

// escape is a terminal's control sequence (ECMA-48 CSI and OSC).
var escape = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\-_])")

// buildShow draws the progress of a build: on a terminal as Docker's own client does,
// elsewhere one plain line when a step starts, one for each line it says, one when it ends.
type buildShow struct {
	out    io.Writer
	shown  map[digest.Digest]*shownStep
	screen chan *buildkit.SolveStatus // nil: plain
	drawn  chan struct{}
}

type shownStep struct {
	name           string
	started, ended bool
	tail           tail
}

func newBuildShow(out io.Writer, terminal bool) *buildShow {
	s := &buildShow{out: out, shown: map[digest.Digest]*shownStep{}}
	if out == nil || !terminal {
		return s
	}
	display, err := progressui.NewDisplay(out, progressui.TtyMode)
	if err != nil { // not a terminal after all
		return s
	}
	s.screen, s.drawn = make(chan *buildkit.SolveStatus, 64), make(chan struct{})
	go func() {
		defer close(s.drawn)
		// The channel is closed at the end of every build, so the drawing needs no other end.
		_, _ = display.UpdateFrom(context.Background(), s.screen)
	}()
	return s
}

func (s *buildShow) update(ctx context.Context, status *buildkit.SolveStatus) {
	switch {
	case s.out == nil:
	case s.screen != nil:
		select {
		case s.screen <- status:
		case <-ctx.Done():
		}
	default:
		s.plain(status)
	}
}

// close waits for the last drawing.
func (s *buildShow) close() {
	if s.screen != nil {
		close(s.screen)
		<-s.drawn
	}
}

func (s *buildShow) plain(status *buildkit.SolveStatus) {
	for _, v := range status.Vertexes {
		step := s.step(v.Digest)
		step.name = v.Name
		if strings.HasPrefix(v.Name, "[internal]") && v.Error == "" {
			continue
		}
		if v.Started != nil && !step.started && !v.Cached {
			step.started = true
			fmt.Fprintf(s.out, "build: %s\n", v.Name)
		}
		if v.Completed != nil && !step.ended {
			step.ended = true
			fmt.Fprintf(s.out, "build: %s: %s\n", v.Name, ending(v))
		}
	}
	for _, log := range status.Logs {
		step := s.step(log.Vertex)
		for _, line := range step.tail.add(log.Data) {
			fmt.Fprintf(s.out, "build: %s | %s\n", shortName(step.name), line)
		}
	}
}

func (s *buildShow) step(d digest.Digest) *shownStep {
	step, ok := s.shown[d]
	if !ok {
		step = &shownStep{}
		s.shown[d] = step
	}
	return step
}

func ending(v *buildkit.Vertex) string {
	switch {
	case strings.Contains(v.Error, "context canceled"):
		return "cancelled"
	case v.Error != "":
		return "failed: " + plainCause(v.Error)
	case v.Cached:
		return "cached"
	case v.Started == nil:
		return "done"
	}
	return "done in " + v.Completed.Sub(*v.Started).Round(10*time.Millisecond).String()
}

// shortName is a step's number, "[2/5]" of "[2/5] RUN pip install …".
func shortName(name string) string {
	if i := strings.IndexByte(name, ']'); i > 0 && strings.HasPrefix(name, "[") {
		return name[:i+1]
	}
	return name
}

package docker

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	buildkit "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"svckit/lib/fleet"
)

// escape is a terminal's control sequence (ECMA-48 CSI and OSC).
var escape = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\-_])")

// buildShow tells the progress of a build: one line when a step ends and, with every,
// also one when it starts and one for each line that it says. What runs now goes to progress.
type buildShow struct {
	out      io.Writer
	every    bool
	progress fleet.Progress
	shown    map[digest.Digest]*shownStep
}

type shownStep struct {
	name           string
	started, ended bool
	tail           tail
	amounts        map[string]progressDetail // of a pull or an upload, by part
}

func newBuildShow(r BuildRequest) *buildShow {
	s := &buildShow{out: r.Out, every: r.Every, progress: r.Progress, shown: map[digest.Digest]*shownStep{}}
	if s.out == nil {
		s.out = io.Discard
	}
	return s
}

func (s *buildShow) update(status *buildkit.SolveStatus) {
	for _, v := range status.Vertexes {
		s.vertex(v)
	}
	for _, a := range status.Statuses {
		step := s.step(a.Vertex)
		step.amounts[a.ID] = progressDetail{Current: a.Current, Total: a.Total}
		s.report(step, "")
	}
	for _, log := range status.Logs {
		step := s.step(log.Vertex)
		for _, line := range step.tail.add(log.Data) {
			if s.every {
				fmt.Fprintf(s.out, "build: %s | %s\n", shortName(step.name), line)
			}
			s.report(step, line)
		}
	}
}

func (s *buildShow) vertex(v *buildkit.Vertex) {
	step := s.step(v.Digest)
	step.name = stepName(v.Name)
	if v.Started != nil && !step.started && !v.Cached {
		step.started = true
		s.report(step, "")
		if s.every && !internal(v) {
			fmt.Fprintf(s.out, "build: %s\n", step.name)
		}
	}
	if v.Completed != nil && !step.ended && !internal(v) {
		step.ended = true
		name := step.name
		if s.every && step.started { // the line of its start has the whole name
			name = shortName(name)
		}
		fmt.Fprintf(s.out, "build: %s %s\n", name, ending(v))
	}
}

func (s *buildShow) report(step *shownStep, line string) {
	what := step.name
	if line != "" {
		what = shortName(step.name) + " " + line
	}
	var done, total int64
	for _, a := range step.amounts {
		done, total = done+a.Current, total+a.Total
	}
	s.progress.Report(what, done, total)
}

func (s *buildShow) step(d digest.Digest) *shownStep {
	step, ok := s.shown[d]
	if !ok {
		step = &shownStep{amounts: map[string]progressDetail{}}
		s.shown[d] = step
	}
	return step
}

// internal steps are BuildKit's own and say nothing to a user unless they fail.
func internal(v *buildkit.Vertex) bool {
	return v.Error == "" && strings.HasPrefix(v.Name, "[internal]")
}

// stepName makes a step's name fit for a line, and names the one whose own name says
// nothing: the unpacking of our context.
func stepName(name string) string {
	if name == "copy /context /" {
		return "read build context"
	}
	name = cleanLine([]byte(strings.Join(strings.Fields(name), " ")))
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[:maxName]) + "…"
	}
	return name
}

const maxName = 160 // runes of a step's name

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

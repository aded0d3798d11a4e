package docker

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	buildkit "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

const (
	lastLines  = 30      // of a failing step or test
	maxLogLine = 2000    // bytes of a line that is kept
	maxPartial = 1 << 16 // bytes of a line without an end
)

// decodeTrace reads one progress message of BuildKit (a moby.buildkit.v1.StatusResponse).
func decodeTrace(raw []byte) (*buildkit.SolveStatus, error) {
	var response controlapi.StatusResponse
	if err := proto.Unmarshal(raw, &response); err != nil {
		return nil, fmt.Errorf("read build progress: %w", err)
	}
	return buildkit.NewSolveStatus(&response), nil
}

// buildLog remembers the steps of a build and the last lines of each.
type buildLog struct {
	steps map[digest.Digest]*buildStep
	order []*buildStep
}

type buildStep struct {
	name      string
	started   *time.Time
	completed *time.Time
	cached    bool
	err       string
	tail      tail
}

// failedStep is the step that ended a build.
type failedStep struct {
	name, message string
	lines         []string
}

func newBuildLog() *buildLog { return &buildLog{steps: map[digest.Digest]*buildStep{}} }

func (l *buildLog) update(s *buildkit.SolveStatus) {
	for _, v := range s.Vertexes {
		step := l.step(v.Digest)
		step.name, step.started, step.completed = stepName(v.Name), v.Started, v.Completed
		step.cached = step.cached || v.Cached
		if v.Error != "" {
			step.err = v.Error
		}
	}
	for _, log := range s.Logs {
		l.step(log.Vertex).tail.add(log.Data)
	}
}

func (l *buildLog) step(d digest.Digest) *buildStep {
	step, ok := l.steps[d]
	if !ok {
		step = &buildStep{tail: tail{max: lastLines}}
		l.steps[d] = step
		l.order = append(l.order, step)
	}
	return step
}

// failure returns the step that failed first, not those that were cancelled because of
// it; nil when no step failed (the Dockerfile itself is wrong, say).
func (l *buildLog) failure() *failedStep {
	var found *buildStep
	for _, s := range l.order {
		if s.err == "" || strings.Contains(s.err, "context canceled") {
			continue
		}
		if found == nil || s.completed != nil && found.completed != nil && s.completed.Before(*found.completed) {
			found = s
		}
	}
	if found == nil {
		return nil
	}
	return &failedStep{name: found.name, message: plainCause(found.err), lines: found.tail.lines()}
}

// plainCause drops the words around BuildKit's cause: the step's command is in its name already.
func plainCause(text string) string {
	if i := strings.LastIndex(text, "exit code: "); i >= 0 {
		return text[i:]
	}
	return strings.TrimPrefix(text, "rpc error: code = Unknown desc = ")
}

// tail keeps the last lines of a stream of bytes.
type tail struct {
	max     int
	kept    []string
	partial []byte
}

func (t *tail) add(data []byte) (whole []string) {
	t.partial = append(t.partial, data...)
	for {
		line, rest, found := bytes.Cut(t.partial, []byte{'\n'})
		if !found && len(t.partial) < maxPartial {
			break
		}
		whole = append(whole, cleanLine(line))
		t.partial = rest
	}
	t.kept = append(t.kept, whole...)
	if n := len(t.kept) - t.max; n > 0 {
		t.kept = append(t.kept[:0:0], t.kept[n:]...)
	}
	return whole
}

// lines returns what is kept, with an unfinished last line.
func (t *tail) lines() []string {
	out := append([]string(nil), t.kept...)
	if len(t.partial) > 0 {
		out = append(out, cleanLine(t.partial))
	}
	if n := len(out) - t.max; n > 0 {
		out = out[n:]
	}
	return out
}

// cleanLine makes one line fit to be shown: what a progress bar overwrote and what
// steers a terminal goes, and so does all beyond maxLogLine bytes.
func cleanLine(line []byte) string {
	text := strings.TrimRight(string(line), "\r")
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	text = strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(escape.ReplaceAllString(text, ""), "�"))
	if len(text) > maxLogLine {
		text = strings.ToValidUTF8(text[:maxLogLine], "") + "…"
	}
	return text
}

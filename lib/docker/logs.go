package docker

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// The bounds of Tail.
const (
	maxTail = 1000    // lines
	maxLine = 400     // bytes of one line
	maxRead = 1 << 20 // bytes of the log, of both streams together
)

// LogOptions says which part of a log is wanted. The zero value is all that is there.
type LogOptions struct {
	Tail       int       // last lines only; 0: all
	Follow     bool      // until the container ends or the context does
	Timestamps bool      // each line begins with its time
	Since      time.Time // zero: from the beginning
}

// Logs writes a container's output to stdout and stderr as it came. The end of ctx
// while following is no error.
func (e *Engine) Logs(ctx context.Context, id string, o LogOptions, stdout, stderr io.Writer) error {
	raw, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return e.wrap(err, "logs of container %s", short(id))
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: o.Follow, Timestamps: o.Timestamps}
	if o.Tail > 0 {
		options.Tail = strconv.Itoa(o.Tail)
	}
	if !o.Since.IsZero() {
		options.Since = o.Since.UTC().Format(time.RFC3339Nano)
	}
	stream, err := e.api.ContainerLogs(ctx, id, options)
	if err != nil {
		return e.wrap(err, "logs of container %s", short(id))
	}
	defer stream.Close()
	if raw.Config != nil && raw.Config.Tty {
		_, err = io.Copy(stdout, stream)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, stream)
	}
	if o.Follow && ctx.Err() != nil {
		return nil
	}
	return e.wrap(err, "logs of container %s", short(id))
}

// Tail returns the last n lines of a container's output, stdout and stderr in the
// order the engine has them, without control characters. A line is at most 400
// bytes, n at most 1000; of a log with huge lines the end is given.
func (e *Engine) Tail(ctx context.Context, id string, n int) ([]string, error) {
	if n <= 0 {
		return nil, nil
	}
	var end lastBytes
	if err := e.Logs(ctx, id, LogOptions{Tail: min(n, maxTail)}, &end, &end); err != nil {
		return nil, err
	}
	return tailLines(end.text, n), nil
}

// tailLines splits the end of a log into its last n lines, cleaned and bounded.
func tailLines(text []byte, n int) []string {
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return nil
	}
	all := strings.Split(string(text), "\n")
	all = all[max(0, len(all)-n):]
	for i, l := range all {
		all[i] = boundLine(clean(l))
	}
	return all
}

// boundLine cuts a line at maxLine bytes, between two characters.
func boundLine(line string) string {
	if len(line) <= maxLine {
		return line
	}
	const mark = "…"
	return strings.ToValidUTF8(line[:maxLine-len(mark)], "") + mark
}

// lastBytes keeps the last maxRead bytes written to it.
type lastBytes struct{ text []byte }

func (b *lastBytes) Write(p []byte) (int, error) {
	b.text = append(b.text, p...)
	if len(b.text) > 2*maxRead {
		b.text = append([]byte(nil), b.text[len(b.text)-maxRead:]...)
	}
	return len(p), nil
}

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// TestRequest is one run of a spec's test in a built image.
type TestRequest struct {
	Image   string        // image id
	App     string        //
	Command []string      // argv; replaces the image's entrypoint and command
	Limit   time.Duration // after it the test is killed
	Out     io.Writer     // its output, as it comes; nil: none

	Owner fleet.Holder            // the process that runs the test
	Alive func(fleet.Holder) bool // false only for an owner that is certainly dead
}

// RunTest runs a command in a new container of an image and returns how long it took.
// An exit code other than 0 gives a fault.Failed with the last lines as detail, the end
// of the time limit a fault.Timeout. The container is removed in every case; one that a
// killed process left behind is removed by a later call.
func (e *Engine) RunTest(ctx context.Context, r TestRequest) (took time.Duration, err error) {
	e.sweepTests(ctx, time.Now(), r.Alive)
	limited, cancel := context.WithTimeoutCause(ctx, r.Limit, errTestTooLong)
	defer cancel()
	id, err := e.createTest(context.WithoutCancel(ctx), r)
	if err != nil {
		return 0, testError(limited, r, err, nil)
	}
	defer e.removeTest(context.WithoutCancel(ctx), id)
	began := time.Now()
	code, last, err := e.watchTest(limited, id, r.Out)
	took = time.Since(began)
	if err != nil {
		return took, testError(limited, r, err, last)
	}
	if code != 0 {
		return took, &fault.Error{
			Kind: fault.Failed, Msg: "run test " + strings.Join(r.Command, " "),
			Err: fmt.Errorf("exit code %d%s", code, meaning(code)), Hint: testHint(code), Detail: last,
		}
	}
	return took, nil
}

// tidyLimit bounds what is done although the caller's context has ended.
const tidyLimit = 30 * time.Second

var errTestTooLong = errors.New("took too long")

// createTest waits for the engine's answer: it may make a container whose maker gave up.
func (e *Engine) createTest(ctx context.Context, r TestRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tidyLimit)
	defer cancel()
	yes := true
	owner, err := json.Marshal(r.Owner)
	if err != nil {
		return "", err
	}
	created, err := e.api.ContainerCreate(ctx, &container.Config{
		Image: r.Image, Entrypoint: r.Command[:1], Cmd: r.Command[1:],
		Labels: map[string]string{fleet.LabelKind: "test", fleet.LabelApp: r.App, LabelOwner: string(owner)},
	}, &container.HostConfig{
		Init: &yes, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
	}, nil, nil, "")
	return created.ID, err
}

// watchTest runs the container to its end and returns its exit code and last lines.
func (e *Engine) watchTest(ctx context.Context, id string, out io.Writer) (code int64, last []string, err error) {
	attached, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return 0, nil, err
	}
	defer attached.Close()
	ended, broken := e.api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	lines := &lineWriter{out: out, tail: tail{max: lastLines}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = stdcopy.StdCopy(lines, lines, attached.Reader) // its end is the container's end
	}()
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return 0, nil, err
	}
	select {
	case done := <-ended:
		code = done.StatusCode
		if done.Error != nil {
			err = errors.New(done.Error.Message)
		}
	case err = <-broken:
		return 0, lines.last(), err
	}
	select { // what it said last may still be on its way
	case <-read:
	case <-ctx.Done():
	}
	return code, lines.last(), err
}

func (e *Engine) removeTest(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, tidyLimit)
	defer cancel()
	if err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		e.log.Warn("remove test container", "id", id[:min(12, len(id))], "error", err)
	}
}

func testError(ctx context.Context, r TestRequest, err error, last []string) error {
	what := "run test " + strings.Join(r.Command, " ")
	switch {
	case errors.Is(context.Cause(ctx), errTestTooLong):
		return &fault.Error{
			Kind: fault.Timeout, Msg: what, Err: fmt.Errorf("still running after %s", r.Limit),
			Hint: "--test-timeout gives it longer", Detail: last,
		}
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case client.IsErrConnectionFailed(err):
		return fault.New(fault.Unreachable, "%s: %w", what, err)
	}
	return &fault.Error{Kind: fault.Failed, Msg: what, Err: err, Detail: last}
}

func testHint(code int64) string {
	if code == 126 || code == 127 {
		return "build.test in app.yaml runs inside the built image and without a shell: the image must hold the program"
	}
	return ""
}

// meaning explains exit codes that are not the program's own.
func meaning(code int64) string {
	switch code {
	case 126:
		return " (not executable)"
	case 127:
		return " (command not found)"
	case 137:
		return " (killed: out of memory, or KILL)"
	case 139:
		return " (segmentation fault)"
	}
	return ""
}

// lineWriter passes whole lines on, cleaned, and keeps the last. Both streams of a container write to it.
type lineWriter struct {
	mu   sync.Mutex
	out  io.Writer
	tail tail
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.tail.add(p) {
		if w.out != nil {
			fmt.Fprintf(w.out, "test: %s\n", line)
		}
	}
	return len(p), nil
}

func (w *lineWriter) last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tail.lines()
}

package docker

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"svckit/lib/fleet"
)

const (
	maxStdout = 1 << 20         // bytes of a program's output that are kept
	killLimit = 5 * time.Second // for ending a program that took too long
)

// Exec runs a program in a running container, as the container's user, and
// returns its exit code and what it said. When ctx ends, so does the program,
// where this process may end it, and the error is ctx's.
func (e *Engine) Exec(ctx context.Context, id string, p fleet.Program) (fleet.Ran, error) {
	ran, err := e.exec(ctx, id, p)
	return ran, e.wrap(err, "run %s in container %s", oneLine(p.Command[0]), short(id))
}

func (e *Engine) exec(ctx context.Context, id string, p fleet.Program) (fleet.Ran, error) {
	made, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: p.Command, WorkingDir: p.Dir, Env: p.Env, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return fleet.Ran{}, err
	}
	attached, err := e.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return fleet.Ran{}, err
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	all, errs := &lineWriter{tail: tail{max: lastLines}}, &lineWriter{tail: tail{max: lastLines}}
	out := &firstBytes{max: maxStdout}
	_, err = stdcopy.StdCopy(io.MultiWriter(out, all), io.MultiWriter(errs, all), attached.Reader)
	ran := fleet.Ran{Stdout: out.Bytes(), Last: all.last(), Errors: errs.last()}
	if ctx.Err() != nil {
		e.endExec(ctx, made.ID)
		return ran, context.Cause(ctx)
	}
	if err != nil {
		return ran, err
	}
	done, err := e.api.ContainerExecInspect(ctx, made.ID)
	ran.Code = done.ExitCode
	return ran, err
}

// endExec kills a program that nobody waits for any more. The engine's API has no
// call for it; its pid is one of this node's.
func (e *Engine) endExec(ctx context.Context, exec string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
	defer cancel()
	state, err := e.api.ContainerExecInspect(ctx, exec)
	if err != nil || !state.Running || state.Pid <= 1 {
		return
	}
	if err := syscall.Kill(state.Pid, syscall.SIGKILL); err != nil {
		e.log.Warn("a program in a container goes on", "pid", state.Pid, "container", short(state.ContainerID), "error", err)
	}
}

// firstBytes keeps the first max bytes that are written to it.
type firstBytes struct {
	bytes.Buffer
	max int
}

func (f *firstBytes) Write(p []byte) (int, error) {
	if room := f.max - f.Len(); room > 0 {
		f.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

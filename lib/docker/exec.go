package docker

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Exec runs a program in a running container, as the container's user and in its
// folder, and returns its exit code and the last lines of what it said. When ctx
// ends, Exec does; the program in the container is then left to itself.
func (e *Engine) Exec(ctx context.Context, id string, command []string) (code int, last []string, err error) {
	made, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return 0, nil, e.wrap(err, "run %s in container %s", oneLine(command[0]), short(id))
	}
	attached, err := e.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return 0, nil, e.wrap(err, "run %s in container %s", oneLine(command[0]), short(id))
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	lines := &lineWriter{tail: tail{max: lastLines}}
	_, err = stdcopy.StdCopy(lines, lines, attached.Reader)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, lines.last(), e.wrap(err, "run %s in container %s", oneLine(command[0]), short(id))
	}
	done, err := e.api.ContainerExecInspect(ctx, made.ID)
	return done.ExitCode, lines.last(), e.wrap(err, "run %s in container %s", oneLine(command[0]), short(id))
}

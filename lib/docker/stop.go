package docker

import (
	"context"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// StopWithin is Stop where the container has at most so long until it is killed,
// whatever its own timeout is. d is cut to whole seconds.
func (e *Engine) StopWithin(ctx context.Context, id string, d time.Duration) error {
	seconds := int(d / time.Second)
	err := e.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return e.wrap(err, "stop container %s", short(id))
}

package docker

import (
	"context"
	"errors"
	"time"

	"github.com/docker/docker/api/types/container"

	"svckit/lib/fleet"
)

// Ended waits until a container that was started does not run any more, and returns
// it as it is then. It waits on when the engine is restarted meanwhile. One that is
// gone is fleet.ErrNotFound.
func (e *Engine) Ended(ctx context.Context, id string) (fleet.Instance, error) {
	for {
		ended, broken := e.api.ContainerWait(ctx, id, container.WaitConditionNotRunning)
		select {
		case <-ended:
		case err := <-broken: // what it is about is asked below
			e.log.Debug("waiting for the end of a container was cut short", "container", id, "error", err)
		case <-ctx.Done():
			return fleet.Instance{}, ctx.Err()
		}
		i, err := e.Instance(ctx, id)
		switch {
		case err == nil && i.State != fleet.Running && i.State != fleet.Restarting && i.State != fleet.Paused:
			return i, nil
		case errors.Is(err, fleet.ErrNotFound):
			return i, err
		}
		select {
		case <-ctx.Done():
			return fleet.Instance{}, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

package docker

import (
	"context"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// cleanupLimit bounds the removal of a half-made container, also when the caller's context has ended.
const cleanupLimit = 20 * time.Second

// Create makes one container, with its links in it, and does not start it. The
// label svckit.env is filled in from c.Env when c.Labels has none. On a macvlan it
// gets an address that it keeps; two runs must not create there at the same time.
//
// Errors: fleet.ErrNotFound (fault.NotFound) for a missing image or network,
// fleet.ErrNameTaken (fault.Conflict), fault.Invalid for what cannot be created.
// After an error nothing is left behind, but when the engine's answer was lost:
// then a container of that name may be there.
func (e *Engine) Create(ctx context.Context, c fleet.Container) (string, error) {
	if err := validate(c); err != nil {
		return "", fault.New(fault.Invalid, "create container %s: %w", oneLine(c.Name), err)
	}
	logs, err := e.logConfig(ctx)
	if err != nil {
		return "", err
	}
	var attached *network.NetworkingConfig
	if !predefined(c.Network) {
		if attached, err = e.endpoint(ctx, c.Network, c.Name); err != nil {
			return "", err
		}
	}
	config, host := configOf(c)
	host.LogConfig = logs
	made, err := e.api.ContainerCreate(ctx, config, host, attached, nil, c.Name)
	if err != nil {
		return "", e.createError(c, err)
	}
	for _, w := range made.Warnings {
		e.log.Warn("docker warns", "container", c.Name, "warning", oneLine(w))
	}
	if err := e.link(ctx, made.ID, c); err != nil {
		e.discard(ctx, made.ID)
		return "", err
	}
	return made.ID, nil
}

func (e *Engine) createError(c fleet.Container, err error) error {
	switch {
	case cerrdefs.IsNotFound(err):
		return fault.WithHint(fault.New(fault.NotFound, "create container %s: image %s: %w", c.Name, c.Image, fleet.ErrNotFound),
			"pull it first: `docker pull %s`", c.Image)
	case cerrdefs.IsConflict(err):
		return fault.WithHint(fault.New(fault.Conflict, "create container %s: %w", c.Name, fleet.ErrNameTaken),
			"see what has the name: `docker inspect %s`", c.Name)
	}
	return e.wrap(err, "create container %s", c.Name)
}

// discard removes a half-made container, also when ctx has ended.
func (e *Engine) discard(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	if err := e.Remove(ctx, id); err != nil {
		e.log.Error("half-made container left behind", "container", short(id), "error", err)
	}
}

// Start starts a created or stopped container. A host port that is in use is a
// fleet.ErrPortTaken; the container then stays, not running.
func (e *Engine) Start(ctx context.Context, id string) error {
	err := e.api.ContainerStart(ctx, id, container.StartOptions{})
	if err != nil && portTaken(err) {
		return fmt.Errorf("start container %s: %w: %s", short(id), fleet.ErrPortTaken, words(err))
	}
	return e.wrap(err, "start container %s", short(id))
}

// Stop sends the container's own stop signal and kills it after its own timeout.
// It is nil when the container is not running or gone.
func (e *Engine) Stop(ctx context.Context, id string) error {
	err := e.api.ContainerStop(ctx, id, container.StopOptions{})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return e.wrap(err, "stop container %s", short(id))
}

// Remove kills and removes a container with its anonymous volumes, and returns
// when it is gone. It is nil when there is none.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil, cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err): // somebody else is removing it
		return e.waitGone(ctx, id)
	}
	return e.wrap(err, "remove container %s", short(id))
}

func (e *Engine) waitGone(ctx context.Context, id string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := e.api.ContainerInspect(ctx, id)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return e.wrap(err, "remove container %s", short(id))
		}
		select {
		case <-ctx.Done():
			return e.wrap(ctx.Err(), "remove container %s", short(id))
		case <-tick.C:
		}
	}
}

// UpdateCores binds a container to other cores, at once and while it runs. Its
// label svckit.cores does not change, so this is for containers that own no cores.
func (e *Engine) UpdateCores(ctx context.Context, id string, cores []int) error {
	if len(cores) == 0 {
		return fault.New(fault.Invalid, "update cores of container %s: no cores given", short(id))
	}
	_, err := e.api.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: container.Resources{CpusetCpus: coreList(cores)}})
	return e.wrap(err, "update cores of container %s", short(id))
}

// Signal sends a signal, with or without SIG, to PID 1 of the container.
//
// It marks the container as stopped by hand: without a StopSignal in its config,
// and under the policy unless-stopped in any case, the engine will not restart it
// after a later crash (moby daemon/kill.go). Instance.StopSignal and
// Instance.Restart show both; containers made by Create always have a StopSignal.
func (e *Engine) Signal(ctx context.Context, id, signal string) error {
	err := e.api.ContainerKill(ctx, id, signal)
	return e.wrap(err, "signal %s to container %s", signal, short(id))
}

// short is the part of an id that people read.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

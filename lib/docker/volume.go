package docker

import (
	"context"
	"io"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// dataAt is where a helper container sees the volume that it is made for.
const dataAt = "/svckit-volume"

// Volume looks at a named volume. Without one the error is fleet.ErrNotFound.
func (e *Engine) Volume(ctx context.Context, name string) (fleet.Volume, error) {
	v, err := e.api.VolumeInspect(ctx, name)
	if err != nil {
		return fleet.Volume{}, e.wrap(err, "look at volume %s", oneLine(name))
	}
	users, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("volume", name))})
	if err != nil {
		return fleet.Volume{}, e.wrap(err, "find who uses volume %s", oneLine(name))
	}
	out := fleet.Volume{Name: name, Path: v.Mountpoint}
	for _, u := range users {
		// The filter takes the path of a mount too.
		for _, m := range u.Mounts {
			if m.Type == mount.TypeVolume && m.Name == name && len(u.Names) > 0 {
				out.Users = append(out.Users, oneLine(u.Names[0][1:]))
			}
		}
	}
	return out, nil
}

// ReadVolume gives what a volume holds as a tar archive, with owners, modes and links as the engine
// knows them. It needs an image that is here, and runs nothing: the helper container is never started.
func (e *Engine) ReadVolume(ctx context.Context, name, image string, read func(io.Reader) error) error {
	made, err := e.api.ContainerCreate(ctx, &container.Config{
		Image: image, Cmd: []string{"-"}, Labels: map[string]string{"svckit.helper": "volume"},
	}, &container.HostConfig{
		NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: name, Target: dataAt, ReadOnly: true}},
	}, nil, nil, "")
	if err != nil {
		return e.wrap(err, "make a container that sees volume %s", oneLine(name))
	}
	defer e.discard(ctx, made.ID)
	body, _, err := e.api.CopyFromContainer(ctx, made.ID, dataAt+"/.")
	if err != nil {
		return e.wrap(err, "read volume %s", oneLine(name))
	}
	defer body.Close()
	return read(body)
}

// RemoveVolume removes a named volume; it is nothing where there is none. One that a container uses stays (fault.Conflict).
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := e.api.VolumeRemove(ctx, name, false)
	switch {
	case err == nil || cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err):
		return fault.New(fault.Conflict, "remove volume %s: a container uses it: %s", oneLine(name), words(err))
	}
	return e.wrap(err, "remove volume %s", oneLine(name))
}

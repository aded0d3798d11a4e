package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// validLinks refuses links that would not end up in the container's own layer.
func validLinks(c fleet.Container) error {
	for _, at := range sortedKeys(c.Links) {
		if !path.IsAbs(at) || path.Clean(at) != at || at == "/" || !path.IsAbs(c.Links[at]) {
			return fmt.Errorf("link %q to %q: both must be clean absolute paths", at, c.Links[at])
		}
		for _, m := range c.Mounts {
			if within(at, path.Clean(m.Target)) {
				return fmt.Errorf("link %q lies in the mount of %s: it would be written to the node's files, not to the container's", at, m.Target)
			}
		}
	}
	return nil
}

// within reports whether clean path p is dir or below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// link puts c.Links into a created container's own layer. Existing folders keep
// their owner and mode, missing ones are made 0755 for root; a file or link in
// the way is replaced, a folder in the way is an error, but for c.Over.
func (e *Engine) link(ctx context.Context, id string, c fleet.Container) error {
	if len(c.Links) == 0 {
		return nil
	}
	var missing []string
	there := map[string]bool{"/": true} // folder → is in the image
	for _, at := range sortedKeys(c.Links) {
		dirs, err := e.missingParents(ctx, id, at, there)
		switch {
		case err != nil || len(dirs) > 0:
		case at == c.Over:
			err = e.noVolume(ctx, id, at)
		default:
			err = e.freeForLink(ctx, id, at)
		}
		if err != nil {
			return fmt.Errorf("create container %s: link %s: %w", c.Name, at, err)
		}
		missing = append(missing, dirs...)
	}
	text, err := linkArchive(missing, c.Links)
	if err != nil {
		return fmt.Errorf("create container %s: pack links: %w", c.Name, err)
	}
	err = e.api.CopyToContainer(ctx, id, "/", bytes.NewReader(text), container.CopyToContainerOptions{AllowOverwriteDirWithFile: c.Over != ""})
	return e.wrap(err, "create container %s: copy links", c.Name)
}

// missingParents returns the folders above at that are to be made, outermost
// first, and notes every folder above it in there. It asks from the outside in:
// for a path below a file the engine's answer is a plain 500.
func (e *Engine) missingParents(ctx context.Context, id, at string, there map[string]bool) ([]string, error) {
	var missing []string
	for i, r := range at {
		if r != '/' || i == 0 {
			continue
		}
		dir := at[:i]
		if _, known := there[dir]; known {
			continue
		}
		if !there[path.Dir(dir)] {
			there[dir] = false
			missing = append(missing, dir)
			continue
		}
		stat, err := e.statFollowing(ctx, id, dir)
		switch {
		case cerrdefs.IsNotFound(err):
			there[dir] = false
			missing = append(missing, dir)
		case err != nil:
			return nil, e.wrap(err, "look for %s", dir)
		case !stat.Mode.IsDir():
			return nil, fault.New(fault.Invalid, "%s is not a folder in the image", dir)
		default:
			there[dir] = true
		}
	}
	return missing, nil
}

// statFollowing is a stat that follows a link in the last place, as in /var/run.
func (e *Engine) statFollowing(ctx context.Context, id, p string) (container.PathStat, error) {
	stat, err := e.api.ContainerStatPath(ctx, id, p)
	if err != nil || stat.Mode&fs.ModeSymlink == 0 {
		return stat, err
	}
	target, err := e.api.ContainerStatPath(ctx, id, stat.LinkTarget)
	if cerrdefs.IsNotFound(err) {
		return stat, nil // a link to nowhere, which is no folder
	}
	return target, err
}

// freeForLink refuses a folder in the place of a link. The folder above exists.
func (e *Engine) freeForLink(ctx context.Context, id, at string) error {
	stat, err := e.api.ContainerStatPath(ctx, id, at)
	switch {
	case cerrdefs.IsNotFound(err):
		return nil
	case err != nil:
		return e.wrap(err, "look for it")
	case stat.Mode.IsDir():
		return fault.New(fault.Invalid, "there is a folder in its place in the image")
	}
	return nil
}

// noVolume refuses a place in which the image itself declares a volume: neither
// can a mount be replaced, nor one below a folder that is.
func (e *Engine) noVolume(ctx context.Context, id, at string) error {
	made, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return e.wrap(err, "look for volumes")
	}
	for _, m := range made.Mounts {
		if within(at, path.Clean(m.Destination)) || within(path.Clean(m.Destination), at) {
			return fault.WithHint(fault.New(fault.Invalid, "a volume is mounted at %s", m.Destination), "take VOLUME %s out of the image", m.Destination)
		}
	}
	return nil
}

// linkArchive is a tar of folders and symbolic links, with paths relative to /.
func linkArchive(dirs []string, links map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, dir := range dirs {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	for _, at := range sortedKeys(links) {
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(at, "/"), Linkname: links[at], Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
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
// the way is replaced, a folder in the way is an error.
func (e *Engine) link(ctx context.Context, id string, c fleet.Container) error {
	if len(c.Links) == 0 {
		return nil
	}
	var dirs []string
	known := map[string]bool{"/": true}
	for _, at := range sortedKeys(c.Links) {
		missing, err := e.missingParents(ctx, id, at, known)
		if err != nil {
			return fmt.Errorf("create container %s: link %s: %w", c.Name, at, err)
		}
		dirs = append(dirs, missing...)
	}
	text, err := linkArchive(dirs, c.Links)
	if err != nil {
		return fmt.Errorf("create container %s: pack links: %w", c.Name, err)
	}
	err = e.api.CopyToContainer(ctx, id, "/", bytes.NewReader(text), container.CopyToContainerOptions{})
	return e.wrap(err, "create container %s: copy links", c.Name)
}

// missingParents returns the folders above at that do not exist, outermost first,
// and notes every folder above it as known.
func (e *Engine) missingParents(ctx context.Context, id, at string, known map[string]bool) ([]string, error) {
	stat, err := e.api.ContainerStatPath(ctx, id, at)
	switch {
	case err == nil && stat.Mode.IsDir():
		return nil, fault.New(fault.Invalid, "there is a folder in its place in the image")
	case err == nil:
		return nil, nil // so its parents exist
	case !cerrdefs.IsNotFound(err):
		return nil, e.wrap(err, "look for it")
	}
	var missing []string
	for dir := path.Dir(at); !known[dir]; dir = path.Dir(dir) {
		// The dot makes the engine follow a link in the last place, as in /var/run.
		stat, err := e.api.ContainerStatPath(ctx, id, dir+"/.")
		if err == nil && !stat.Mode.IsDir() {
			return nil, fault.New(fault.Invalid, "%s is not a folder in the image", dir)
		}
		known[dir] = true
		if err == nil {
			break
		}
		if !cerrdefs.IsNotFound(err) {
			return nil, e.wrap(err, "look for %s", dir)
		}
		missing = append([]string{dir}, missing...)
	}
	return missing, nil
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
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(at, "/"), Linkname: links[at], Mode: int64(os.ModePerm)}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

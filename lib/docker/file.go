package docker

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/docker/docker/api/types/container"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// ReadFile reads one file out of a container, running or not, following a link in
// its last place. Without one it is fleet.ErrNotFound; a folder, or a file of more
// than limit bytes, is an error.
func (e *Engine) ReadFile(ctx context.Context, id, path string, limit int64) ([]byte, error) {
	stream, stat, err := e.api.CopyFromContainer(ctx, id, path)
	if err == nil && stat.Mode&fs.ModeSymlink != 0 && stat.LinkTarget != "" {
		_ = stream.Close()
		stream, stat, err = e.api.CopyFromContainer(ctx, id, stat.LinkTarget)
	}
	if err != nil {
		return nil, e.wrap(err, "read %s of container %s", oneLine(path), short(id))
	}
	defer stream.Close()
	text, err := onlyFile(stream, stat, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s of container %s: %w", oneLine(path), short(id), err)
	}
	return text, nil
}

// onlyFile is the content of an archive's first entry.
func onlyFile(stream io.Reader, stat container.PathStat, limit int64) ([]byte, error) {
	switch {
	case stat.Mode&fs.ModeSymlink != 0:
		return nil, fault.New(fault.NotFound, "%w: a link to nowhere", fleet.ErrNotFound)
	case !stat.Mode.IsRegular():
		return nil, fault.New(fault.Failed, "is not a file")
	}
	archive := tar.NewReader(stream)
	head, err := archive.Next()
	if err != nil {
		return nil, err
	}
	if head.Typeflag != tar.TypeReg {
		return nil, fault.New(fault.Failed, "is not a file")
	}
	if head.Size > limit {
		return nil, fault.New(fault.Failed, "has %d bytes, more than %d", head.Size, limit)
	}
	return io.ReadAll(archive)
}

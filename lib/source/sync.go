package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// Files is the context as BuildKit asks for it: a list first, then only the
// contents that it does not have from an earlier build. Links stay links, modes
// are kept, owners are 0:0. Files may be read by many at once.
func (t *Tree) Files() fsutil.FS { return files{t} }

type files struct{ t *Tree }

// Walk lists what is at or below target ("" or "/": everything), each folder before what it holds.
func (f files) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	list := slices.Clone(f.t.entries)
	slices.SortFunc(list, func(a, b entry) int { return fsutil.ComparePath(a.path, b.path) })
	target = strings.Trim(target, "/")
	skip := ""
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !within(e.path, target) || skip != "" && within(e.path, skip) {
			continue
		}
		err := fn(e.path, &fsutil.DirEntryInfo{Stat: statOf(e)}, nil)
		switch {
		case errors.Is(err, fs.SkipDir) && e.mode.IsDir():
			skip = e.path
		case err != nil:
			return err
		}
	}
	return nil
}

// within reports whether path is dir or below it; "" and "." hold everything.
func within(path, dir string) bool {
	return dir == "" || dir == "." || path == dir || strings.HasPrefix(path, dir+"/")
}

func statOf(e entry) *types.Stat {
	return &types.Stat{Path: e.path, Mode: uint32(e.mode), Size: e.size, ModTime: e.mtime.UnixNano(), Linkname: e.link}
}

// Open gives the content of a regular file, or fails because it is not what was listed.
func (f files) Open(path string) (io.ReadCloser, error) {
	k, ok := slices.BinarySearchFunc(f.t.entries, path, func(e entry, p string) int { return strings.Compare(e.path, p) })
	if !ok || !f.t.entries[k].mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	root, err := os.OpenRoot(f.t.dir)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	r, w := io.Pipe()
	go func() {
		defer root.Close()
		w.CloseWithError(f.t.one(root, f.t.entries[k], func(_ entry, content io.Reader) error {
			_, err := io.Copy(w, content)
			return err
		}))
	}()
	return r, nil
}

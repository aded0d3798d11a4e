package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"

	"svckit/lib/fault"
)

// GeneratedName is what a generated Dockerfile is called in the build context.
const GeneratedName = ".svckit.Dockerfile"

const (
	maxIgnore     = 1 << 20
	maxDockerfile = 1 << 20
)

// Tree is the list of what a build context holds, read once by Scan. Contents are read
// when it is hashed or sent, and must still be what the list says.
type Tree struct {
	dir        string
	dockerfile string   // slash path in the context
	generated  []byte   // content of GeneratedName; nil when the folder has a Dockerfile
	ignore     []string // patterns of .dockerignore
	entries    []entry
}

type entry struct {
	path  string // slash path
	mode  fs.FileMode
	size  int64 // regular files
	mtime time.Time
	inode uint64
	link  string // target of a symbolic link, as it is
}

// Scan lists the context of a build in dir: everything that .dockerignore (or, first,
// <dockerfile>.dockerignore) leaves over by Docker's own matching, and in any case the
// Dockerfile. With generated text the Dockerfile is that text, and nothing is written
// into dir. What cannot be built from (a socket, a device, an unreadable folder) is an error
// that names it.
func Scan(ctx context.Context, dir, dockerfile string, generated []byte) (*Tree, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	t := &Tree{dir: root, dockerfile: GeneratedName, generated: generated}
	if generated == nil {
		t.dockerfile = filepath.ToSlash(filepath.Clean(dockerfile))
		if !filepath.IsLocal(t.dockerfile) {
			return nil, fault.New(fault.Invalid, "read Dockerfile %s: it is outside of the source folder", dockerfile)
		}
	}
	if t.ignore, err = t.ignorePatterns(); err != nil {
		return nil, err
	}
	if err := t.walk(ctx, t.ignore); err != nil {
		return nil, err
	}
	if err := t.addDockerfile(); err != nil {
		return nil, err
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return t, nil
}

// Dockerfile is the Dockerfile's path in the context.
func (t *Tree) Dockerfile() string { return t.dockerfile }

// Ignored are the patterns of .dockerignore that the context was listed with.
func (t *Tree) Ignored() []string { return t.ignore }

// Holds reports whether a path (with slashes) is sent to the build.
func (t *Tree) Holds(path string) bool {
	return slices.ContainsFunc(t.entries, func(e entry) bool { return e.path == path })
}

// Size counts the files and the bytes that a build is sent.
func (t *Tree) Size() (files int, bytes int64) {
	for _, e := range t.entries {
		if e.mode.IsRegular() {
			files, bytes = files+1, bytes+e.size
		}
	}
	return files, bytes
}

// Newest is the latest time of change of any file in the context.
func (t *Tree) Newest() time.Time {
	var newest time.Time
	for _, e := range t.entries {
		if e.mode.IsRegular() && e.mtime.After(newest) {
			newest = e.mtime
		}
	}
	return newest.UTC().Truncate(time.Second)
}

func (t *Tree) ignorePatterns() ([]string, error) {
	names := []string{".dockerignore"}
	if t.generated == nil {
		names = []string{t.dockerfile + ".dockerignore", ".dockerignore"}
	}
	for _, name := range names {
		text, err := ReadFile(t.dir, name, maxIgnore)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(string(text)))
		if err != nil {
			return nil, fault.New(fault.Invalid, "read %s: %w", name, err)
		}
		return patterns, nil
	}
	return nil, nil
}

func (t *Tree) walk(ctx context.Context, patterns []string) error {
	all, err := fsutil.NewFS(t.dir)
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	filtered, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{ExcludePatterns: patterns})
	if err != nil {
		return fault.New(fault.Invalid, "read .dockerignore: %w", err)
	}
	err = filtered.Walk(ctx, "/", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		e, err := t.look(path)
		if err != nil {
			return err
		}
		if e.path == GeneratedName && t.generated != nil {
			return fault.New(fault.Invalid, "read source: %s is the name of a generated Dockerfile: rename the file", GeneratedName)
		}
		t.entries = append(t.entries, e)
		return nil
	})
	if pe, ok := errors.AsType[*fs.PathError](err); ok && fault.KindOf(err) == fault.Failed { // a folder that cannot be listed
		return readError(strings.TrimPrefix(pe.Path, t.dir+"/"), err)
	}
	return err
}

// look takes down one path, without following a link.
func (t *Tree) look(path string) (entry, error) {
	full := filepath.Join(t.dir, path)
	info, err := os.Lstat(full)
	if err != nil {
		return entry{}, readError(path, err)
	}
	e := entryOf(filepath.ToSlash(path), info)
	switch e.mode.Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if e.link, err = os.Readlink(full); err != nil {
			return entry{}, readError(path, err)
		}
	default:
		return entry{}, fault.WithHint(fault.New(fault.Invalid, "read source: %s is a %s, which no image can hold", path, kindOf(e.mode)),
			"delete it, or add it to .dockerignore")
	}
	return e, nil
}

func entryOf(path string, info fs.FileInfo) entry {
	e := entry{path: path, mode: info.Mode(), mtime: info.ModTime()}
	if info.Mode().IsRegular() {
		e.size = info.Size()
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.inode = st.Ino
	}
	return e
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	}
	return "device"
}

// addDockerfile makes sure the Dockerfile is sent, also when .dockerignore names it.
func (t *Tree) addDockerfile() error {
	if t.generated != nil {
		t.entries = append(t.entries, entry{path: GeneratedName, mode: 0o644, size: int64(len(t.generated)), mtime: time.Unix(0, 0)})
		return nil
	}
	// The engine follows a link that stays inside the folder; here only a missing file is looked for.
	if _, err := ReadFile(t.dir, t.dockerfile, maxDockerfile); errors.Is(err, fs.ErrNotExist) {
		return fault.WithHint(fault.New(fault.Invalid, "read Dockerfile: there is no %s in %s", t.dockerfile, t.dir),
			"set build.runtime in app.yaml to have one generated, or build.dockerfile to its path")
	} else if err != nil {
		return err
	}
	if slices.ContainsFunc(t.entries, func(e entry) bool { return e.path == t.dockerfile }) {
		return nil
	}
	e, err := t.look(t.dockerfile)
	if err != nil {
		return err
	}
	t.entries = append(t.entries, e)
	return nil
}

// ReadFile reads one text of a source folder: a path that stays inside dir also
// through links, a regular file, at most max bytes. errors.Is(err, fs.ErrNotExist) tells a missing one.
func ReadFile(dir, path string, max int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, readError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, readError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "read %s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, readError(path, err)
	}
	if int64(len(text)) > max {
		return nil, fault.New(fault.Invalid, "read %s: more than the allowed %d bytes", path, max)
	}
	return text, nil
}

// readError names the path once and says what to do where that is known.
func readError(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	wrapped := fmt.Errorf("read source: %s: %w", path, err)
	if errors.Is(err, fs.ErrPermission) {
		return fault.WithHint(wrapped, "make it readable for your user, or add it to .dockerignore")
	}
	return wrapped
}

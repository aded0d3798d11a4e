package code

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"svckit/lib/fault"
)

// Skip reports whether a path of the source (with slashes, relative) is left out.
// Of a folder that it leaves out nothing is asked.
type Skip func(path string, folder bool) bool

// limits bound what is taken from a source folder.
type limits struct {
	entries int   // files, folders and links
	bytes   int64 // of all files
	depth   int   // folders within folders
}

func defaultLimits() limits { return limits{entries: 100_000, bytes: 2 << 30, depth: 64} }

// item is one file, folder or link of a tree.
type item struct {
	path string // with slashes
	mode fs.FileMode
	size int64
	link string
	info fs.FileInfo
}

// builtIn is what is never code: Git's own folder, and what Python compiled
// for other paths and times.
func builtIn(p string, _ bool) bool {
	name := path.Base(p)
	return name == ".git" || name == "__pycache__" || strings.HasSuffix(name, ".pyc")
}

// list takes down a tree, sorted by path, without following a link.
func list(ctx context.Context, root *os.Root, skip Skip, limit limits) ([]item, error) {
	l := lister{root: root, skip: skip, limit: limit}
	if err := l.folder(ctx, ".", 0); err != nil {
		return nil, err
	}
	for _, it := range l.items {
		if it.mode&fs.ModeSymlink != 0 {
			if err := stays(root, it); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(l.items, func(a, b item) int { return cmp.Compare(a.path, b.path) })
	return l.items, nil
}

type lister struct {
	root  *os.Root
	skip  Skip
	limit limits
	items []item
	bytes int64
}

func (l *lister) folder(ctx context.Context, dir string, depth int) error {
	if depth > l.limit.depth {
		return fault.New(fault.Invalid, "%q: more than %d folders within folders", dir, l.limit.depth)
	}
	f, err := l.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1000) // a folder of any size takes bounded memory
		for _, e := range entries {
			if err := l.entry(ctx, path.Join(dir, e.Name()), depth); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (l *lister) entry(ctx context.Context, p string, depth int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	info, err := l.root.Lstat(p)
	if err != nil {
		return err
	}
	if builtIn(p, info.IsDir()) || l.skip != nil && l.skip(p, info.IsDir()) {
		return nil
	}
	it := item{path: p, mode: info.Mode(), info: info}
	switch info.Mode().Type() {
	case 0:
		it.size = info.Size()
		l.bytes += it.size
	case fs.ModeDir:
	case fs.ModeSymlink:
		if it.link, err = l.root.Readlink(p); err != nil {
			return err
		}
	default:
		return leaveOut(fault.New(fault.Invalid, "%q is neither a file nor a folder nor a link", p), p)
	}
	l.items = append(l.items, it)
	switch {
	case len(l.items) > l.limit.entries:
		return leaveOut(fault.New(fault.Invalid, "more than %d files and folders", l.limit.entries), "what is no code")
	case l.bytes > l.limit.bytes:
		return leaveOut(fault.New(fault.Invalid, "more than %d MiB", l.limit.bytes>>20), "what is no code")
	case info.IsDir():
		return l.folder(ctx, p, depth+1)
	}
	return nil
}

func leaveOut(err error, what string) error {
	return fault.WithHint(err, "name %s in .svcignore", what)
}

// stays refuses a link that leads out of the tree, by itself or through another
// link. One that leads nowhere within the tree is copied as it is.
func stays(root *os.Root, it item) error {
	out := path.IsAbs(it.link) || !fs.ValidPath(path.Join(path.Dir(it.path), it.link))
	if !out {
		_, err := root.Stat(it.path)
		out = err != nil && !errors.Is(err, fs.ErrNotExist)
	}
	if out {
		return leaveOut(fault.New(fault.Invalid, "link %q leads out of the folder, to %q", it.path, it.link), it.path)
	}
	return nil
}

// generation is the name of a tree: the first 12 hex digits of a SHA-256 over
// kind, path, and content of everything in it. sums holds the contents' own.
// Of a file's mode only whether it can be run counts: the rest depends on the
// umask of whoever checked it out.
func generation(items []item, sums map[string][sha256.Size]byte) string {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s) //nolint:errcheck // a hash takes everything
	}
	for _, it := range items {
		text(it.path)
		switch {
		case it.mode.IsDir():
			text("dir")
		case it.mode&fs.ModeSymlink != 0:
			text("link")
			text(it.link)
		default:
			sum := sums[it.path]
			text("file " + modeOf(it.mode).String())
			text(string(sum[:]))
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// modeOf is the mode that a file has in every version.
func modeOf(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return execMode
	}
	return fileMode
}

// read copies a file to w and returns its SHA-256. It must be what was listed,
// from the first byte to the last.
func read(root *os.Root, it item, w io.Writer) (sum [sha256.Size]byte, err error) {
	f, err := root.OpenFile(it.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, w), io.LimitReader(f, it.size+1))
	if err != nil {
		return sum, err
	}
	info, err := f.Stat()
	if err != nil {
		return sum, err
	}
	if n != it.size || !os.SameFile(info, it.info) || !info.ModTime().Equal(it.info.ModTime()) {
		return sum, fault.WithHint(fault.New(fault.Conflict, "%q changed while it was read", it.path), "try again")
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// digest reads a tree and names it.
func digest(ctx context.Context, root *os.Root, skip Skip, limit limits) (string, []item, error) {
	items, err := list(ctx, root, skip, limit)
	if err != nil {
		return "", nil, err
	}
	sums := map[string][sha256.Size]byte{}
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return "", nil, context.Cause(ctx)
		}
		if it.mode.IsRegular() {
			if sums[it.path], err = read(root, it, io.Discard); err != nil {
				return "", nil, fmt.Errorf("read %s: %w", it.path, err)
			}
		}
	}
	return generation(items, sums), items, nil
}

// changed is when anything about a file changed last, its ctime.
func changed(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

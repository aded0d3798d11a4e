package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"svckit/lib/fault"
)

// Hash returns the SHA-256, in hex, of what the context holds: paths, modes, targets of
// links and contents, in the order of paths. Times and owners do not count: the same
// tree gives the same hash on every machine. Each of more (the spec, for one) is mixed in.
func (t *Tree) Hash(ctx context.Context, more ...[]byte) (string, error) {
	h := sha256.New()
	for _, m := range more {
		fmt.Fprintf(h, "more %d\n", len(m))
		h.Write(m)
	}
	err := t.each(ctx, func(e entry, content io.Reader) error {
		fmt.Fprintf(h, "%s %q %o %q %d\n", e.mode.Type(), e.path, modeBits(e.mode), e.link, e.size)
		if content == nil {
			return nil
		}
		_, err := io.Copy(h, content)
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// modeBits are the permission bits in the order of chmod(2).
func modeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// each calls f for every entry in order, with the content of regular files. The reader
// gives exactly e.size bytes, or fails because the file is not what was listed.
func (t *Tree) each(ctx context.Context, f func(entry, io.Reader) error) error {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	defer root.Close()
	for _, e := range t.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.one(root, e, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) one(root *os.Root, e entry, f func(entry, io.Reader) error) error {
	if !e.mode.IsRegular() {
		return f(e, nil)
	}
	if t.generated != nil && e.path == GeneratedName {
		return f(e, newExact(e, bytes.NewReader(t.generated)))
	}
	file, err := root.OpenFile(e.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
			return changed(e.path)
		}
		return readError(e.path, err)
	}
	defer file.Close()
	if err := unchanged(file, e); err != nil {
		return err
	}
	if err := f(e, newExact(e, file)); err != nil {
		return err
	}
	return unchanged(file, e)
}

// unchanged compares an open file with what was listed.
func unchanged(file *os.File, e entry) error {
	info, err := file.Stat()
	if err != nil {
		return readError(e.path, err)
	}
	now := entryOf(e.path, info)
	if now.mode != e.mode || now.size != e.size || now.inode != e.inode || !now.mtime.Equal(e.mtime) {
		return changed(e.path)
	}
	return nil
}

func changed(path string) error {
	return fault.WithHint(fmt.Errorf("read source: %s changed while it was read", path),
		"build again when nothing writes to the folder, or add the file to .dockerignore")
}

// exact gives the listed number of bytes and then io.EOF; a shorter source is an error.
type exact struct {
	e    entry
	r    io.Reader
	left int64
}

func newExact(e entry, r io.Reader) *exact { return &exact{e: e, r: r, left: e.size} }

func (x *exact) Read(p []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > x.left {
		p = p[:x.left]
	}
	n, err := x.r.Read(p)
	x.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && x.left > 0:
		return n, changed(x.e.path)
	case errors.Is(err, io.EOF):
		return n, nil
	case err != nil:
		return n, readError(x.e.path, err)
	}
	return n, nil
}

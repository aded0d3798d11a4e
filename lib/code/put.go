package code

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/fault"
)

// Generation names the code in a source folder as Put would, and writes nothing.
func (s *Store) Generation(ctx context.Context, source string, skip Skip) (string, error) {
	from, err := openSource(source)
	if err != nil {
		return "", err
	}
	defer from.Close()
	name, _, err := s.look(ctx, from, skip)
	if err != nil {
		return "", fmt.Errorf("read code in %s: %w", source, err)
	}
	return name, nil
}

// Put copies the code in a source folder onto the node, without making it current,
// and returns its generation: the first 12 hex digits of a SHA-256 over paths,
// contents, links and which files can be run. The same code is copied once.
//
// Left out are .git, __pycache__, *.pyc and what skip names (nil: nothing more). A
// link that leads out of the folder, a socket, a device and a source without any
// file are fault.Invalid; so is one of more than 100,000 entries, 2 GiB or 64
// levels. Files become readable for every user; their times are those of the copy,
// so that nothing compiled for another version is taken for this one's.
//
// Either the whole version is there afterwards, on the disk, or nothing is.
func (s *Store) Put(ctx context.Context, app, service, source string, skip Skip) (string, error) {
	from, err := openSource(source)
	if err != nil {
		return "", err
	}
	defer from.Close()
	name, err := s.put(ctx, app, service, from, skip)
	if err != nil {
		return "", fmt.Errorf("put code of %s/%s from %s: %w", app, service, source, err)
	}
	return name, nil
}

func openSource(source string) (*os.Root, error) {
	from, err := os.OpenRoot(source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "read code: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	return from, nil
}

func (s *Store) look(ctx context.Context, from *os.Root, skip Skip) (string, []item, error) {
	name, items, err := digest(ctx, from, skip, s.limit)
	if err == nil && !slices.ContainsFunc(items, func(it item) bool { return it.mode.IsRegular() }) {
		err = fault.WithHint(fault.New(fault.Invalid, "there is no file in it"), "see what .svcignore or .dockerignore leaves out")
	}
	return name, items, err
}

func (s *Store) put(ctx context.Context, app, service string, from *os.Root, skip Skip) (string, error) {
	name, items, err := s.look(ctx, from, skip)
	if err != nil {
		return "", err
	}
	root, free, err := s.locked(ctx, app, service, true)
	if err != nil {
		return "", err
	}
	defer free()
	if err := sweep(root); err != nil {
		return "", err
	}
	s.step("swept")
	versions, err := folder(root, versionsDir, dirMode, true)
	if err != nil {
		return "", err
	}
	defer versions.Close()
	if there, err := s.there(ctx, versions, name); there || err != nil {
		return name, err
	}
	temp := tempPrefix + rand.Text()
	defer func() { _ = root.RemoveAll(temp) }()
	if name, err = s.copy(ctx, root, temp, from, items); err != nil {
		return "", err
	}
	if there, err := s.there(ctx, versions, name); there || err != nil { // the source changed, to what is known
		return name, err
	}
	if err := root.Rename(temp, versionsDir+"/"+name); err != nil {
		return "", err
	}
	s.step("renamed")
	return name, errors.Join(syncFolder(root, versionsDir), syncFolder(root, "."))
}

// there reports whether a version is there already, and makes it the youngest. One
// that somebody changed is an error: what runs it must not see a third thing.
func (s *Store) there(ctx context.Context, versions *os.Root, name string) (bool, error) {
	info, err := versions.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, fault.New(fault.Refused, "%s/%s is not a folder", versionsDir, name)
	}
	have, err := versions.OpenRoot(name)
	if err != nil {
		return false, err
	}
	defer have.Close()
	is, _, err := digest(ctx, have, nil, s.limit)
	if err != nil {
		return false, fmt.Errorf("read %s/%s: %w", versionsDir, name, err)
	}
	if is != name {
		return false, fault.WithHint(fault.New(fault.Conflict, "%s/%s was changed by hand", versionsDir, name),
			"undo the change, or remove %s/%s when nothing runs it", versions.Name(), name)
	}
	now := time.Now()
	return true, versions.Chtimes(name, now, now)
}

// copy makes temp a copy of what was listed, brings it to the disk and names it
// by what was really copied.
func (s *Store) copy(ctx context.Context, root *os.Root, temp string, from *os.Root, items []item) (string, error) {
	if err := root.Mkdir(temp, 0o700); err != nil {
		return "", err
	}
	to, err := root.OpenRoot(temp)
	if err != nil {
		return "", err
	}
	defer to.Close()
	sums := map[string][sha256.Size]byte{}
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		if err := copyItem(from, to, it, sums); err != nil {
			return "", fmt.Errorf("copy %s: %w", it.path, err)
		}
		s.step("copied " + it.path)
	}
	for _, it := range items { // what a link went through may have changed since it was listed
		if it.link != "" {
			if err := stays(to, it); err != nil {
				return "", err
			}
		}
	}
	if err := root.Chmod(temp, dirMode); err != nil {
		return "", err
	}
	dir, err := to.Open(".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil { // one wait, where thousands of files would each have one
		return "", fmt.Errorf("bring to the disk: %w", err)
	}
	s.step("synced")
	return generation(items, sums), nil
}

func copyItem(from, to *os.Root, it item, sums map[string][sha256.Size]byte) (err error) {
	switch {
	case it.mode.IsDir():
		if err := to.Mkdir(it.path, 0o700); err != nil {
			return err
		}
		return to.Chmod(it.path, dirMode)
	case it.link != "":
		return to.Symlink(it.link, it.path)
	}
	f, err := to.OpenFile(it.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if sums[it.path], err = read(from, it, f); err != nil {
		return err
	}
	return f.Chmod(modeOf(it.mode))
}

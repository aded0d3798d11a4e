// Package delivery puts the rendered files and the secrets of instances where
// their containers see them: a folder per container on a tmpfs of the node. It
// also keeps the last good config of a service for starts without Consul.
//
// The layout, for a container named N and a run folder R:
//
//	R/N/secrets/KEY        0400, owned by the container's user   → /run/secrets (read-only)
//	R/N/files/HASH-NAME    0444                                  → /run/svckit/files (read-only)
//
// R/N itself is 0700: on the node only its owner gets at what is in it, rendered
// files too, which every user of the container may read. The engine mounts the two
// folders below it as root, so a container does not pass through R/N.
//
// The path a template is meant for is a symbolic link in the container's own
// layer (Links), so that rendering again is one rename on the node: a file that is
// itself bind-mounted would stay the old one in the container.
package delivery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Where a container finds what was delivered.
const (
	SecretsTarget = "/run/secrets"
	FilesTarget   = "/run/svckit/files"
)

const (
	secretsDir = "secrets"
	filesDir   = "files"
)

const (
	runMode    fs.FileMode = 0o711
	ownMode    fs.FileMode = 0o700 // of R/N
	subMode    fs.FileMode = 0o755 // of R/N/secrets and R/N/files
	secretMode fs.FileMode = 0o400
	fileMode   fs.FileMode = 0o444
)

// Store is the run folder of a node.
type Store struct{ run string }

// Open makes the run folder ready. A folder that is not on a tmpfs or ramfs gets a
// tmpfs mounted on it, which needs root: without it fault.Refused.
func Open(run string) (*Store, error) {
	if !filepath.IsAbs(run) || filepath.Clean(run) != run || run == "/" {
		return nil, fault.New(fault.Invalid, "open run folder: %q is not a clean absolute path", run)
	}
	if err := ensureMemory(run); err != nil {
		return nil, err
	}
	return &Store{run: run}, nil
}

// Dir is the folder of a container's delivered files, the value of the label svckit.dir.
func (s *Store) Dir(name string) string { return filepath.Join(s.run, name) }

// Mounts are the mounts of a container that is called name.
func (s *Store) Mounts(name string) []fleet.Mount {
	return []fleet.Mount{
		{Source: filepath.Join(s.Dir(name), secretsDir), Target: SecretsTarget, ReadOnly: true},
		{Source: filepath.Join(s.Dir(name), filesDir), Target: FilesTarget, ReadOnly: true},
	}
}

// Prepare makes the empty folders of a container, so that it can be created; its
// user is only known after that. It is nothing to prepare twice.
func (s *Store) Prepare(name string) error {
	dir, err := s.open(name, true)
	if err != nil {
		return fmt.Errorf("prepare files of %s: %w", name, err)
	}
	return dir.Close()
}

// Remove takes away what was delivered to a container. It is nil when there is nothing.
func (s *Store) Remove(name string) error {
	if err := validName(name); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.run)
	if err != nil {
		return fmt.Errorf("remove files of %s: %w", name, err)
	}
	defer root.Close()
	if err := root.RemoveAll(name); err != nil {
		return fmt.Errorf("remove files of %s: %w", name, err)
	}
	return nil
}

// Names lists the containers that something was delivered to, sorted. Whatever
// else lies in the run folder is not listed.
func (s *Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.run)
	if err != nil {
		return nil, fmt.Errorf("list run folder: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() || validName(e.Name()) != nil {
			continue
		}
		// The layout says that a folder is ours.
		if info, err := os.Lstat(filepath.Join(s.run, e.Name(), secretsDir)); err == nil && info.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Sweep removes what was delivered before a time to containers that keep does not
// name, and returns their names, sorted. The time must lie some minutes back: a
// folder is prepared before its container is there, perhaps by another run.
func (s *Store) Sweep(keep map[string]bool, before time.Time) ([]string, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		info, err := os.Lstat(filepath.Join(s.Dir(n), secretsDir))
		return keep[n] || err != nil || !info.ModTime().Before(before)
	})
	for i, n := range names {
		if err := s.Remove(n); err != nil {
			return names[:i], err
		}
	}
	return names, nil
}

// open opens the folder of a container, with its two folders in it; create makes
// what is missing.
func (s *Store) open(name string, create bool) (*os.Root, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	run, err := os.OpenRoot(s.run)
	if err != nil {
		return nil, err
	}
	defer run.Close()
	dir, err := openFolder(run, name, ownMode, create)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{secretsDir, filesDir} {
		below, err := openFolder(dir, sub, subMode, create)
		if err != nil {
			_ = dir.Close()
			return nil, err
		}
		_ = below.Close()
	}
	return dir, nil
}

// openFolder opens a folder that is no symbolic link. With create it is made when
// it is missing, and has exactly that mode afterwards, whatever the umask is.
func openFolder(root *os.Root, name string, mode fs.FileMode, create bool) (*os.Root, error) {
	if create {
		if err := root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s: %w", filepath.Join(root.Name(), name), fleet.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fault.New(fault.Refused, "%s is not a folder", filepath.Join(root.Name(), name))
	}
	if create && info.Mode().Perm() != mode {
		if err := root.Chmod(name, mode); err != nil {
			return nil, err
		}
	}
	return root.OpenRoot(name)
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// validName accepts what the engine accepts as a container's name.
func validName(name string) error {
	if !namePattern.MatchString(name) {
		return fault.New(fault.Invalid, "%q is not a container name", name)
	}
	return nil
}

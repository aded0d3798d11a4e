// Package code keeps the code of services on this node, for services whose image
// holds only the environment (code.mount in app.yaml).
//
// The layout, for a code folder C:
//
//	C/APP/SERVICE/versions/GENERATION/   a tree, never changed once it is there
//	C/APP/SERVICE/current                link to versions/GENERATION
//	C/APP/SERVICE/previous               link to the one before
//
// C/APP/SERVICE is mounted read-only in each container of the service, and code.mount
// is a link in the container's own layer to current in that mount. So one
// rename on the node changes what every instance sees, at once and whole, and a
// process that is in the old tree stays in it until it is told to reload.
//
// Whatever stands in the folder for a moment only begins with a dot: a killed run
// leaves nothing else, and the next one removes it.
package code

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	versionsDir  = "versions"
	currentLink  = "current"
	previousLink = "previous"
	tempPrefix   = ".new-" // a tree that is being copied, or a link that is about to take its place
	oldPrefix    = ".old-" // a tree that is being removed
)

const (
	aboveMode fs.FileMode = 0o711 // of C and C/APP
	dirMode   fs.FileMode = 0o755 // any user may be the container's
	fileMode  fs.FileMode = 0o644
	execMode  fs.FileMode = 0o755
)

// Store is the code folder of a node. It is safe to use by many runs at once:
// whoever changes a service's folder holds a lock on it.
type Store struct {
	dir   string
	limit limits
	step  func(what string) // tests cut a run there
}

// Open returns the store in dir, which need not be there yet: Put makes it.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
		return nil, fault.New(fault.Invalid, "open code folder: %q is not a clean absolute path", dir)
	}
	return &Store{dir: dir, limit: defaultLimits(), step: func(string) {}}, nil
}

// Dir is the host folder that the containers of a service mount.
func (s *Store) Dir(app, service string) string { return filepath.Join(s.dir, app, service) }

// State is what code of a service is on the node.
type State struct {
	Generation string    // that current points to; "" for a plain folder
	Previous   string    // "" when there is none
	Changed    time.Time // when current was switched; of a plain folder the newest change of anything in it
	Plain      bool      // current is a folder, put there by hand or by rsync
}

// State tells which code of a service is current. Without any the error is
// fleet.ErrNotFound; a current that leads nowhere or out of the folder is fault.Invalid.
func (s *Store) State(app, service string) (State, error) {
	state, err := s.state(app, service)
	if err != nil {
		return State{}, fmt.Errorf("look at code of %s/%s: %w", app, service, err)
	}
	return state, nil
}

func (s *Store) state(app, service string) (State, error) {
	root, err := s.open(app, service, false)
	if err != nil {
		return State{}, err
	}
	defer root.Close()
	info, err := root.Lstat(currentLink)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{}, notFound(s.Dir(app, service) + "/" + currentLink)
	case err != nil:
		return State{}, err
	case info.IsDir():
		state := State{Plain: true}
		state.Previous, _ = pointed(root, previousLink)
		state.Changed, err = newest(root, currentLink, s.limit.entries)
		return state, err
	}
	state := State{Changed: info.ModTime()}
	if state.Generation, err = pointed(root, currentLink); err != nil {
		return State{}, err
	}
	if previous, err := pointed(root, previousLink); err == nil && previous != state.Generation {
		state.Previous = previous // else it was pruned by hand, or a run was killed between two links
	}
	return state, nil
}

// pointed is the generation that a link names, which is there.
func pointed(root *os.Root, link string) (string, error) {
	to, err := root.Readlink(link)
	if err != nil {
		return "", fault.New(fault.Invalid, "%s is neither a link nor a folder", link)
	}
	generation, ok := strings.CutPrefix(filepath.Clean(to), versionsDir+"/")
	if !ok || validGeneration(generation) != nil {
		return "", fault.WithHint(fault.New(fault.Invalid, "%s points to %q", link, to), "it must point to %s/NAME", versionsDir)
	}
	if info, err := root.Lstat(versionsDir + "/" + generation); err != nil || !info.IsDir() {
		return "", fault.New(fault.Invalid, "%s points to %s, which is no folder", link, to)
	}
	return generation, nil
}

// newest is the latest change of anything in a tree: content, mode, name or place.
func newest(root *os.Root, dir string, bound int) (time.Time, error) {
	var last time.Time
	seen := 0
	err := fs.WalkDir(root.FS(), dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > bound {
			return fault.New(fault.Invalid, "%s has more than %d files", dir, bound)
		}
		if p != dir && builtIn(p, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if at := changed(info); at.After(last) {
			last = at
		}
		return nil
	})
	return last, err
}

func notFound(what string) error { return fault.New(fault.NotFound, "%s: %w", what, fleet.ErrNotFound) }

var (
	namePattern       = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	generationPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// validGeneration accepts what Put makes, and names of versions that were made by hand.
func validGeneration(generation string) error {
	if !generationPattern.MatchString(generation) {
		return fault.New(fault.Invalid, "%q is not the name of a generation", generation)
	}
	return nil
}

// open opens the folder of a service. create makes what is missing; without it
// a missing folder is fleet.ErrNotFound. No folder on the way may be a link.
func (s *Store) open(app, service string, create bool) (*os.Root, error) {
	for _, name := range []string{app, service} {
		if !namePattern.MatchString(name) {
			return nil, fault.New(fault.Invalid, "%q is not the name of an app or a service", name)
		}
	}
	if create {
		if err := os.MkdirAll(s.dir, aboveMode); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(s.dir)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	above, err := folder(root, app, aboveMode, create)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	return folder(above, service, dirMode, create)
}

// folder opens a folder that is no link. A made one has that mode, whatever the umask is.
func folder(root *os.Root, name string, mode fs.FileMode, create bool) (*os.Root, error) {
	if create {
		err := root.Mkdir(name, 0o700)
		if err == nil {
			err = root.Chmod(name, mode)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(filepath.Join(root.Name(), name))
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fault.New(fault.Refused, "%s is not a folder", filepath.Join(root.Name(), name))
	}
	return root.OpenRoot(name)
}

// lockEvery is how often a held lock is tried again.
const lockEvery = 50 * time.Millisecond

// locked opens the folder of a service for a change and waits until nobody else
// changes it. The lock ends with the process, however that ends.
func (s *Store) locked(ctx context.Context, app, service string, create bool) (root *os.Root, free func(), err error) {
	if root, err = s.open(app, service, create); err != nil {
		return nil, nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		_ = root.Close()
		return nil, nil, err
	}
	free = func() { _, _ = dir.Close(), root.Close() }
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return root, free, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			free()
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			free()
			return nil, nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// sweep removes what killed runs left. The folder's lock is held.
func sweep(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) || strings.HasPrefix(e.Name(), oldPrefix) {
			if err := root.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncFolder brings the names in a folder to the disk.
func syncFolder(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

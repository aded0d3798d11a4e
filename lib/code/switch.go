package code

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"svckit/lib/fault"
)

// Switch makes a version current and the one that was current the previous one.
// It is nothing to switch to what is current. An unknown version is
// fleet.ErrNotFound; a current that is a plain folder is fault.Refused.
//
// A run killed in the middle leaves the old version current, with no previous one.
func (s *Store) Switch(ctx context.Context, app, service, generation string) error {
	err := s.change(ctx, app, service, func(root *os.Root) error {
		if err := known(root, generation); err != nil {
			return err
		}
		was, err := pointed(root, currentLink)
		if err == nil && was == generation {
			return nil
		}
		if err == nil {
			if err := s.point(root, previousLink, was); err != nil {
				return err
			}
		}
		return s.point(root, currentLink, generation)
	})
	if err != nil {
		return fmt.Errorf("switch code of %s/%s to %s: %w", app, service, generation, err)
	}
	return nil
}

// Restore takes back a Switch whose reload failed: current and previous are again
// what State said before. Where no code was, none is current afterwards.
func (s *Store) Restore(ctx context.Context, app, service string, was State) error {
	if was.Plain {
		return nil // nothing can have been switched
	}
	err := s.change(ctx, app, service, func(root *os.Root) error {
		if err := s.set(root, currentLink, was.Generation); err != nil {
			return err
		}
		return s.set(root, previousLink, was.Previous)
	})
	if err != nil {
		return fmt.Errorf("restore code of %s/%s: %w", app, service, err)
	}
	return nil
}

// set makes a link name a generation, and takes it away for "".
func (s *Store) set(root *os.Root, link, generation string) error {
	if generation == "" {
		if err := root.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if now, err := pointed(root, link); err == nil && now == generation {
		return nil
	}
	if err := known(root, generation); err != nil {
		return err
	}
	return s.point(root, link, generation)
}

// Prune removes all versions but the keep youngest, current, previous, and those
// that are named. It returns what it removed, sorted. Nothing there is nothing to do.
func (s *Store) Prune(ctx context.Context, app, service string, keep int, named ...string) ([]string, error) {
	var gone []string
	err := s.change(ctx, app, service, func(root *os.Root) error {
		entries, err := fs.ReadDir(root.FS(), versionsDir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var infos []fs.FileInfo
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return err
			}
			if validGeneration(e.Name()) == nil {
				infos = append(infos, info)
			}
		}
		slices.SortFunc(infos, func(a, b fs.FileInfo) int {
			return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
		})
		held := slices.Clone(named)
		for _, link := range []string{currentLink, previousLink} {
			if at, err := pointed(root, link); err == nil {
				held = append(held, at)
			}
		}
		for n, info := range infos {
			if n < keep || slices.Contains(held, info.Name()) {
				continue
			}
			// Renamed first: a version is there as a whole or not at all.
			old := oldPrefix + rand.Text()
			if err := root.Rename(versionsDir+"/"+info.Name(), old); err != nil {
				return err
			}
			gone = append(gone, info.Name())
			s.step("renamed " + info.Name())
			if err := root.RemoveAll(old); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(gone)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return gone, fmt.Errorf("prune code of %s/%s: %w", app, service, err)
	}
	return gone, nil
}

// change runs do under the lock of a service's folder, swept, and brings it to the disk.
func (s *Store) change(ctx context.Context, app, service string, do func(*os.Root) error) error {
	root, free, err := s.locked(ctx, app, service, false)
	if err != nil {
		return err
	}
	defer free()
	if err := sweep(root); err != nil {
		return err
	}
	if err := do(root); err != nil {
		return err
	}
	return syncFolder(root, ".")
}

func known(root *os.Root, generation string) error {
	if err := validGeneration(generation); err != nil {
		return err
	}
	info, err := root.Lstat(versionsDir + "/" + generation)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return notFound("version " + generation)
	}
	return err
}

// point replaces a link by a rename, so that it names the old version or the new.
func (s *Store) point(root *os.Root, link, generation string) error {
	info, err := root.Lstat(link)
	if err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fault.WithHint(fault.New(fault.Refused, "%s was put there by hand, and is no link", root.Name()+"/"+link),
			"move it to %s/%s/NAME and make %s a link to %s/NAME; what is put there by hand is reloaded without --source", root.Name(), versionsDir, link, versionsDir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := tempPrefix + rand.Text()
	if err := root.Symlink(versionsDir+"/"+generation, temp); err != nil {
		return err
	}
	s.step("linked " + link)
	if err := root.Rename(temp, link); err != nil {
		_ = root.Remove(temp)
		return err
	}
	s.step("switched " + link)
	return nil
}

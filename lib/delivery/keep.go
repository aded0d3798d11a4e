package delivery

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Keep holds what a container has been given now, in memory, and returns how it
// is put back: every file as it was, with its owner, and nothing else.
func (f Folders) Keep(dir string) (putBack func() error, err error) {
	s, name, err := f.store(dir)
	if err != nil {
		return nil, err
	}
	items, err := s.kept(name)
	if err != nil {
		return nil, fmt.Errorf("read files of %s: %w", name, err)
	}
	return func() error {
		if _, err := s.deliverItems(name, items); err != nil {
			return fmt.Errorf("put back files of %s: %w", name, err)
		}
		return nil
	}, nil
}

// kept reads every delivered file of a container, secrets and rendered files.
func (s *Store) kept(name string) ([]item, error) {
	dir, err := s.open(name, false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var items []item
	for _, sub := range []string{secretsDir, filesDir} {
		entries, err := fs.ReadDir(dir.FS(), sub)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			at := path.Join(sub, e.Name())
			info, err := dir.Lstat(at)
			if err != nil {
				return nil, err
			}
			text, err := readBounded(dir, at, maxContent)
			if err != nil {
				return nil, err
			}
			items = append(items, item{at, text, info.Mode().Perm(), ownerOf(info)})
		}
	}
	return items, nil
}

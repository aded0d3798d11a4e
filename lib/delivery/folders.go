package delivery

import (
	"errors"
	"path/filepath"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Folders delivers into the folder that a container's label names, wherever the
// run folder was when the container was made. It is what package apply needs.
type Folders struct{}

func (Folders) store(dir string) (*Store, string, error) {
	s, err := Open(filepath.Dir(dir))
	return s, filepath.Base(dir), err
}

// Prepare makes the empty folders of a container and returns the links it needs.
func (f Folders) Prepare(dir string, v spec.Values) (map[string]string, error) {
	s, name, err := f.store(dir)
	if err != nil {
		return nil, err
	}
	files := make([]spec.File, len(v.Files))
	for k, r := range v.Files {
		files[k] = spec.File{To: r.To}
	}
	return Links(files), s.Prepare(name)
}

// Deliver writes the files and secrets of v, owned by uid and gid.
func (f Folders) Deliver(dir string, v spec.Values, uid, gid int) error {
	s, name, err := f.store(dir)
	if err != nil {
		return err
	}
	_, err = s.Deliver(name, v, Owner{UID: uid, GID: gid})
	return err
}

// Differ names what in the folder is not what v says; a folder that is gone differs in all.
func (f Folders) Differ(dir string, v spec.Values) ([]string, error) {
	s, name, err := f.store(dir)
	if err != nil {
		return nil, err
	}
	have, err := s.Current(name)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return nil, err
	}
	return Changed(have, v), nil
}

// Remove takes the folder away; it is nil when there is none.
func (f Folders) Remove(dir string) error {
	s, name, err := f.store(dir)
	if err != nil {
		return err
	}
	return s.Remove(name)
}

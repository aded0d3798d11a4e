package main

import (
	"errors"
	"path/filepath"

	"svckit/lib/delivery"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// folders delivers into the folder that a container's label names, wherever the
// run folder was when the container was made.
type folders struct{}

func (folders) store(dir string) (*delivery.Store, string, error) {
	s, err := delivery.Open(filepath.Dir(dir))
	return s, filepath.Base(dir), err
}

func (f folders) Prepare(dir string, v spec.Values) (map[string]string, error) {
	s, name, err := f.store(dir)
	if err != nil {
		return nil, err
	}
	files := make([]spec.File, len(v.Files))
	for k, r := range v.Files {
		files[k] = spec.File{To: r.To}
	}
	return delivery.Links(files), s.Prepare(name)
}

func (f folders) Deliver(dir string, v spec.Values, uid, gid int) error {
	s, name, err := f.store(dir)
	if err != nil {
		return err
	}
	_, err = s.Deliver(name, v, delivery.Owner{UID: uid, GID: gid})
	return err
}

func (f folders) Differ(dir string, v spec.Values) ([]string, error) {
	s, name, err := f.store(dir)
	if err != nil {
		return nil, err
	}
	have, err := s.Current(name)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return nil, err
	}
	return delivery.Changed(have, v), nil
}

func (f folders) Remove(dir string) error {
	s, name, err := f.store(dir)
	if err != nil {
		return err
	}
	return s.Remove(name)
}

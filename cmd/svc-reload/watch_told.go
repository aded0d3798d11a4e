package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"svckit/lib/atomicfile"
)

const (
	toldFile = "watch-told.json"
	maxTold  = 1 << 20 // bytes
)

// memory keeps which problems were told, so that a restart, or each run by cron,
// does not tell of them again. It holds digests only.
type memory struct {
	dir  string
	last *map[string]string // as saved; nil: not known
}

type toldRecord struct {
	Schema int               `json:"schema"`
	Told   map[string]string `json:"told"` // service → digest of the problem
}

// load reads what an earlier process saved; nothing when there was none.
func (m *memory) load() (map[string]string, error) {
	f, err := os.Open(filepath.Join(m.dir, toldFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r toldRecord
	if err := json.NewDecoder(io.LimitReader(f, maxTold)).Decode(&r); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if r.Schema != 1 {
		return nil, fmt.Errorf("read %s: schema %d, expected 1", f.Name(), r.Schema)
	}
	return r.Told, nil
}

// save replaces the file, when something changed.
func (m *memory) save(told map[string]string) error {
	if m.last != nil && maps.Equal(*m.last, told) {
		return nil
	}
	text, err := json.Marshal(toldRecord{1, told})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(m.dir, toldFile), text); err != nil {
		return err
	}
	saved := maps.Clone(told)
	m.last = &saved
	return nil
}

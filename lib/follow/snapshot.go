package follow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"svckit/lib/answer"
	"svckit/lib/atomicfile"
)

// snapshot is the file that carries the last good state over a restart.
type snapshot struct {
	Schema int             `json:"schema"`
	SHA256 string          `json:"sha256"` // of Body, byte for byte
	Body   json.RawMessage `json:"body"`
}

type saved struct {
	Subject answer.Subject `json:"subject"`
	State   answer.State   `json:"state"`
	Good    time.Time      `json:"good"`  // when it was certainly true
	Asked   int64          `json:"asked"` // unix seconds
}

const maxSnapshot = 128 << 20 // bytes

// save writes a snapshot if something has changed. A disk that is full costs the
// snapshot and nothing else; the old one stays whole.
func (k *Keeper) save() {
	changes := k.changes.Load()
	if k.settings.File == "" || changes == k.counts.written.Load() {
		return
	}
	err := writeSnapshot(k.settings.File, k.gather())
	if err != nil {
		if k.counts.unsaved.Swap(1) == 0 {
			k.log.Error("snapshot not written: after a restart without Consul older answers are given", "file", k.settings.File, "error", err)
		}
		return
	}
	k.counts.written.Store(changes)
	k.counts.saved.Store(k.now().Unix())
	if k.counts.unsaved.Swap(0) == 1 {
		k.log.Info("snapshot written again", "file", k.settings.File)
	}
}

func (k *Keeper) gather() []saved {
	list := []saved{}
	now := k.now()
	for _, e := range k.all() {
		e.mu.Lock()
		if e.known && e.exists() {
			s := saved{e.subject, e.state, e.good, e.life.asked.Load()}
			if e.current() {
				s.Good = now
			}
			list = append(list, s)
		}
		e.mu.Unlock()
	}
	return list
}

func writeSnapshot(file string, list []saved) error {
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	text, err := json.Marshal(snapshot{1, hex.EncodeToString(sum[:]), body})
	if err != nil {
		return err
	}
	return atomicfile.Write(file, text)
}

// load reads the snapshot. One that is damaged is as good as none.
func (k *Keeper) load() {
	if k.settings.File == "" {
		return
	}
	list, err := readSnapshot(k.settings.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		k.log.Error("snapshot not read", "file", k.settings.File, "error", err)
		return
	}
	now := k.now()
	for _, s := range list {
		if age := now.Sub(s.Good); age > k.settings.MaxAge || len(k.entries) >= k.settings.Names {
			continue
		}
		e := &entry{subject: s.Subject, known: true, raw: s.State, state: s.State, good: s.Good, lostAt: s.Good, questions: map[string]question{}}
		e.life.asked.Store(min(s.Asked, now.Unix()))
		k.entries[s.Subject] = e
		k.watch(e)
	}
	k.log.Info("snapshot read", "subjects", len(k.entries))
}

func readSnapshot(file string) ([]saved, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSnapshot))
	if err != nil {
		return nil, err
	}
	return decodeSnapshot(text)
}

func decodeSnapshot(text []byte) ([]saved, error) {
	var s snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	body := bytes.TrimSpace(s.Body)
	if sum := sha256.Sum256(body); s.Schema != 1 || hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, fmt.Errorf("schema %d or its checksum is wrong", s.Schema)
	}
	var list []saved
	err := json.Unmarshal(body, &list)
	return list, err
}

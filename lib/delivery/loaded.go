package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Loads remembers, in a folder of the node, what the master of each container
// was last proven to have loaded. A container without such a record has loaded
// what was there when it started. A record that is lost costs one reload too many.
type Loads struct{ Dir string }

// loaded is the record of one container.
type loaded struct {
	Schema int       `json:"schema"`
	Code   string    `json:"code,omitempty"`  // generation
	Files  string    `json:"files,omitempty"` // digest of what was delivered
	At     time.Time `json:"at"`
}

const (
	loadsDir  = "loaded"
	maxRecord = 4 << 10
)

var containerID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// Stale names what lies on this node for a running container and was not loaded
// by its master: "code 1a2b → 3c4d", "delivered files".
func (l Loads) Stale(i fleet.Instance, code fleet.Code) ([]string, error) {
	was, known, err := l.read(i.ID)
	if err != nil {
		return nil, err
	}
	var out []string
	switch {
	case code.Changed.IsZero(): // the image holds the code
	case was.Code != "" && code.Generation != "":
		if was.Code != code.Generation {
			out = append(out, fmt.Sprintf("code %s → %s", was.Code, code.Generation))
		}
	case code.Changed.After(later(was.At, i.StartedAt)):
		out = append(out, "code, changed at "+code.Changed.UTC().Format(time.RFC3339))
	}
	if i.Dir == "" {
		return out, nil
	}
	digest, changed, err := digestOf(i.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look at files of %s: %w", i.Name, err)
	case known && was.Files != "" && was.Files != digest, (!known || was.Files == "") && changed.After(i.StartedAt):
		out = append(out, "delivered files")
	}
	return out, nil
}

// Loaded records that a container's master has loaded what is there now.
func (l Loads) Loaded(i fleet.Instance, code fleet.Code, now time.Time) error {
	if !containerID.MatchString(i.ID) {
		return fault.New(fault.Invalid, "remember what %q has loaded: not a container id", i.ID)
	}
	record := loaded{Schema: 1, Code: code.Generation, At: now.UTC()}
	if i.Dir != "" {
		digest, _, err := digestOf(i.Dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at files of %s: %w", i.Name, err)
		}
		record.Files = digest
	}
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	folder := filepath.Join(l.Dir, loadsDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	temp := filepath.Join(folder, tempPrefix+i.ID)
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(folder, i.ID))
}

// Forget removes the record of a container.
func (l Loads) Forget(id string) error {
	if !containerID.MatchString(id) {
		return nil
	}
	err := os.Remove(filepath.Join(l.Dir, loadsDir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// read returns the record of a container; one that makes no sense is none.
func (l Loads) read(id string) (loaded, bool, error) {
	if !containerID.MatchString(id) {
		return loaded{}, false, nil
	}
	root, err := os.OpenRoot(filepath.Join(l.Dir, loadsDir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) { // a developer's run is not root's
		return loaded{}, false, nil
	}
	if err != nil {
		return loaded{}, false, err
	}
	defer root.Close()
	text, err := readBounded(root, id, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return loaded{}, false, nil
	}
	var record loaded
	if err != nil || json.Unmarshal(text, &record) != nil || record.Schema != 1 {
		return loaded{}, false, nil
	}
	return record, true, nil
}

// digestOf is a digest of all that was delivered into a container's folder, and
// when the newest of it was written. Names and contents count, secrets too.
func digestOf(dir string) (digest string, changed time.Time, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", time.Time{}, err
	}
	defer root.Close()
	sum := sha256.New()
	for _, sub := range []string{secretsDir, filesDir} {
		entries, err := fs.ReadDir(root.FS(), sub)
		if err != nil {
			return "", time.Time{}, err
		}
		for _, e := range entries { // sorted by name
			if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			at := path.Join(sub, e.Name())
			text, err := readBounded(root, at, maxContent)
			if err != nil {
				return "", time.Time{}, err
			}
			info, err := root.Lstat(at)
			if err != nil {
				return "", time.Time{}, err
			}
			fmt.Fprintf(sum, "%s %d\n", at, len(text))
			sum.Write(text)
			changed = later(changed, info.ModTime())
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), changed, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

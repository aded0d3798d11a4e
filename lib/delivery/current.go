package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// Contents is what a container has been given.
type Contents struct {
	Secrets map[string]string // key → value
	Files   map[string][]byte // FileName of the path → content
}

// Current reads back what was delivered to a container. Nothing delivered is
// fleet.ErrNotFound.
func (s *Store) Current(name string) (Contents, error) {
	out := Contents{Secrets: map[string]string{}, Files: map[string][]byte{}}
	dir, err := s.open(name, false)
	if err != nil {
		return out, fmt.Errorf("read files of %s: %w", name, err)
	}
	defer dir.Close()
	err = eachFile(dir, secretsDir, func(key string, text []byte) { out.Secrets[key] = string(text) })
	if err == nil {
		err = eachFile(dir, filesDir, func(key string, text []byte) { out.Files[key] = text })
	}
	if err != nil {
		return Contents{}, fmt.Errorf("read files of %s: %w", name, err)
	}
	return out, nil
}

func eachFile(dir *os.Root, sub string, found func(name string, text []byte)) error {
	entries, err := fs.ReadDir(dir.FS(), sub)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		text, err := readBounded(dir, path.Join(sub, e.Name()), maxContent)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found(e.Name(), text)
	}
	return nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fault.New(fault.Failed, "%s has more than %d bytes", name, limit)
	}
	return text, err
}

// Changed names what of v differs from what a container has, as it may be shown:
// "secret SESSION_KEY", "file /etc/app/settings.json", "secret OLD gone". Sorted; no values.
func Changed(have Contents, v spec.Values) []string {
	var out []string
	for key, value := range v.Secrets {
		if old, ok := have.Secrets[key]; !ok || old != value {
			out = append(out, "secret "+key)
		}
	}
	for key := range have.Secrets {
		if _, ok := v.Secrets[key]; !ok {
			out = append(out, "secret "+key+" gone")
		}
	}
	rest := maps.Clone(have.Files)
	for _, f := range v.Files {
		name := FileName(f.To)
		if old, ok := have.Files[name]; !ok || string(old) != string(f.Content) {
			out = append(out, "file "+f.To)
		}
		delete(rest, name)
	}
	for name := range rest {
		out = append(out, "file "+name+" gone")
	}
	slices.Sort(out)
	return out
}

// FileName is the name under which the file for a path of the container is kept:
// 16 hex digits of the path's SHA-256, and its last part for people to read.
func FileName(to string) string {
	sum := sha256.Sum256([]byte(to))
	base := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, path.Base(to))
	return hex.EncodeToString(sum[:8]) + "-" + base[:min(len(base), 100)]
}

// Links are the symbolic links that a container needs so that it finds its
// rendered files: path → where the file really is.
func Links(files []spec.File) map[string]string {
	out := make(map[string]string, len(files))
	for _, f := range files {
		out[f.To] = path.Join(FilesTarget, FileName(f.To))
	}
	return out
}

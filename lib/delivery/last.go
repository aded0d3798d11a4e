package delivery

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// The last good config is kept in STATE/last/<app>/<service>.json.
const (
	lastDir    = "last"
	lastSchema = 1
	lastMode   = fs.FileMode(0o600)
	stateMode  = fs.FileMode(0o700)
	maxLast    = 64 << 20 // bytes
)

// lastFile is the file: the values as one text, and the text's checksum.
type lastFile struct {
	Schema int             `json:"schema"`
	At     time.Time       `json:"at"`
	Sum    string          `json:"sum"` // SHA-256 of Values as written, hex
	Values json.RawMessage `json:"values"`
}

// lastValues holds values as bytes: JSON strings cannot hold every value of Consul KV.
type lastValues struct {
	Env     map[string][]byte `json:"env"`
	Origin  map[string]string `json:"origin"`
	Secrets map[string][]byte `json:"secrets"`
	Files   []spec.Rendered   `json:"files"`
}

// SaveLast keeps the config that a service was started with, for starts without
// Consul. The file is replaced as a whole and is on the disk when SaveLast returns.
func SaveLast(state, app, service string, v spec.Values, at time.Time) error {
	text, err := encodeLast(v, at)
	if err != nil {
		return fmt.Errorf("save last config of %s/%s: %w", app, service, err)
	}
	dir, err := openState(state, app, service, true)
	if err != nil {
		return fmt.Errorf("save last config of %s/%s: %w", app, service, err)
	}
	defer dir.Close()
	if err := replaceOnDisk(dir, service+".json", text); err != nil {
		return fmt.Errorf("save last config of %s/%s: %w", app, service, err)
	}
	return nil
}

// LoadLast reads what SaveLast kept, and when that was. Without it the error is
// fleet.ErrNotFound; a damaged file is an error, never half a config.
func LoadLast(state, app, service string) (spec.Values, time.Time, error) {
	fail := func(err error) (spec.Values, time.Time, error) {
		return spec.Values{}, time.Time{}, fmt.Errorf("load last config of %s/%s: %w", app, service, err)
	}
	dir, err := openState(state, app, service, false)
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	text, err := readBounded(dir, service+".json", maxLast)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(notFound())
	}
	if err != nil {
		return fail(err)
	}
	v, at, err := decodeLast(text)
	if err != nil {
		return fail(fault.WithHint(err, "remove %s; `svc-run up` with Consul writes it again", filepath.Join(dir.Name(), service+".json")))
	}
	return v, at, nil
}

func notFound() error { return fault.New(fault.NotFound, "%w", fleet.ErrNotFound) }

// openState opens STATE/last/<app>; every folder below STATE is for its owner only.
func openState(state, app, service string, create bool) (*os.Root, error) {
	for _, n := range []string{app, service} {
		if err := validName(n); err != nil {
			return nil, err
		}
	}
	if create {
		if err := os.MkdirAll(state, stateMode); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound()
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	last, err := openFolder(root, lastDir, stateMode, create)
	if err != nil {
		return nil, err
	}
	defer last.Close()
	return openFolder(last, app, stateMode, create)
}

// replaceOnDisk replaces a file by a rename that a power failure cannot undo by half.
func replaceOnDisk(dir *os.Root, name string, text []byte) error {
	temp := tempPrefix + rand.Text()
	defer func() { _ = dir.Remove(temp) }()
	if err := write(dir, temp, item{content: text, mode: lastMode, owner: Owner{os.Geteuid(), os.Getegid()}}, true); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		return err
	}
	folder, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func encodeLast(v spec.Values, at time.Time) ([]byte, error) {
	values, err := json.Marshal(lastValues{Env: toBytes(v.Env), Origin: v.Origin, Secrets: toBytes(v.Secrets), Files: v.Files})
	if err != nil {
		return nil, err
	}
	return json.Marshal(lastFile{Schema: lastSchema, At: at.UTC(), Sum: checksum(values), Values: values})
}

func decodeLast(text []byte) (spec.Values, time.Time, error) {
	var f lastFile
	// The decoder's own words may quote a value.
	if err := json.Unmarshal(text, &f); err != nil {
		return spec.Values{}, time.Time{}, errors.New("the file is damaged: no JSON of ours")
	}
	if f.Schema != lastSchema {
		return spec.Values{}, time.Time{}, fmt.Errorf("the file has schema %d, this program knows %d", f.Schema, lastSchema)
	}
	if checksum(f.Values) != f.Sum {
		return spec.Values{}, time.Time{}, errors.New("the file is damaged: its checksum differs")
	}
	var v lastValues
	if err := json.Unmarshal(f.Values, &v); err != nil {
		return spec.Values{}, time.Time{}, errors.New("the file is damaged: no values of ours")
	}
	return spec.Values{Env: toStrings(v.Env), Origin: v.Origin, Secrets: toStrings(v.Secrets), Files: v.Files}, f.At, nil
}

func checksum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func toBytes(m map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(m))
	for k, v := range m {
		out[k] = []byte(v)
	}
	return out
}

func toStrings(m map[string][]byte) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

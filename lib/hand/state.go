package hand

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"svckit/lib/atomicfile"
	"svckit/lib/fleet"
)

const (
	stateFile   = "want.json"
	stateSchema = 1
	maxState    = 4 << 20 // bytes
)

// stateDoc is the file: the wish in force, as one text with its checksum.
type stateDoc struct {
	Schema int             `json:"schema"`
	Sum    string          `json:"sum"` // SHA-256 of Want as written, hex
	Want   json.RawMessage `json:"want"`
}

type stateWant struct {
	Node     string            `json:"node"`
	Epoch    uint64            `json:"epoch"`
	Gen      uint64            `json:"gen"`
	At       time.Time         `json:"at"`
	Services []fleet.Allotment `json:"services"`
}

func statePath(dir string) string { return filepath.Join(dir, "scale", stateFile) }

// Remembered reads the wish that was in force when this node last ran; the zero
// value when there was none.
func Remembered(dir string) (fleet.Want, error) {
	f, err := os.Open(statePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return fleet.Want{}, nil
	}
	if err != nil {
		return fleet.Want{}, fmt.Errorf("read the last wish: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return fleet.Want{}, fmt.Errorf("read the last wish: %w", err)
	}
	w, err := decodeState(text)
	if err != nil {
		err = fmt.Errorf("read the last wish: %s is damaged: %w", f.Name(), err)
	}
	return w, err
}

func decodeState(text []byte) (fleet.Want, error) {
	if len(text) > maxState {
		return fleet.Want{}, fmt.Errorf("it is longer than %d bytes", maxState)
	}
	var d stateDoc
	if err := json.Unmarshal(text, &d); err != nil {
		return fleet.Want{}, errors.New("no JSON of ours")
	}
	if d.Schema != stateSchema {
		return fleet.Want{}, fmt.Errorf("schema %d, this program knows %d", d.Schema, stateSchema)
	}
	if sum(d.Want) != d.Sum {
		return fleet.Want{}, errors.New("its checksum differs")
	}
	var w stateWant
	if err := json.Unmarshal(d.Want, &w); err != nil {
		return fleet.Want{}, errors.New("no wish of ours")
	}
	for _, a := range w.Services {
		if a.Unit != "workers" && a.Unit != "instances" || a.Count < 0 || a.Room < 0 {
			return fleet.Want{}, errors.New("no wish of ours")
		}
	}
	return fleet.Want{Node: w.Node, Epoch: w.Epoch, Gen: w.Gen, At: w.At, Services: w.Services}, nil
}

// setAside moves a state that cannot be read out of the way, and keeps it for people.
func setAside(dir string) (string, error) {
	to := statePath(dir) + ".damaged"
	return to, os.Rename(statePath(dir), to)
}

// remember keeps the wish in force. The file is replaced as a whole, and is on
// the disk when remember returns.
func remember(dir string, w fleet.Want) error {
	want, err := json.Marshal(stateWant{Node: w.Node, Epoch: w.Epoch, Gen: w.Gen, At: w.At.UTC(), Services: w.Services})
	if err != nil {
		return err
	}
	text, err := json.Marshal(stateDoc{Schema: stateSchema, Sum: sum(want), Want: want})
	if err != nil {
		return err
	}
	folder := filepath.Dir(statePath(dir))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(statePath(dir), text)
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

package delivery

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestTheLastGoodConfigIsLoadedAsItWasSaved(t *testing.T) {
	state := filepath.Join(t.TempDir(), "svckit")
	v := spec.Values{
		Env:     map[string]string{"URL": "a=b\n<&>", "BYTES": "\xff\x00"},
		Origin:  map[string]string{"URL": "app", "BYTES": "shared"},
		Secrets: map[string]string{"KEY": "\x80" + strings.Repeat("$\"'\n", 30_000)},
		Files:   []spec.Rendered{{To: "/etc/x", Content: []byte{0, 0xff}}},
	}
	for range 2 { // the second replaces the first
		if err := SaveLast(state, "shortener", "web", v, noon); err != nil {
			t.Fatal(err)
		}
	}
	got, at, err := LoadLast(state, "shortener", "web")
	if err != nil || !at.Equal(noon) {
		t.Fatalf("saved at %s, %v", at, err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for path, mode := range map[string]os.FileMode{"": 0o700, "last": 0o700, "last/shortener": 0o700, "last/shortener/web.json": 0o600} {
		info, err := os.Stat(filepath.Join(state, path))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v, want %v", path, info, err, mode)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(state, "last", "shortener")); len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
}

func TestWithoutALastGoodConfigThereIsNone(t *testing.T) {
	state := t.TempDir()
	if err := SaveLast(state, "shortener", "web", spec.Values{}, noon); err != nil {
		t.Fatal(err)
	}
	for _, row := range [][3]string{{state, "shortener", "db"}, {state, "other", "web"}, {filepath.Join(state, "none"), "shortener", "web"}} {
		if _, _, err := LoadLast(row[0], row[1], row[2]); !errors.Is(err, fleet.ErrNotFound) || fault.KindOf(err) != fault.NotFound {
			t.Errorf("%v: %v, want not found", row, err)
		}
	}
	for _, name := range []string{"../x", "a/b", ""} {
		if err := SaveLast(state, name, "web", spec.Values{}, noon); fault.KindOf(err) != fault.Invalid {
			t.Errorf("app %q: %v, want invalid", name, err)
		}
	}
}

func TestADamagedLastGoodConfigIsAnErrorThatTellsNothing(t *testing.T) {
	good, err := encodeLast(spec.Values{Secrets: map[string]string{"KEY": "geheim"}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, want string
		text       []byte
	}{
		{"empty", "no JSON of ours", nil},
		{"cut off", "no JSON of ours", good[:len(good)-5]},
		{"one letter of a value", "its checksum differs", bytes.Replace(good, []byte("Z2"), []byte("Z3"), 1)},
		{"a newer schema", "schema 2, this program knows 1", bytes.Replace(good, []byte(`"schema":1`), []byte(`"schema":2`), 1)},
		{"other JSON", "schema 0", []byte(`{"geheim":1}`)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			state := t.TempDir()
			if err := SaveLast(state, "shortener", "web", spec.Values{}, noon); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(state, "last/shortener/web.json"), row.text, 0o600); err != nil {
				t.Fatal(err)
			}
			v, _, err := LoadLast(state, "shortener", "web")
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if len(v.Secrets) != 0 {
				t.Errorf("half a config: %v", v)
			}
			var f *fault.Error
			if !errors.As(err, &f) || !strings.Contains(f.Hint, "last/shortener/web.json") {
				t.Errorf("hint %+v does not name the file", f)
			}
		})
	}
}

func FuzzDecodeLastNeverPanics(f *testing.F) {
	good, err := encodeLast(spec.Values{Env: map[string]string{"A": "b"}}, noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"schema":1,"sum":"e3b0","values":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, at, err := decodeLast(text)
		if err != nil {
			return
		}
		again, err := encodeLast(v, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeLast(again); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}

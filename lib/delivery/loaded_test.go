package delivery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func TestWhatAMasterHasNotLoadedIsNamed(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	dir := filepath.Join(t.TempDir(), "shop-web-1")
	file := filepath.Join(dir, filesDir, "x-app.json")
	write := func(text string, at time.Time) {
		t.Helper()
		for _, sub := range []string{filesDir, secretsDir} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("one", start.Add(-time.Minute))
	i := fleet.Instance{ID: strings.Repeat("a", 64), Name: "shop-web-1", StartedAt: start, Dir: dir}
	v1 := fleet.Code{Generation: "v1", Changed: start.Add(-time.Minute)}
	v2 := fleet.Code{Generation: "v2", Previous: "v1", Changed: start.Add(time.Minute)}
	plain := fleet.Code{Changed: start.Add(2 * time.Minute)}
	l := Loads{Dir: t.TempDir()}
	stale := func(code fleet.Code) string {
		t.Helper()
		got, err := l.Stale(i, code)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, "; ")
	}
	expect := func(what string, code fleet.Code, want string) {
		t.Helper()
		if got := stale(code); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}

	expect("what was there at its start", v1, "")
	expect("no code on a volume", fleet.Code{}, "")
	if got := stale(v2); !strings.HasPrefix(got, "code, changed at ") {
		t.Errorf("code of a time after its start: %q", got)
	}
	if err := l.Loaded(i, v1, start); err != nil {
		t.Fatal(err)
	}
	expect("noted", v1, "")
	expect("another generation", v2, "code v1 → v2")
	if err := l.Loaded(i, v2, start.Add(3*time.Minute)); err != nil {
		t.Fatal(err)
	}
	expect("an older generation is new too", v1, "code v2 → v1")
	expect("a folder by hand, older than the note", plain, "")

	write("two", start.Add(-time.Minute)) // whatever its time
	expect("another content", v2, "delivered files")
	write("one", time.Now())
	expect("the content of before", v2, "")

	if err := l.Forget(i.ID); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(i.ID); err != nil {
		t.Error(err)
	}
	expect("without a note, a file of a time after its start", v1, "delivered files")

	if err := os.WriteFile(filepath.Join(l.Dir, loadsDir, i.ID), []byte(`{"schema":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("a note that makes no sense is none", v1, "delivered files")
	i.ID = "../../etc/passwd"
	if err := l.Loaded(i, v1, start); err == nil {
		t.Error("a name that is no id was taken")
	}
	expect("no id, no note", v1, "delivered files")
}

func TestDeliveredFilesArePutBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "shop-web-1")
	for _, sub := range []string{filesDir, secretsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, secretsDir, "KEY")
	if err := os.WriteFile(secret, []byte("old"), 0o400); err != nil {
		t.Fatal(err)
	}
	s := &Store{run: filepath.Dir(dir)}
	items, err := s.kept("shop-web-1")
	if err != nil || len(items) != 1 || items[0].name != "secrets/KEY" || items[0].mode != 0o400 {
		t.Fatalf("kept %+v, %v", items, err)
	}
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, secretsDir, "OTHER"), []byte("new"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := s.deliverItems("shop-web-1", items); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, secretsDir, "OTHER")); err == nil {
		t.Error("what was not there before stays")
	}
}

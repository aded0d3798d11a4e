package watch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string, ignore, always []string) *Watcher {
	t.Helper()
	w, err := Open(dir, Options{Ignore: ignore, Always: always, Quiet: 50 * time.Millisecond, Limit: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func write(t *testing.T, dir, path string) {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(path), 0o600); err != nil {
		t.Fatal(err)
	}
}

// until receives batches until a path came, and returns all that came.
func until(t *testing.T, w *Watcher, path string) []string {
	t.Helper()
	limit := time.After(10 * time.Second)
	var all []string
	for {
		select {
		case b, ok := <-w.Batches():
			if !ok {
				t.Fatalf("no more batches; got %v, want %s", all, path)
			}
			if all = append(all, b...); slices.Contains(b, path) {
				return all
			}
		case <-limit:
			t.Fatalf("got %v in 10 s, want %s", all, path)
		}
	}
}

func TestOnlyWhatCountsIsTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lib/a.py")
	w := open(t, dir, []string{"*.yaml", "venv", "data", "!data/keep"}, []string{"app.yaml"})
	for _, path := range []string{
		".git/index", "venv/lib/x.py", "other.yaml", "__pycache__/a.cpython-311.pyc", "lib/.a.py.swp", "lib/4913", "lib/a.py~", "lib/.#a.py", "data/drop",
		"lib/a.py", "app.yaml", "data/keep",
	} {
		write(t, dir, path)
	}
	write(t, dir, "zz-last")
	got := until(t, w, "zz-last")
	slices.Sort(got)
	if want := "app.yaml data/keep lib/a.py zz-last"; strings.Join(slices.Compact(got), " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestASaveIsOneBatch(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a")
	w := open(t, dir, nil, nil)
	// As many editors do it: write beside, then rename over.
	write(t, dir, "a.new~")
	if err := os.Rename(filepath.Join(dir, "a.new~"), filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "b")
	if got := until(t, w, "b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v, want one batch of a and b", got)
	}
}

func TestNewAndMovedFoldersAreFollowed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "old/x")
	w := open(t, dir, nil, nil)
	write(t, dir, "new/deep/er/y") // the file may be there before its folder is watched
	until(t, w, "new/deep/er/y")
	if err := os.Rename(filepath.Join(dir, "old"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	until(t, w, "moved/x")
	write(t, dir, "moved/z")
	if got := until(t, w, "moved/z"); slices.Contains(got, "old/z") {
		t.Errorf("a file in a moved folder is told under the old name too: %v", got)
	}
	if err := os.Remove(filepath.Join(dir, "moved/z")); err != nil {
		t.Fatal(err)
	}
	until(t, w, "moved/z")
}

func TestWhatNeverRestsIsToldAllTheSame(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, nil, nil)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				_ = os.WriteFile(filepath.Join(dir, "log"), []byte("x"), 0o600)
			}
		}
	}()
	until(t, w, "log")
	close(stop)
	<-ended
}

func TestTheFolderItselfMayGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	write(t, dir, "a")
	w := open(t, dir, nil, nil)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	limit := time.After(10 * time.Second)
	for {
		select {
		case _, ok := <-w.Batches():
			if !ok {
				return
			}
		case <-limit:
			t.Fatal("the end of the folder was not told in 10 s")
		}
	}
}

func TestNoise(t *testing.T) {
	for path, want := range map[string]bool{
		"app.py": false, "a/b.go": false, ".env": false, "dev.env": false, ".dockerignore": false, "x.swift": false, "git/x": false,
		".git/HEAD": true, "a/__pycache__/b": true, "a/.b.swp": true, "b~": true, "#b#": true, ".#b": true, "c.pyc": true, "x.py___jb_tmp___": true,
	} {
		if got := Noise(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

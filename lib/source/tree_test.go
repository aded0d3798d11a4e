package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tonistiigi/fsutil/types"

	"svckit/lib/fault"
)

// folder writes files (path → content; a path ending in / is a folder) and returns the folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	fill(t, dir, files)
	return dir
}

func fill(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		full := filepath.Join(dir, path)
		if strings.HasSuffix(path, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// sent lists what a build would get, each with kind, mode, target or content.
func sent(t testing.TB, tree *Tree) []string {
	t.Helper()
	var lines []string
	must(t, tree.Files().Walk(t.Context(), "", func(path string, e fs.DirEntry, err error) error {
		must(t, err)
		info, err := e.Info()
		must(t, err)
		stat := info.Sys().(*types.Stat)
		if stat.Uid != 0 || stat.Gid != 0 {
			t.Errorf("%s is owned by %d:%d, want 0:0", path, stat.Uid, stat.Gid)
		}
		line := fmt.Sprintf("%s %04o %s", kind(info.Mode()), modeBits(info.Mode()), path)
		if stat.Linkname != "" {
			line += " → " + stat.Linkname
		}
		if info.Mode().IsRegular() {
			line += " = " + content(t, tree, path)
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

func kind(m fs.FileMode) string {
	return map[fs.FileMode]string{0: "file", fs.ModeDir: "dir", fs.ModeSymlink: "link"}[m.Type()]
}

func content(t testing.TB, tree *Tree, path string) string {
	t.Helper()
	f, err := tree.Files().Open(path)
	must(t, err)
	defer f.Close()
	text, err := io.ReadAll(f)
	must(t, err)
	return string(text)
}

func TestTheContextKeepsLinksModesAndOrder(t *testing.T) {
	dir := folder(t, map[string]string{"Dockerfile": "FROM scratch\n", "bin/run": "#!", "b": "2", "a": "1", "empty/": ""})
	must(t, os.Chmod(filepath.Join(dir, "bin/run"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "b"), os.ModeSetgid|0o640))
	must(t, os.Symlink("bin/run", filepath.Join(dir, "link")))
	must(t, os.Symlink("/nowhere/at/all", filepath.Join(dir, "dangling")))
	tree, err := Scan(t.Context(), dir, "Dockerfile", nil)
	must(t, err)
	got := sent(t, tree)
	want := []string{
		"file 0644 Dockerfile = FROM scratch\n", "file 0644 a = 1", "file 2640 b = 2", "dir 0755 bin", "file 0755 bin/run = #!",
		"link 0777 dangling → /nowhere/at/all", "dir 0755 empty", "link 0777 link → bin/run",
	}
	if !slices.Equal(got, want) {
		t.Errorf("context:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if files, size := tree.Size(); files != 4 || size != 13+1+1+2 {
		t.Errorf("size is %d files, %d bytes", files, size)
	}
}

func TestWhatNoImageCanHoldIsNamed(t *testing.T) {
	rows := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a socket", func(dir string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "app.sock"))
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}, "read source: app.sock is a socket, which no image can hold"},
		{
			"a named pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600) },
			"read source: pipe is a named pipe, which no image can hold",
		},
		{"a file called as the generated Dockerfile is", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, GeneratedName), nil, 0o600)
		}, "read source: .svckit.Dockerfile is the name of a generated Dockerfile: rename the file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"a": "1"})
			must(t, row.make(dir))
			_, err := Scan(t.Context(), dir, "", []byte("FROM scratch\n"))
			if err == nil || err.Error() != row.want || fault.KindOf(err) != fault.Invalid {
				t.Errorf("error is %v (%v), want %q", err, fault.KindOf(err), row.want)
			}
			fill(t, dir, map[string]string{".dockerignore": "app.sock\npipe\n.svckit*"})
			if _, err := Scan(t.Context(), dir, "", []byte("FROM scratch\n")); err != nil {
				t.Errorf("ignored, but still: %v", err)
			}
		})
	}
}

func TestAnUnreadableFileIsNamedUnlessItIsIgnored(t *testing.T) {
	for _, kind := range []string{"file", "folder"} {
		t.Run(kind, func(t *testing.T) {
			dir := folder(t, map[string]string{"Dockerfile": "d", "hidden/x": ""})
			must(t, os.Chmod(filepath.Dir(dir), 0o755)) // t.TempDir's own parent is closed to others
			hidden := filepath.Join(dir, "hidden")
			if kind == "file" {
				hidden = filepath.Join(hidden, "x")
			}
			must(t, os.Chmod(hidden, 0))
			t.Cleanup(func() { must(t, os.Chmod(hidden, 0o755)) })
			asNobody(t, func() {
				tree, err := Scan(context.Background(), dir, "Dockerfile", nil)
				want := "read source: hidden: permission denied"
				if kind == "file" {
					must(t, err)
					_, err = tree.Hash(context.Background())
					want = "read source: hidden/x: permission denied"
				}
				if err == nil || err.Error() != want || !errors.Is(err, fs.ErrPermission) {
					t.Errorf("error is %v, want %q", err, want)
				}
			})
			fill(t, dir, map[string]string{".dockerignore": "hidden"})
			asNobody(t, func() {
				if _, err := Scan(context.Background(), dir, "Dockerfile", nil); err != nil {
					t.Errorf("ignored, but still: %v", err)
				}
			})
		})
	}
}

// asNobody runs f without root's right to read everything, on a thread that ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		f()
	}()
	<-done
}

func TestAMissingOrEscapingDockerfileIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"in/a": ""})
	must(t, os.Symlink("../../etc/passwd", filepath.Join(dir, "in", "Escape")))
	for path, want := range map[string]string{
		"Dockerfile":    "there is no Dockerfile in ",
		"../Dockerfile": "outside of the source folder",
		"/etc/passwd":   "outside of the source folder",
		"Escape":        "escapes",
		"sub":           "there is no sub in ",
	} {
		_, err := Scan(t.Context(), filepath.Join(dir, "in"), path, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", path, err, want)
		}
	}
}

func TestAGeneratedDockerfileLeavesTheFolderAlone(t *testing.T) {
	dir := folder(t, map[string]string{"a": "1", ".dockerignore": "*"})
	tree, err := Scan(t.Context(), dir, "", []byte("FROM scratch\n"))
	must(t, err)
	if got := sent(t, tree); !slices.Equal(got, []string{"file 0644 .svckit.Dockerfile = FROM scratch\n"}) {
		t.Errorf("sent %q", got)
	}
	if _, err := os.Lstat(filepath.Join(dir, GeneratedName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was written to: %v", err)
	}
}

func TestAFileThatChangesAfterItWasListedEndsTheStream(t *testing.T) {
	rows := []struct {
		name   string
		change func(path string) error
	}{
		{"grown", func(p string) error { return os.WriteFile(p, []byte("longer than before"), 0o644) }},
		{"shrunk", func(p string) error { return os.Truncate(p, 1) }},
		{"deleted", os.Remove},
		{"touched", func(p string) error { return os.Chtimes(p, time.Now(), time.Now().Add(time.Hour)) }},
		{"made executable", func(p string) error { return os.Chmod(p, 0o755) }},
		{"replaced by a link", func(p string) error { _ = os.Remove(p); return os.Symlink("Dockerfile", p) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"Dockerfile": "d", "data": "before"})
			tree, err := Scan(t.Context(), dir, "Dockerfile", nil)
			must(t, err)
			must(t, row.change(filepath.Join(dir, "data")))
			const want = "read source: data changed while it was read"
			if err := reads(tree, "data"); err == nil || err.Error() != want {
				t.Errorf("reading ends with %v, want %q", err, want)
			}
			if _, err := tree.Hash(t.Context()); err == nil || err.Error() != want {
				t.Errorf("the hash ends with %v, want %q", err, want)
			}
		})
	}
}

// reads reads one file to its end.
func reads(tree *Tree, path string) error {
	f, err := tree.Files().Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

func TestClosingAFileEndsItsReader(t *testing.T) {
	dir := folder(t, map[string]string{"Dockerfile": strings.Repeat("x", 1<<20)})
	tree, err := Scan(t.Context(), dir, "Dockerfile", nil)
	must(t, err)
	r, err := tree.Files().Open("Dockerfile")
	must(t, err)
	_, err = io.CopyN(io.Discard, r, 4096)
	must(t, err)
	must(t, r.Close())
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read after close: %v", err)
	}
}

func TestOnlyWhatWasListedCanBeRead(t *testing.T) {
	dir := folder(t, map[string]string{"Dockerfile": "d", "log/x": "noise", ".dockerignore": "log\n"})
	tree, err := Scan(t.Context(), dir, "Dockerfile", nil)
	must(t, err)
	for _, path := range []string{"log/x", "../etc/passwd", "/etc/passwd", "log", ""} {
		if err := reads(tree, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, want that it does not exist", path, err)
		}
	}
}

func TestTheHashIsOfWhatABuildCanSee(t *testing.T) {
	base := map[string]string{"Dockerfile": "FROM scratch\n", "a": "1", "log/x": "noise", ".dockerignore": "log\n"}
	hash := func(t *testing.T, change func(dir string) error, more ...[]byte) string {
		dir := folder(t, base)
		must(t, change(dir))
		tree, err := Scan(t.Context(), dir, "Dockerfile", nil)
		must(t, err)
		h, err := tree.Hash(t.Context(), more...)
		must(t, err)
		return h
	}
	nothing := func(string) error { return nil }
	want := hash(t, nothing)
	same := map[string]func(dir string) error{
		"another time":         func(d string) error { return os.Chtimes(filepath.Join(d, "a"), time.Unix(1, 0), time.Unix(1, 0)) },
		"an ignored file":      func(d string) error { return os.WriteFile(filepath.Join(d, "log/x"), []byte("other"), 0o644) },
		"a new ignored file":   func(d string) error { return os.WriteFile(filepath.Join(d, "log/y"), nil, 0o644) },
		"another folder":       nothing,
		"a file written again": func(d string) error { return os.WriteFile(filepath.Join(d, "a"), []byte("1"), 0o644) },
	}
	for name, change := range same {
		if got := hash(t, change); got != want {
			t.Errorf("%s changes the hash", name)
		}
	}
	other := map[string]func(dir string) error{
		"a content":       func(d string) error { return os.WriteFile(filepath.Join(d, "a"), []byte("2"), 0o644) },
		"a mode":          func(d string) error { return os.Chmod(filepath.Join(d, "a"), 0o755) },
		"a name":          func(d string) error { return os.Rename(filepath.Join(d, "a"), filepath.Join(d, "b")) },
		"an empty folder": func(d string) error { return os.Mkdir(filepath.Join(d, "e"), 0o755) },
		"a link":          func(d string) error { return os.Symlink("a", filepath.Join(d, "l")) },
	}
	for name, change := range other {
		if got := hash(t, change); got == want {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if hash(t, nothing, []byte("spec")) == want {
		t.Error("what is mixed in does not change the hash")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

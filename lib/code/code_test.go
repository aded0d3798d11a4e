package code

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func store(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "code"))
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes a folder of files; a name that ends with / is a folder, content that
// begins with -> is a link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		switch to, link := strings.CutPrefix(content, "->"); {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(full, 0o755))
		case link:
			must(t, os.Symlink(to, full))
		default:
			must(t, os.WriteFile(full, []byte(content), 0o640))
		}
	}
	return dir
}

// content is the reverse of tree.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		switch {
		case d.IsDir():
			if left, _ := os.ReadDir(p); len(left) == 0 {
				out[name+"/"] = ""
			}
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			out[name] = "->" + to
			return err
		default:
			text, err := os.ReadFile(p)
			out[name] = string(text)
			return err
		}
		return nil
	}))
	return out
}

func put(t testing.TB, s *Store, files map[string]string) string {
	t.Helper()
	name, err := s.Put(t.Context(), "shop", "web", tree(t, files), nil)
	must(t, err)
	return name
}

func generations(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir("shop", "web") + "/versions")
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCodeIsPutWholeAndSwitchedByALink(t *testing.T) {
	s := store(t)
	if _, err := s.State("shop", "web"); !errors.Is(err, fleet.ErrNotFound) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("before anything: %v", err)
	}
	one := put(t, s, map[string]string{"app.py": "1", "pkg/a.py": "a", "link": "->pkg/a.py", "static/": ""})
	if _, err := s.State("shop", "web"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("put switches already: %v", err)
	}
	must(t, s.Switch(t.Context(), "shop", "web", one))
	two := put(t, s, map[string]string{"app.py": "2"})
	must(t, s.Switch(t.Context(), "shop", "web", two))

	state, err := s.State("shop", "web")
	if err != nil || state.Generation != two || state.Previous != one || state.Plain || time.Since(state.Changed).Abs() > time.Minute {
		t.Errorf("%+v, %v", state, err)
	}
	current := filepath.Join(s.Dir("shop", "web"), "current")
	if got := content(t, filepath.Join(s.Dir("shop", "web"), "previous")+"/"); got["pkg/a.py"] != "a" || got["link"] != "->pkg/a.py" {
		t.Errorf("previous holds %v", got)
	}
	if text, err := os.ReadFile(current + "/app.py"); err != nil || string(text) != "2" {
		t.Errorf("current holds %q, %v", text, err)
	}
	must(t, s.Switch(t.Context(), "shop", "web", two))
	if again, err := s.State("shop", "web"); err != nil || again != state {
		t.Errorf("a second switch changed %+v to %+v, %v", state, again, err)
	}
	must(t, s.Switch(t.Context(), "shop", "web", one))
	if back, err := s.State("shop", "web"); err != nil || back.Generation != one || back.Previous != two {
		t.Errorf("going back: %+v, %v", back, err)
	}
}

func TestAFailedReloadRestoresBothLinks(t *testing.T) {
	s := store(t)
	var names []string
	for _, text := range []string{"1", "2", "3"} {
		names = append(names, put(t, s, map[string]string{"app.py": text}))
	}
	must(t, s.Switch(t.Context(), "shop", "web", names[0]))
	first, err := s.State("shop", "web")
	must(t, err)
	must(t, s.Switch(t.Context(), "shop", "web", names[1]))
	second, err := s.State("shop", "web")
	must(t, err)
	must(t, s.Switch(t.Context(), "shop", "web", names[2]))

	for _, was := range []State{second, first} {
		must(t, s.Restore(t.Context(), "shop", "web", was))
		if got, err := s.State("shop", "web"); err != nil || got.Generation != was.Generation || got.Previous != was.Previous {
			t.Errorf("restored %+v, %v, want %+v", got, err, was)
		}
	}
	must(t, s.Restore(t.Context(), "shop", "web", State{}))
	if _, err := s.State("shop", "web"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("restored to no code: %v", err)
	}
}

func TestTheSameCodeHasOneGeneration(t *testing.T) {
	s := store(t)
	files := map[string]string{"app.py": "1", "bin/run": "#!", "to": "->app.py"}
	one := put(t, s, files)
	noise := map[string]string{".git/HEAD": "x", "__pycache__/app.cpython-311.pyc": "x", "old.pyc": "x"}
	for name, text := range files {
		noise[name] = text
	}
	if again := put(t, s, noise); again != one {
		t.Errorf("%s with noise, %s without", again, one)
	}
	if got := generations(t, s); !slices.Equal(got, []string{one}) || len(one) != 12 {
		t.Errorf("versions %q, want %q", got, one)
	}
	dir := tree(t, files)
	if named, err := s.Generation(t.Context(), dir, nil); err != nil || named != one {
		t.Errorf("would be %s, %v; is %s", named, err, one)
	}
	must(t, os.Chmod(dir+"/bin/run", 0o700))
	if run, err := s.Put(t.Context(), "shop", "web", dir, nil); err != nil || run == one {
		t.Errorf("a file that can be run makes no other version: %s, %v", run, err)
	}
	for what, other := range map[string]map[string]string{
		"content": {"app.py": "2", "bin/run": "#!", "to": "->app.py"},
		"a link":  {"app.py": "1", "bin/run": "#!", "to": "->bin"},
		"a name":  {"app.py": "1", "bin/ran": "#!", "to": "->app.py"},
	} {
		if put(t, s, other) == one {
			t.Errorf("another %s is the same version", what)
		}
	}
}

func TestAnyUserMayReadWhatWasPut(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s := store(t)
	dir := tree(t, map[string]string{"bin/run": "#!", "secret": "x"})
	must(t, os.Chmod(dir+"/bin/run", 0o6700))
	must(t, os.Chmod(dir+"/bin", 0o700))
	name, err := s.Put(t.Context(), "shop", "web", dir, nil)
	must(t, err)
	at := s.Dir("shop", "web")
	for path, want := range map[string]fs.FileMode{
		"": 0o755 | fs.ModeDir, "versions": 0o755 | fs.ModeDir, "versions/" + name: 0o755 | fs.ModeDir, "versions/" + name + "/bin": 0o755 | fs.ModeDir,
		"versions/" + name + "/bin/run": 0o755, "versions/" + name + "/secret": 0o644,
	} {
		if info, err := os.Lstat(filepath.Join(at, path)); err != nil || info.Mode() != want {
			t.Errorf("%q: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestWhatTheCallerSkipsIsNotCopied(t *testing.T) {
	s := store(t)
	dir := tree(t, map[string]string{"app.py": "1", "notes.md": "n", "node_modules/x": "x"})
	skip := func(p string, folder bool) bool { return p == "node_modules" && folder || strings.HasSuffix(p, ".md") }
	name, err := s.Put(t.Context(), "shop", "web", dir, skip)
	must(t, err)
	if got := content(t, s.Dir("shop", "web")+"/versions/"+name); len(got) != 1 || got["app.py"] != "1" {
		t.Errorf("copied %v", got)
	}
	all := func(p string, folder bool) bool { return true }
	if _, err := s.Put(t.Context(), "shop", "web", dir, all); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "no file") {
		t.Errorf("nothing left: %v", err)
	}
}

func TestASourceThatCannotBeCodeIsRefused(t *testing.T) {
	fifo := tree(t, map[string]string{"app.py": "1"})
	must(t, syscall.Mkfifo(fifo+"/pipe", 0o600))
	for _, row := range []struct{ name, dir, want string }{
		{"a link out of the folder", tree(t, map[string]string{"a": "1", "pkg/out": "->../../etc"}), `link "pkg/out" leads out of the folder, to "../../etc"`},
		{"an absolute link", tree(t, map[string]string{"a": "1", "out": "->/etc/passwd"}), `link "out" leads out`},
		{"a link that leaves through another", tree(t, map[string]string{"a": "1", "x/deep/": "", "deep": "->x/deep", "out": "->x/y", "x/y": "->../deep/../../.."}), "leads out"},
		{"a link to itself", tree(t, map[string]string{"a": "1", "loop": "->loop"}), `link "loop" leads out`},
		{"a named pipe", fifo, `"pipe" is neither a file`},
		{"too many files", tree(t, map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": ""}), "more than 6 files"},
		{"too much", tree(t, map[string]string{"a": strings.Repeat("x", 2<<20)}), "more than 1 MiB"},
		{"too deep", tree(t, map[string]string{"1/2/3/4/a": "1"}), "more than 3 folders within"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := store(t)
			s.limit = limits{entries: 6, bytes: 1 << 20, depth: 3}
			_, err := s.Put(t.Context(), "shop", "web", row.dir, nil)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %s", err, row.want)
			}
			if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was made: %v", err)
			}
		})
	}
	s := store(t)
	if _, err := s.Put(t.Context(), "shop", "web", "/nowhere", nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a source that is not there: %v", err)
	}
	if name := put(t, s, map[string]string{"a": "1", "later": "->missing/file"}); name == "" {
		t.Error("a link to what is not there yet is refused")
	}
}

func TestNoNameLeavesTheFolder(t *testing.T) {
	s := store(t)
	one := put(t, s, map[string]string{"a": "1"})
	dir := tree(t, map[string]string{"a": "2"})
	for _, name := range []string{"", ".", "..", "../shop", "a/b", "Shop", "-x", "shop\x00", strings.Repeat("a", 41)} {
		if _, err := s.Put(t.Context(), name, "web", dir, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("app %q: %v", name, err)
		}
		if _, err := s.State("shop", name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("service %q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../versions", "x/y", ".new-x", strings.Repeat("a", 64)} {
		if err := s.Switch(t.Context(), "shop", "web", name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("generation %q: %v", name, err)
		}
	}
	if err := s.Switch(t.Context(), "shop", "web", "unknown"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("unknown generation: %v", err)
	}
	outside := t.TempDir()
	must(t, os.Rename(s.dir+"/shop", s.dir+"/aside"))
	must(t, os.Symlink(outside, s.dir+"/shop"))
	if _, err := s.Put(t.Context(), "shop", "web", dir, nil); err == nil {
		t.Error("a folder that is a link is followed")
	}
	if err := s.Switch(t.Context(), "shop", "web", one); err == nil {
		t.Error("a folder that is a link is followed")
	}
	if left := content(t, outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
	for _, bad := range []string{"code", "/", "/a/../b"} {
		if _, err := Open(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("open %q: %v", bad, err)
		}
	}
}

func TestCodePutThereByHandIsSeenAndNotReplaced(t *testing.T) {
	s := store(t)
	current := s.Dir("shop", "web") + "/current"
	must(t, os.MkdirAll(current+"/pkg", 0o755))
	must(t, os.WriteFile(current+"/pkg/a.py", []byte("1"), 0o600))
	before, err := s.State("shop", "web")
	if err != nil || !before.Plain || before.Generation != "" {
		t.Fatalf("%+v, %v", before, err)
	}
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(current+"/pkg/a.py", old, old)) // as rsync --times does: the ctime still tells
	if after, err := s.State("shop", "web"); err != nil || after.Changed.Before(before.Changed) {
		t.Errorf("%+v after %+v, %v", after, before, err)
	}
	one := put(t, s, map[string]string{"a": "1"})
	if err := s.Switch(t.Context(), "shop", "web", one); fault.KindOf(err) != fault.Refused {
		t.Errorf("switched over a folder: %v", err)
	}
	must(t, s.Restore(t.Context(), "shop", "web", before))
	if got := content(t, current); got["pkg/a.py"] != "1" {
		t.Errorf("current holds %v", got)
	}
	s.limit.entries = 2
	if _, err := s.State("shop", "web"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a folder without bound: %v", err)
	}
	for _, to := range []string{"/etc", "../../..", "versions/../..", "versions/none", "versions"} {
		must(t, os.RemoveAll(current))
		must(t, os.Symlink(to, current))
		if _, err := s.State("shop", "web"); fault.KindOf(err) != fault.Invalid {
			t.Errorf("current -> %s: %v", to, err)
		}
	}
}

func TestAVersionThatWasChangedByHandIsNotTakenForTheSame(t *testing.T) {
	s := store(t)
	one := put(t, s, map[string]string{"app.py": "1"})
	must(t, os.WriteFile(s.Dir("shop", "web")+"/versions/"+one+"/app.py", []byte("2"), 0o600))
	if _, err := s.Put(t.Context(), "shop", "web", tree(t, map[string]string{"app.py": "1"}), nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v, want a conflict", err)
	}
}

package code

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"svckit/lib/fleet"
)

// cutAt in the environment makes the test binary a program that puts code, makes
// it current and prunes, and kills itself at the step of that number.
const cutAt = "SVCKIT_TEST_CUT_AT"

func TestMain(m *testing.M) {
	if os.Getenv(cutAt) == "" {
		os.Exit(m.Run())
	}
	if err := deployAndDie(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func deployAndDie(dir, source string) error {
	left, err := strconv.Atoi(os.Getenv(cutAt))
	if err != nil {
		return err
	}
	s, err := Open(dir)
	if err != nil {
		return err
	}
	s.step = func(string) {
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	ctx := context.Background()
	name, err := s.Put(ctx, "shop", "web", source, nil)
	if err != nil {
		return err
	}
	if err := s.Switch(ctx, "shop", "web", name); err != nil {
		return err
	}
	_, err = s.Prune(ctx, "shop", "web", 0)
	return err
}

func TestARunThatIsKilledAnywhereLeavesOldCodeOrNew(t *testing.T) {
	versions := []map[string]string{
		{"app.py": "0", "pkg/a.py": "0"},
		{"app.py": "1", "pkg/a.py": "1", "pkg/link": "->a.py"},
		{"app.py": "2", "pkg/b.py": "2"},
	}
	next := tree(t, versions[2])
	done := false
	for n := 1; !done; n++ {
		s := store(t)
		var names []string
		for _, files := range versions[:2] {
			names = append(names, put(t, s, files))
			must(t, s.Switch(t.Context(), "shop", "web", names[len(names)-1]))
		}
		cmd := exec.Command(os.Args[0], s.dir, next)
		cmd.Env = append(os.Environ(), cutAt+"="+strconv.Itoa(n))
		text, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		done = err == nil
		if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
			t.Fatalf("cut %d: %v\n%s", n, err, text)
		}

		state, err := s.State("shop", "web")
		must(t, err)
		want := versions[1]
		if state.Generation != names[1] {
			want = versions[2]
		}
		current := filepath.Join(s.Dir("shop", "web"), "versions", state.Generation)
		if got := content(t, current); !maps.Equal(got, want) {
			t.Errorf("cut %d: current %s holds %v", n, state.Generation, got)
		}
		if state.Previous == state.Generation {
			t.Errorf("cut %d: %+v", n, state)
		}

		name := put(t, s, versions[2])
		must(t, s.Switch(t.Context(), "shop", "web", name))
		if _, err := s.Prune(t.Context(), "shop", "web", 0); err != nil {
			t.Errorf("cut %d: %v", n, err)
		}
		if got := content(t, filepath.Join(s.Dir("shop", "web"), "versions", name)); !maps.Equal(got, versions[2]) {
			t.Errorf("cut %d: the next run made %v", n, got)
		}
		entries, err := os.ReadDir(s.Dir("shop", "web"))
		must(t, err)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				t.Errorf("cut %d: the next run left %s", n, e.Name())
			}
		}
		if n > 100 {
			t.Fatal("it never got to its end")
		}
		if done && n < 10 {
			t.Errorf("only %d steps were cut", n-1)
		}
	}
}

// A model of the folder: what Put, Switch, Restore and Prune in any order make of it.
func TestAnyOrderOfCallsKeepsCurrentWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "code")
		must(t, err)
		s, err := Open(dir + "/c")
		must(t, err)
		contents := map[string]map[string]string{}
		var current, previous string
		ctx := context.Background()
		for range rapid.IntRange(1, 12).Draw(rt, "calls") {
			switch rapid.SampledFrom([]string{"put", "put", "switch", "failed reload", "prune"}).Draw(rt, "call") {
			case "put":
				files := drawTree(rt)
				name, err := s.Put(ctx, "shop", "web", tree(t, files), nil)
				if err != nil {
					rt.Fatal(err)
				}
				if known, ok := contents[name]; ok && !maps.Equal(known, files) {
					rt.Fatalf("%v and %v are both %s", known, files, name)
				}
				contents[name] = files
			case "switch":
				if len(contents) == 0 {
					continue
				}
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(contents))).Draw(rt, "to")
				if err := s.Switch(ctx, "shop", "web", name); err != nil {
					rt.Fatal(err)
				}
				if name != current {
					current, previous = name, current
				}
			case "failed reload":
				if current == "" {
					continue
				}
				was, err := s.State("shop", "web")
				if err != nil {
					rt.Fatal(err)
				}
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(contents))).Draw(rt, "to")
				if err := errors.Join(s.Switch(ctx, "shop", "web", name), s.Restore(ctx, "shop", "web", was)); err != nil {
					rt.Fatal(err)
				}
			case "prune":
				gone, err := s.Prune(ctx, "shop", "web", rapid.IntRange(0, 2).Draw(rt, "keep"))
				if err != nil {
					rt.Fatal(err)
				}
				for _, name := range gone {
					if name == current || name == previous {
						rt.Fatalf("pruned %s of %s, %s", name, current, previous)
					}
					delete(contents, name)
				}
			}
			state, err := s.State("shop", "web")
			if current == "" {
				if !errors.Is(err, fleet.ErrNotFound) {
					rt.Fatalf("no code: %+v, %v", state, err)
				}
				continue
			}
			if err != nil || state.Generation != current || state.Previous != previous {
				rt.Fatalf("%+v, %v, want %s before %s", state, err, current, previous)
			}
		}
		for name, files := range contents {
			if got := content(t, filepath.Join(s.Dir("shop", "web"), "versions", name)); !maps.Equal(got, files) {
				rt.Fatalf("%s holds %v, want %v", name, got, files)
			}
		}
	})
}

// drawTree makes files, folders and links, some names odd, at least one file.
func drawTree(rt *rapid.T) map[string]string {
	files := map[string]string{"app.py": rapid.SampledFrom([]string{"1", "2", ""}).Draw(rt, "text")}
	segment := rapid.SampledFrom([]string{"a", "b", "c.py", "x y", "-n", "ä", "new\nline", "..a"})
	for range rapid.IntRange(0, 5).Draw(rt, "more") {
		name := strings.Join(rapid.SliceOfN(segment, 1, 3).Draw(rt, "name"), "/")
		clash := false
		for other := range files {
			other = strings.TrimSuffix(other, "/")
			clash = clash || other == name || strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/")
		}
		if clash {
			continue
		}
		switch rapid.SampledFrom([]string{"file", "folder", "link"}).Draw(rt, "kind") {
		case "file":
			files[name] = rapid.StringN(0, 5, 20).Draw(rt, "content")
			if strings.HasPrefix(files[name], "->") {
				files[name] = "x"
			}
		case "folder":
			files[name+"/"] = ""
		case "link":
			files[name] = "->" + strings.Repeat("../", strings.Count(name, "/")) + "app.py"
		}
	}
	return files
}

// Wherever links point to, what was put can be read without leaving it.
func FuzzNoLinkLeavesTheTree(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"../x", "a"}, {"b/../../../etc", "sub"}, {"/etc", "."}, {"sub/../b", "sub/.."}, {"..", "a"}, {"./././a", "b/b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, to := range []string{one, two} {
			if to == "" || len(to) > 200 || strings.ContainsRune(to, 0) {
				return // no system has such a link
			}
		}
		source := tree(t, map[string]string{"app.py": "1", "sub/deep/x": "x"})
		must(t, os.Symlink(one, source+"/a"))
		must(t, os.Symlink(two, source+"/sub/b"))
		s := store(t)
		name, err := s.Put(t.Context(), "shop", "web", source, nil)
		if err != nil {
			return
		}
		at := filepath.Join(s.Dir("shop", "web"), "versions", name)
		for _, link := range []string{"a", "sub/b"} {
			if real, err := filepath.EvalSymlinks(filepath.Join(at, link)); err == nil && real != at && !strings.HasPrefix(real, at+"/") {
				t.Errorf("a -> %q, sub/b -> %q: %s leads to %s", one, two, link, real)
			}
		}
	})
}

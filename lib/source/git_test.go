package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func repository(t *testing.T) string {
	t.Helper()
	dir := folder(t, map[string]string{"a": "1", ".gitignore": "ignored/\n*.log\n"})
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	run(t, dir, "init", "-q", "-b", "trunk")
	run(t, dir, "add", ".")
	run(t, dir, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first")
	run(t, dir, "remote", "add", "origin", "https://bob:hunter2@git.example.org/team/app.git?private_token=abc")
	return dir
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnv(os.Environ()), "GIT_COMMITTER_DATE=2024-05-06T07:08:09+02:00", "GIT_AUTHOR_DATE=2024-05-06T07:08:09+02:00")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestACleanRepositoryIsNamedByItsCommit(t *testing.T) {
	dir := repository(t)
	o, err := Inspect(t.Context(), dir)
	must(t, err)
	want := Origin{
		Git:  fleet.Git{Commit: run(t, dir, "rev-parse", "HEAD"), Branch: "trunk", Remote: "https://git.example.org/team/app.git"},
		Time: time.Date(2024, 5, 6, 5, 8, 9, 0, time.UTC),
	}
	if o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
}

func TestDirtyIsWhatIsNotCommittedWithinTheFolder(t *testing.T) {
	rows := []struct {
		name   string
		change map[string]string
		at     string // folder that is built, below the repository
		want   bool
	}{
		{"nothing changed", nil, "", false},
		{"a changed file", map[string]string{"a": "2"}, "", true},
		{"a new file", map[string]string{"b": "2"}, "", true},
		{"an ignored file", map[string]string{"x.log": "2"}, "", false},
		{"a change beside the folder", map[string]string{"a": "2"}, "sub", false},
		{"a change in the folder", map[string]string{"sub/s": "2"}, "sub", true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := repository(t)
			fill(t, dir, map[string]string{"sub/s": "1"})
			run(t, dir, "add", ".")
			run(t, dir, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "second")
			fill(t, dir, row.change)
			o, err := Inspect(t.Context(), filepath.Join(dir, row.at))
			must(t, err)
			if o.Dirty != row.want || !o.Known() {
				t.Errorf("dirty is %v in %+v, want %v", o.Dirty, o, row.want)
			}
		})
	}
}

func TestWhereNoCommitSaysAnythingTheOriginIsZero(t *testing.T) {
	plain := t.TempDir()
	empty := t.TempDir()
	run(t, empty, "init", "-q")
	ignored := filepath.Join(repository(t), "ignored")
	must(t, os.Mkdir(ignored, 0o755))
	fill(t, ignored, map[string]string{"x": "1"})
	for name, dir := range map[string]string{"no repository": plain, "no commit yet": empty, "a folder the repository ignores": ignored} {
		if o, err := Inspect(t.Context(), dir); err != nil || o != (Origin{}) {
			t.Errorf("%s: got %+v, %v", name, o, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if o, err := Inspect(t.Context(), ignored); err != nil || o.Known() {
		t.Errorf("no git program: got %+v, %v", o, err)
	}
}

func TestTheCallersGitVariablesAreNotFollowed(t *testing.T) {
	dir, other := repository(t), t.TempDir()
	run(t, other, "init", "-q")
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	t.Setenv("GIT_WORK_TREE", other)
	if o, err := Inspect(t.Context(), dir); err != nil || !o.Known() {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestARemoteIsShownWithoutCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"https://bob:pw@git.example.org/a.git":     "https://git.example.org/a.git",
		"https://token@git.example.org/a.git#x":    "https://git.example.org/a.git",
		"ssh://git:pw@git.example.org:2222/a.git":  "ssh://git@git.example.org:2222/a.git",
		"git@git.example.org:team/a.git":           "git@git.example.org:team/a.git",
		"/srv/git/a.git":                           "/srv/git/a.git",
		"bob:pw@git.example.org:team/a.git":        "",
		"https://bob:p%zz@git.example.org/a.git":   "",
		"":                                         "",
		"https://git.example.org/a.git?token=abcd": "https://git.example.org/a.git",
	} {
		if got := withoutCredentials(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestAReleaseIsNamedAfterItsSource(t *testing.T) {
	commit := "3f2c9a81b4d07e6655443322110099887766aabb"
	hash := "0123456789abcdef0123456789abcdef"
	for want, g := range map[string]fleet.Git{
		"3f2c9a81b4d0":                {Commit: commit},
		"3f2c9a81b4d0-dirty-01234567": {Commit: commit, Dirty: true},
		"src-0123456789ab":            {},
	} {
		if got := ReleaseName(g, hash); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestANewRepositoryHoldsAllOfTheFolder(t *testing.T) {
	t.Setenv("HOME", t.TempDir()) // nobody has set a name
	t.Setenv("XDG_CONFIG_HOME", "")
	dir := folder(t, map[string]string{"a": "1", ".gitignore": "*.log\n", "x.log": "noise"})
	committed, err := Start(t.Context(), dir, "Start it")
	must(t, err)
	if !committed || run(t, dir, "status", "--porcelain") != "" || run(t, dir, "log", "--format=%s by %an") != "Start it by svc-build" {
		t.Errorf("committed %v, log %q", committed, run(t, dir, "log", "--format=%s by %an"))
	}
	if got := run(t, dir, "ls-files"); got != ".gitignore\na" {
		t.Errorf("holds %q", got)
	}
	inner := filepath.Join(dir, "inner")
	must(t, os.Mkdir(inner, 0o755))
	if committed, err := Start(t.Context(), inner, "Start it"); committed || err != nil {
		t.Errorf("inside a repository: %v, %v", committed, err)
	}
	t.Setenv("PATH", t.TempDir())
	if committed, err := Start(t.Context(), t.TempDir(), "Start it"); committed || err != nil {
		t.Errorf("without git: %v, %v", committed, err)
	}
}

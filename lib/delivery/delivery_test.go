package delivery

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// store is a run folder that need not be a tmpfs.
func store(t *testing.T) *Store {
	t.Helper()
	return &Store{run: t.TempDir()}
}

func self() Owner { return Owner{os.Geteuid(), os.Getegid()} }

func values() spec.Values {
	return spec.Values{
		Env:     map[string]string{"IGNORED": "x"},
		Secrets: map[string]string{"SESSION_KEY": "s\n\"'$HOME\x00\xff", "EMPTY": ""},
		Files:   []spec.Rendered{{To: "/etc/app/settings.json", Content: []byte("{}")}},
	}
}

const settings = "files/3ddd35a70a0d7386-settings.json"

func TestWhatIsDeliveredIsReadBackUnchanged(t *testing.T) {
	s := store(t)
	v := values()
	v.Secrets["BIG"] = strings.Repeat("0123456789\n$\"'", 8000)
	changed, err := s.Deliver("web-1", v, self())
	if err != nil {
		t.Fatal(err)
	}
	name := "files/" + FileName("/etc/app/settings.json")
	if diff := cmp.Diff([]string{name, "secrets/BIG", "secrets/EMPTY", "secrets/SESSION_KEY"}, changed); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}
	have, err := s.Current("web-1")
	if err != nil {
		t.Fatal(err)
	}
	want := Contents{Secrets: v.Secrets, Files: map[string][]byte{FileName("/etc/app/settings.json"): []byte("{}")}}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := Changed(have, v); got != nil {
		t.Errorf("changed after delivery: %v", got)
	}
}

func TestSecretsAreForTheirOwnerOnly(t *testing.T) {
	s := store(t)
	old := syscall.Umask(0)
	_, err := s.Deliver("web-1", values(), self())
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		".": 0o700, "secrets": 0o755, "files": 0o755, "secrets/SESSION_KEY": 0o400, "files/" + FileName("/etc/app/settings.json"): 0o444,
	}
	for name, mode := range want {
		info, err := os.Lstat(filepath.Join(s.Dir("web-1"), name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode || ownerOf(info) != self() {
			t.Errorf("%s: %v of %v, want %v of %v", name, info.Mode().Perm(), ownerOf(info), mode, self())
		}
	}
}

func TestASecondDeliveryTouchesOnlyWhatDiffers(t *testing.T) {
	s := store(t)
	v := values()
	if _, err := s.Deliver("web-1", v, self()); err != nil {
		t.Fatal(err)
	}
	before := inodes(t, s.Dir("web-1"))
	if changed, err := s.Deliver("web-1", v, self()); err != nil || changed != nil {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	v.Secrets = map[string]string{"SESSION_KEY": "new"}
	want := []string{"secret EMPTY gone", "secret SESSION_KEY"}
	have, err := s.Current("web-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := Changed(have, v); !slices.Equal(got, want) {
		t.Errorf("changed %v, want %v", got, want)
	}
	changed, err := s.Deliver("web-1", v, self())
	if err != nil || !slices.Equal(changed, []string{"secrets/EMPTY", "secrets/SESSION_KEY"}) {
		t.Errorf("changed %v, %v", changed, err)
	}
	after := inodes(t, s.Dir("web-1"))
	file := "files/" + FileName("/etc/app/settings.json")
	if before[file] != after[file] {
		t.Error("the file that is the same was written again")
	}
	if before["secrets/SESSION_KEY"] == after["secrets/SESSION_KEY"] {
		t.Error("the secret was changed in place, not replaced")
	}
	if _, ok := after["secrets/EMPTY"]; ok {
		t.Error("the secret that is not wanted stays")
	}
}

// inodes maps every file below dir to its inode.
func inodes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		out[name] = info.Sys().(*syscall.Stat_t).Ino
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNamesThatLeaveTheFolderAreRefused(t *testing.T) {
	s := store(t)
	for _, name := range []string{"", ".", "..", "a/b", "../x", "-x", strings.Repeat("x", 200)} {
		if _, err := s.Deliver(name, values(), self()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("container %q: %v", name, err)
		}
		if err := s.Remove(name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("remove container %q: %v", name, err)
		}
	}
	for _, key := range []string{"", ".", "..", "a/b", "../../x", ".new-x", "a\x00b", "a b"} {
		if _, err := s.Deliver("web-1", spec.Values{Secrets: map[string]string{key: "geheim"}}, self()); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "geheim") {
			t.Errorf("secret %q: %v", key, err)
		}
	}
	for _, to := range []string{"", "x", "/", "/a/../b", "/a/"} {
		if _, err := s.Deliver("web-1", spec.Values{Files: []spec.Rendered{{To: to}}}, self()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("file %q: %v", to, err)
		}
	}
	big := spec.Values{Secrets: map[string]string{"A": strings.Repeat("x", maxContent+1)}}
	if _, err := s.Deliver("web-1", big, self()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a secret of %d bytes: %v", maxContent+1, err)
	}
}

func TestALinkInTheWayIsNeverFollowed(t *testing.T) {
	outside := t.TempDir()
	precious := filepath.Join(outside, "precious")
	if err := os.WriteFile(precious, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(t *testing.T, target string, at ...string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(at...)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the container's folder", func(t *testing.T) {
		s := store(t)
		link(t, outside, s.run, "web-1")
		if _, err := s.Deliver("web-1", values(), self()); fault.KindOf(err) != fault.Refused {
			t.Errorf("deliver: %v, want refused", err)
		}
		if _, err := s.Current("web-1"); fault.KindOf(err) != fault.Refused {
			t.Errorf("current: %v, want refused", err)
		}
		if err := s.Remove("web-1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("the secrets folder", func(t *testing.T) {
		s := store(t)
		if err := os.Mkdir(s.Dir("web-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		link(t, outside, s.Dir("web-1"), "secrets")
		if _, err := s.Deliver("web-1", values(), self()); fault.KindOf(err) != fault.Refused {
			t.Errorf("deliver: %v, want refused", err)
		}
	})
	t.Run("a secret", func(t *testing.T) {
		s := store(t)
		if err := s.Prepare("web-1"); err != nil {
			t.Fatal(err)
		}
		link(t, precious, s.Dir("web-1"), "secrets", "SESSION_KEY")
		if _, err := s.Deliver("web-1", values(), self()); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(filepath.Join(s.Dir("web-1"), "secrets", "SESSION_KEY")); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%v, %v: want a file in the link's place", info, err)
		}
	})
	if text, err := os.ReadFile(precious); err != nil || string(text) != "keep" {
		t.Errorf("the file outside: %q, %v", text, err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("files appeared outside: %v", entries)
	}
}

func TestWhatAKilledDeliveryLeftIsClearedAway(t *testing.T) {
	s := store(t)
	if err := s.Prepare("web-1"); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(s.Dir("web-1"), "secrets", tempPrefix+"X")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	have, err := s.Current("web-1")
	if err != nil || len(have.Secrets) != 0 {
		t.Errorf("half a secret is shown: %v, %v", have, err)
	}
	if _, err := s.Deliver("web-1", values(), self()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

func TestAReaderSeesTheOldContentOrTheNew(t *testing.T) {
	s := store(t)
	text := func(c byte) []byte { return bytes.Repeat([]byte{c}, 64<<10) }
	v := spec.Values{Files: []spec.Rendered{{To: "/x", Content: text('0')}}}
	if _, err := s.Deliver("web-1", v, self()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			got, err := os.ReadFile(filepath.Join(s.Dir("web-1"), "files", FileName("/x")))
			if err == nil && (len(got) != 64<<10 || !bytes.Equal(got, text(got[0]))) {
				err = errors.New("mixed content")
			}
			if err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	for i := range 200 {
		v.Files[0].Content = text(byte('1' + i%8))
		if _, err := s.Deliver("web-1", v, self()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSweepRemovesWhatNoContainerHas(t *testing.T) {
	s := store(t)
	for _, n := range []string{"web-1", "web-2", "old-1"} {
		if err := s.Prepare(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, foreign := range []string{"foreign", "lost+found"} {
		if err := os.Mkdir(filepath.Join(s.run, foreign), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if gone, err := s.Sweep(nil, now.Add(-time.Hour)); err != nil || len(gone) != 0 {
		t.Errorf("folders that were just made are gone: %v, %v", gone, err)
	}
	gone, err := s.Sweep(map[string]bool{"web-1": true, "web-2": true}, now.Add(time.Hour))
	if err != nil || !slices.Equal(gone, []string{"old-1"}) {
		t.Errorf("gone %v, %v, want old-1", gone, err)
	}
	if err := s.Remove("web-2"); err != nil {
		t.Error(err)
	}
	if err := s.Remove("web-2"); err != nil {
		t.Errorf("the second time: %v", err)
	}
	names, err := s.Names()
	if err != nil || !slices.Equal(names, []string{"web-1"}) {
		t.Errorf("left %v, %v, want web-1", names, err)
	}
	if _, err := os.Stat(filepath.Join(s.run, "foreign")); err != nil {
		t.Errorf("a folder that is not ours: %v", err)
	}
	if _, err := s.Current("web-2"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("current of nothing: %v, want not found", err)
	}
}

func TestWithoutRootSecretsCanStillBeReadInTheContainer(t *testing.T) {
	v := spec.Values{Secrets: map[string]string{"A": "1"}}
	rows := []struct {
		name        string
		owner, self Owner
		want        item
	}{
		{"root gives them away", Owner{1000, 1001}, Owner{0, 0}, item{"secrets/A", []byte("1"), 0o400, Owner{1000, 1001}}},
		{"the user itself", Owner{1000, 7}, Owner{1000, 1000}, item{"secrets/A", []byte("1"), 0o400, Owner{1000, 1000}}},
		{"another user", Owner{33, 33}, Owner{1000, 1000}, item{"secrets/A", []byte("1"), 0o444, Owner{1000, 1000}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := itemsOf(v, row.owner, row.self)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]item{row.want}, got, cmp.AllowUnexported(item{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAFilesNameTellsItsPathApart(t *testing.T) {
	if got := "files/" + FileName("/etc/app/settings.json"); got != settings {
		t.Errorf("%s, want %s: running containers link to the old name", got, settings)
	}
	names := map[string]bool{}
	for _, to := range []string{"/a/x", "/b/x", "/a/ü\n", "/" + strings.Repeat("x", 300)} {
		n := FileName(to)
		if names[n] || strings.ContainsAny(n, "/\n") || len(n) > 200 {
			t.Errorf("%q for %q", n, to)
		}
		names[n] = true
	}
	links := Links([]spec.File{{Template: "t", To: "/etc/app/settings.json"}})
	if want := map[string]string{"/etc/app/settings.json": "/run/svckit/" + settings}; !maps.Equal(links, want) {
		t.Errorf("links %v, want %v", links, want)
	}
}

func TestTheRunFolderMustBeAPlainPath(t *testing.T) {
	for _, run := range []string{"", "run", "/", "/run/../etc", "/run/"} {
		if _, err := Open(run); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v, want invalid", run, err)
		}
	}
}

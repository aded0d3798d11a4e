//go:build real

package docker

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestTheEngineSaysWhatItIs(t *testing.T) {
	e, _ := testEngine(t)
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Version == "" || info.API == "" || info.CPUs < 1 || info.Memory < 1<<20 || !strings.HasPrefix(info.Root, "/") || !slices.Contains(info.Insecure, "127.0.0.0/8") {
		t.Errorf("%+v", info)
	}
	t.Logf("%+v", info)
}

func TestBothStreamsOfALogAreRead(t *testing.T) {
	e, name := testEngine(t)
	id := startNew(t, e, plain(name, "sh", "-c", `for i in 1 2 3; do echo out $i; sleep 0.5; echo err $i >&2; sleep 0.5; done; head -c 5000 /dev/zero | tr '\0' x; printf '\033[31mred\n'`))
	eventually(t, time.Minute, "end", func() bool { return state(t, e, id) == fleet.Exited })
	got, err := e.Tail(t.Context(), id, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != "out 3" || got[1] != "err 3" || len(got[2]) != maxLine {
		t.Errorf("tail %q", got)
	}
	var stdout, stderr bytes.Buffer
	if err := e.Logs(t.Context(), id, LogOptions{Follow: true}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stdout.String(), "out 1\nout 2\nout 3\nxxxx") || stderr.String() != "err 1\nerr 2\nerr 3\n" {
		t.Errorf("stdout %.40q, stderr %q", stdout.String(), stderr.String())
	}
	if _, err := e.Tail(t.Context(), name+"-none", 3); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("log of nothing: %v", err)
	}
}

func TestFollowingALogEndsWithItsContext(t *testing.T) {
	e, name := testEngine(t)
	id := startNew(t, e, plain(name, "sh", "-c", "while :; do echo tick; sleep 0.05; done"))
	ctx, cancel := context.WithCancel(t.Context())
	w := &cancelling{cancel: cancel, after: 3}
	if err := e.Logs(ctx, id, LogOptions{Follow: true, Timestamps: true, Since: time.Now().Add(-time.Hour)}, w, w); err != nil {
		t.Errorf("%v, want no error", err)
	}
	if !strings.Contains(w.text.String(), "Z tick\n") {
		t.Errorf("no time in %q", w.text.String())
	}
}

// cancelling ends a context after some writes.
type cancelling struct {
	text   bytes.Buffer
	cancel func()
	after  int
}

func (c *cancelling) Write(p []byte) (int, error) {
	if c.after--; c.after == 0 {
		c.cancel()
	}
	return c.text.Write(p)
}

func TestTheProcessesOfAContainerAreListedWithTheirParents(t *testing.T) {
	e, name := testEngine(t)
	id := startNew(t, e, plain(name, "sh", "-c", "sleep 601 & sleep 602; wait"))
	var list []fleet.Process
	eventually(t, time.Minute, "four processes", func() bool {
		var err error
		list, err = e.Processes(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		copies := slices.DeleteFunc(slices.Clone(list), func(p fleet.Process) bool { return !strings.HasPrefix(p.Command, "sh -c") })
		return len(list) == 4 && len(copies) == 1 // a child is a copy of its shell until it runs its own program
	})
	at := func(word string) fleet.Process {
		i := slices.IndexFunc(list, func(p fleet.Process) bool {
			return strings.Contains(p.Command, word) && !strings.Contains(p.Command, "wait")
		})
		if i < 0 {
			t.Fatalf("no %s in %+v", word, list)
		}
		return list[i]
	}
	shell := slices.IndexFunc(list, func(p fleet.Process) bool { return strings.HasPrefix(p.Command, "sh -c") })
	if shell < 0 || at("sleep 601").Parent != list[shell].PID || at("sleep 602").Parent != list[shell].PID {
		t.Errorf("%+v", list)
	}
}

func TestAFileIsReadOutOfAContainerThatNeverRan(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name)
	c.Links = map[string]string{"/etc/linked": "/etc/debian_version", "/etc/nowhere": "/none", "/etc/twice": "/etc/linked"}
	id, err := e.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/debian_version", "/etc/linked", "/etc/twice"} {
		text, err := e.ReadFile(t.Context(), id, path, 100)
		if err != nil || !strings.HasPrefix(string(text), "12.") {
			t.Errorf("%s: %q, %v, want 12.…", path, text, err)
		}
	}
	for path, want := range map[string]string{"/etc": "is not a file", "/etc/passwd": "more than 100", "/etc/none": "not found", "/etc/nowhere": "not found"} {
		_, err := e.ReadFile(t.Context(), id, path, 100)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if (want == "not found") != errors.Is(err, fleet.ErrNotFound) || (want == "not found") != (fault.KindOf(err) == fault.NotFound) {
			t.Errorf("%s: %s", path, fault.KindOf(err))
		}
	}
}

func TestLinksAreMadeWithoutTouchingTheFoldersOfTheImage(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name)
	c.Links = map[string]string{
		"/etc/debian_version":    "/run/svckit/files/a", // a file in the way
		"/etc/app/deep/settings": "/run/svckit/files/b", // folders to make
		"/tmp/direct":            "/run/svckit/files/c", // a folder with a mode of its own
		"/var/run/app/socket":    "/run/svckit/files/d", // above it a link to /run
		"/etc/app/other":         "/run/svckit/files/e", // beside another one
	}
	id := startNew(t, e, c)
	got, code := execIn(t, e, id, "", "sh", "-c", "readlink /etc/debian_version /etc/app/deep/settings /etc/app/other /tmp/direct /run/app/socket; stat -c '%a %u' /etc /etc/app /etc/app/deep /tmp /run/app; readlink /var/run")
	want := "/run/svckit/files/a\n/run/svckit/files/b\n/run/svckit/files/e\n/run/svckit/files/c\n/run/svckit/files/d\n755 0\n755 0\n755 0\n1777 0\n755 0\n/run"
	if code != 0 || got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got, _ := execIn(t, e, id, "", "readlink", "/etc/app/deep/settings"); got != "/run/svckit/files/b" {
		t.Errorf("after a restart %q", got)
	}
}

func TestTheUserOfAContainerIsFoundBeforeItRuns(t *testing.T) {
	e, name := testEngine(t)
	rows := []struct {
		user     string
		uid, gid int
	}{{"", 0, 0}, {"www-data", 33, 33}, {"nobody:www-data", 65534, 33}, {"4711", 4711, 0}}
	for i, row := range rows {
		t.Run("user "+row.user, func(t *testing.T) {
			id := createAs(t, e, name+"-"+string(rune('a'+i)), row.user)
			uid, gid, err := e.User(t.Context(), id)
			if err != nil || uid != row.uid || gid != row.gid {
				t.Errorf("%d:%d, %v, want %d:%d", uid, gid, err, row.uid, row.gid)
			}
		})
	}
}

func TestAContainerThatRunsOnIsNotLookedIntoAgain(t *testing.T) {
	e, name := testEngine(t)
	id := startNew(t, e, plain(name))
	find := func(before []fleet.Instance) fleet.Instance {
		t.Helper()
		list, err := e.InstancesSince(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		k := slices.IndexFunc(list, func(i fleet.Instance) bool { return i.ID == id })
		if k < 0 {
			t.Fatalf("%s is not in the list", id)
		}
		return list[k]
	}
	first := find(nil)
	if first.State != fleet.Running || first.PID == 0 {
		t.Fatalf("%+v", first)
	}
	first.Name = "as it was"
	if got := find([]fleet.Instance{first}); got.Name != "as it was" {
		t.Errorf("it was looked into again: %+v", got)
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := find([]fleet.Instance{first}); got.State != fleet.Exited || got.PID != 0 {
		t.Errorf("it has ended: %+v", got)
	}
}

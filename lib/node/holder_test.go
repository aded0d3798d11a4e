package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func TestThisProcessIsAliveAndAnEndedOneIsNot(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h, err := Holder("ana", "node1", "svc-run up web", now)
	if err != nil {
		t.Fatal(err)
	}
	if h.PID != os.Getpid() || h.Started == "" || h.Boot == "" || h.Space == "" || h.Schema != 1 || !h.Since.Equal(now) {
		t.Fatalf("incomplete holder: %+v", h)
	}
	if !Alive(h) {
		t.Error("this process is taken as dead")
	}
	reused := h
	reused.Started = "1"
	if Alive(reused) {
		t.Error("a pid that another process uses by now is taken as alive")
	}

	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	gone := h
	gone.PID = child.Process.Pid
	if Alive(gone) {
		t.Error("an ended process is taken as alive")
	}
}

func TestOnlyCertaintyMakesAHolderDead(t *testing.T) {
	const boot, space = "b-1", "pid:[1]"
	yes := func(int) error { return nil }
	no := func(int) error { return syscall.ESRCH }
	forbidden := func(int) error { return syscall.EPERM }
	held := fleet.Holder{PID: 7, Started: "4711", Boot: boot, Space: space}
	other := func(change func(*fleet.Holder)) fleet.Holder { h := held; change(&h); return h }

	for _, row := range []struct {
		name string
		stat string
		kill func(int) error
		h    fleet.Holder
		want bool
	}{
		{"running", stat("svc-run", "S", "4711"), yes, held, true},
		{"command with blanks and parentheses", stat("a) S (b", "S", "4711"), yes, held, true},
		{"no such process", "", no, held, false},
		{"zombie", stat("svc-run", "Z", "4711"), yes, held, false},
		{"pid used again", stat("nginx", "S", "9999"), yes, held, false},
		{"hidden from us", "", forbidden, held, true},
		{"unreadable stat", "7 (x) S 1", yes, held, true},
		{"another machine or an earlier boot", "", no, other(func(h *fleet.Holder) { h.Boot = "b-2" }), true},
		{"another pid namespace", "", no, other(func(h *fleet.Holder) { h.Space = "pid:[2]" }), true},
		{"no pid", "", no, other(func(h *fleet.Holder) { h.PID = 0 }), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := alive(fakeProc(t, boot, space, row.stat), row.kill, row.h); got != row.want {
				t.Errorf("alive = %v, want %v", got, row.want)
			}
		})
	}
}

func stat(command, state, started string) string {
	return fmt.Sprintf("7 (%s) %s 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %s 1000 10", command, state, started)
}

func fakeProc(t *testing.T, boot, space, stat string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"sys/kernel/random", "self/ns", "7"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "sys/kernel/random/boot_id"), []byte(boot+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(space, filepath.Join(root, "self/ns/pid")); err != nil {
		t.Fatal(err)
	}
	if stat != "" {
		if err := os.WriteFile(filepath.Join(root, "7/stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

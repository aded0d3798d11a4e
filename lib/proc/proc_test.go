package proc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheStartOfAProcessIsReadBehindItsName(t *testing.T) {
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2"
	if got, err := ParseStat([]byte(stat)); err != nil || got != (Stat{Parent: 1, Used: 5 + 6, Start: 987654}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1", "42 (x) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 never 1"} {
		if _, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if own, err := Start(os.Getpid()); err != nil || own == 0 {
		t.Errorf("own start %d, %v", own, err)
	}
}

func TestNothingOutsideTheContainerIsReached(t *testing.T) {
	// The own root stands in for a container's; what counts is what may be opened there.
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFIFO(os.Getpid(), fifo, "c"); err == nil || !strings.Contains(err.Error(), "nobody reads") {
		t.Errorf("a pipe that nobody reads: %v", err)
	}
	if err := WriteFIFO(os.Getpid(), file, "c"); err == nil || !strings.Contains(err.Error(), "no named pipe") {
		t.Errorf("a file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "text" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if _, err := Read(os.Getpid(), dir); err == nil {
		t.Error("a folder was read as a file")
	}
	if _, err := Read(os.Getpid(), "/proc/self/root/etc/passwd"); err == nil {
		t.Error("a magic link was followed")
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := WriteFIFO(os.Getpid(), fifo, "c"); err != nil {
		t.Error(err)
	}
}

func TestAProcessWithoutNamespacesHasItsOwnPid(t *testing.T) {
	if got, err := Inner(os.Getpid()); err != nil || got <= 0 {
		t.Errorf("own pid %d, %v", got, err)
	}
}

func FuzzStartOfAProcess(f *testing.F) {
	f.Add([]byte("42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = ParseStat(text) })
}

func TestASocketIsFound(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := Open(os.Getpid(), name, unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

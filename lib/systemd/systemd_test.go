package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager listens as systemd does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return l
}

func TestTheManagerHearsWholeStates(t *testing.T) {
	m := manager(t)
	u, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		say  func() error
		want string
	}{
		{func() error { return u.Ready("follows 2 services") }, "READY=1\nSTATUS=follows 2 services"},
		{func() error { return u.Status("one\nWATCHDOG=1\x00") }, "STATUS=one WATCHDOG=1\x00"},
		{func() error { return u.Status(strings.Repeat("é", 500)) }, "STATUS=" + strings.Repeat("é", 100) + "…"},
		{u.Alive, "WATCHDOG=1"},
		{u.Stopping, "STOPPING=1"},
	} {
		if err := row.say(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		_ = m.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := m.Read(b)
		if err != nil || string(b[:n]) != row.want {
			t.Errorf("heard %q, %v, want %q", b[:n], err, row.want)
		}
	}
	m.Close()
	if err := u.Alive(); err == nil {
		t.Error("a manager that does not listen is no error")
	}
}

func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	u, err := Open()
	if err != nil || u.Every != 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	if err := u.Ready("x"); err != nil {
		t.Error(err)
	}
}

func TestTheWatchdogIsFedTwiceInItsTime(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if u, err := Open(); err != nil || u.Every != 15*time.Second {
		t.Errorf("%+v, %v, want each 15 s", u, err)
	}
	t.Setenv("WATCHDOG_PID", "1")
	if u, err := Open(); err != nil || u.Every != 0 {
		t.Errorf("%+v, %v: another process is meant", u, err)
	}
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := Open(); err == nil {
		t.Error("nonsense was taken")
	}
}

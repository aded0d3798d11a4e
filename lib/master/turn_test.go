package master

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// waiter is this test binary as a process that waits for events, again and again.
const waiter = "SVCKIT_TEST_WAITER"

func TestMain(m *testing.M) {
	if os.Getenv(waiter) != "" {
		runtime.LockOSThread()
		fd, err := unix.EpollCreate1(0)
		fmt.Println(unix.Gettid(), err)
		for {
			_, _ = unix.EpollWait(fd, make([]unix.EpollEvent, 1), -1)
		}
	}
	os.Exit(m.Run())
}

func TestAProcessIsToldWhileItWaitsForAnEventAndGoesOn(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), waiter+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	first, _, _ := strings.Cut(line, " ")
	thread, bad := strconv.Atoi(first)
	if err != nil || bad != nil {
		t.Fatalf("the process says %q", line)
	}
	for n := range 20 {
		told := 0
		if err := whileWaiting(t.Context(), thread, func() { told++ }); err != nil || told != 1 {
			t.Fatalf("time %d: told %d times, %v", n, told, err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", child.Process.Pid, thread))
	if err != nil || !strings.Contains(string(status), "TracerPid:\t0\n") || strings.Contains(string(status), "State:\tt") {
		t.Errorf("it is not alone again: %v\n%s", err, status)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	if err := whileWaiting(t.Context(), thread, func() { t.Error("told although it has ended") }); err != nil {
		t.Errorf("a process that has ended: %v", err)
	}
}

func TestCallsInWhichAWorkerWaits(t *testing.T) {
	for text, want := range map[string]bool{
		"232 0x4 0x7fff 0x1 0xffffffff 0x1 0x18 0x7fff 0x7f59\n": true, "281 0x4": true, "288 0x3": false, "running\n": false, "-1 0x7f 0x7f": false, "": false,
	} {
		if got := waits(text, "amd64"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if !waits("22 0x4", "arm64") || waits("232 0x4", "arm64") || waits("22 0x4", "mips") {
		t.Error("a call of another machine")
	}
}

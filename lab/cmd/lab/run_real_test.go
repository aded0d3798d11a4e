//go:build real

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lab/ground"
	"svckit/lab/setup"
)

func TestNextRunClearsWhatAKilledRunLeftAndNothingElse(t *testing.T) {
	shared := strings.TrimSpace(output(t, "docker", "--host", os.Getenv(ground.EngineVar), "run", "--detach", "--init", setup.BaseImage, "sleep", "600"))
	t.Cleanup(func() { output(t, "docker", "--host", os.Getenv(ground.EngineVar), "rm", "--force", shared) })
	lab := newLab(t)
	marker := filepath.Join(t.TempDir(), "up")
	run := lab.start(t, "sh", "-c", `docker run --detach --init `+setup.BaseImage+` sleep 600 && sleep 601 & setsid sleep 602 & while ! docker ps --quiet | grep .; do sleep 0.1; done; touch `+marker+`; wait`)
	await(t, marker)

	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
	if left := lab.traces(t); len(left) == 0 {
		t.Fatal("the killed run left nothing behind: the test would prove nothing")
	}
	said := lab.run(t, 0, "true")

	if !strings.Contains(said, "cleared what an earlier run left: ") {
		t.Errorf("it does not say that it cleared something:\n%s", said)
	}
	if left := lab.traces(t); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	if running := output(t, "docker", "--host", os.Getenv(ground.EngineVar), "ps", "--quiet", "--no-trunc", "--filter=id="+shared); strings.TrimSpace(running) != shared {
		t.Error("a container of another engine was stopped")
	}
}

func TestInterruptedRunLeavesNothingBehind(t *testing.T) {
	lab := newLab(t)
	marker := filepath.Join(t.TempDir(), "up")
	// The command does not care about signals, and neither does what it started.
	run := lab.start(t, "sh", "-c", `trap "" INT TERM; setsid sleep 600 & docker run --detach `+setup.BaseImage+` sleep 600; touch `+marker+`; exec tail -f /dev/null & wait; wait`)
	await(t, marker)
	second := lab.run(t, 14, "true")

	if err := run.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := run.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("exit of the interrupted run: %v, want 130", err)
	}

	if left := lab.traces(t); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	if !strings.Contains(second, "lab is running: process ") || !strings.Contains(second, "trap") {
		t.Errorf("a second run of the same name does not name the holder:\n%s", second)
	}
}

func TestRunEndsWithTheExitCodeOfItsCommand(t *testing.T) {
	lab := newLab(t)
	lab.run(t, 7, "sh", "-c", `[ -n "$SVCKIT_LAB_EXEC" ] && exit 7`)
	if left := lab.traces(t); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}

type labUnderTest struct{ bin, name string }

func newLab(t *testing.T) labUnderTest {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "lab")
	output(t, "go", "build", "-o", bin, ".")
	l := labUnderTest{bin: bin, name: "t" + strings.ToLower(rand.Text()[:8])}
	t.Cleanup(func() {
		if len(l.traces(t)) > 0 {
			l.run(t, 0, "true")
		}
	})
	return l
}

func (l labUnderTest) start(t *testing.T, command ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(l.bin, append([]string{"run", "--name", l.name, "--"}, command...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// run returns what the lab said.
func (l labUnderTest) run(t *testing.T, code int, command ...string) string {
	t.Helper()
	cmd := exec.Command(l.bin, append([]string{"run", "--name", l.name, "--"}, command...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Errorf("lab run %v: %v, want exit code %d\n%s", command, err, code, said.String())
	}
	return said.String()
}

// traces looks for everything of the lab without the lab's own code.
func (l labUnderTest) traces(t *testing.T) []string {
	t.Helper()
	own := "svckit-" + l.name
	var left []string
	for _, pattern := range []string{"/run/netns/" + own + "*", "/run/svckit-lab/" + l.name + "*", "/var/lib/svckit-lab/" + l.name + "*", "/sys/fs/cgroup/" + own + "*", "/sys/fs/cgroup/*/" + own + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/"+l.name+"/") || strings.Contains(line, own) {
			left = append(left, "mount "+strings.Fields(line)[4])
		}
	}
	return append(left, l.processes(t)...)
}

// processes finds those with the lab's name in their command, environment or control groups.
func (l labUnderTest) processes(t *testing.T) []string {
	t.Helper()
	var left []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		command, _ := os.ReadFile(dir + "/cmdline")
		env, _ := os.ReadFile(dir + "/environ")
		groups, _ := os.ReadFile(dir + "/cgroup")
		if len(command) == 0 { // a zombie, which holds nothing and is its parent's to reap
			continue
		}
		if bytes.Contains(command, []byte("/"+l.name+"/")) || bytes.Contains(env, []byte("SVCKIT_LAB="+l.name+"\x00")) || bytes.Contains(groups, []byte("/svckit-"+l.name)) {
			left = append(left, "process "+string(bytes.ReplaceAll(command, []byte{0}, []byte(" "))))
		}
	}
	return left
}

func output(t *testing.T, command ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, stderr.String())
	}
	return stdout.String()
}

func await(t *testing.T, file string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	t.Fatalf("%s did not appear in 5 minutes", file)
}

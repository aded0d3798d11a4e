//go:build real

package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/ground"
)

// holds is the variable by which a test starts this test binary as a process that makes a fleet and waits to be killed; its
// value is the file to write then.
const holds = "SVCKIT_TEST_HOLDS_FLEET"

func TestMain(m *testing.M) {
	if file := os.Getenv(holds); file != "" {
		fmt.Fprintln(os.Stderr, hold(file))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func hold(file string) error {
	place, err := ground.NewPlace(os.Getenv(ground.NameVar))
	if err != nil {
		return err
	}
	parts, err := lab.FleetParts()
	if err != nil {
		return err
	}
	f, err := ground.StartFleet(context.Background(), place, parts, ground.Datacenter{Hosts: 1})
	if err != nil {
		return err
	}
	h := f.Hosts[0]
	if err := h.Command(context.Background(), "sh", "-c", "docker run --detach --init "+lab.BaseImage+" sleep 600; sleep 601 &").Run(); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", []byte(h.Namespace()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	select {}
}

func TestNextFleetClearsWhatAKilledTestLeft(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "up")
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holds+"="+file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var namespace string
	await(t, 5*time.Minute, "another process has a fleet", func() error {
		text, err := os.ReadFile(file)
		namespace = string(text)
		return err
	})
	before := inode(t, namespace)
	beside := lab.NewFleet(t, lab.Datacenter{Hosts: 1, Bare: true}) // one that runs is left alone
	if len(inside(before)) < 4 {
		t.Errorf("on the host of the other process run only %v", inside(before))
	}

	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	left := inside(before)
	if mounts := mountsOf(t, namespace); len(left) == 0 || mounts == 0 {
		t.Fatal("the killed process left nothing behind: the test would prove nothing")
	}
	next := lab.NewFleet(t, lab.Datacenter{Hosts: 1, Bare: true})

	for pid, name := range left {
		// The namespace tells nothing now: the kernel gives its number to the next one.
		if now, _ := os.ReadFile("/proc/" + pid + "/comm"); strings.TrimSpace(string(now)) == name {
			t.Errorf("left of the host: process %s, %s", pid, name)
		}
	}
	if mounts := mountsOf(t, namespace); mounts > 0 {
		t.Errorf("%d mounts of its containers are there still", mounts)
	}
	for _, f := range []*lab.Fleet{beside, next} {
		f.Hosts[0].AwaitJoined(t)
	}
}

// mountsOf counts what an engine has mounted for its containers.
func mountsOf(t *testing.T, namespace string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(table), "/"+strings.TrimPrefix(filepath.Base(namespace), "svckit-")+"/docker/overlay2/")
}

// inode names a network namespace.
func inode(t *testing.T, file string) string {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(file, &s); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("net:[%d]", s.Ino)
}

// inside are the processes in a network namespace, pid → name.
func inside(namespace string) map[string]string {
	names := map[string]string{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == namespace {
			dir := filepath.Dir(filepath.Dir(link))
			name, _ := os.ReadFile(dir + "/comm")
			names[filepath.Base(dir)] = strings.TrimSpace(string(name))
		}
	}
	return names
}

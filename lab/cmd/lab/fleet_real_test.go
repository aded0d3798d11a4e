//go:build real

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Two fleets run beside each other; one is killed, and only what is its own is cleared.
func TestFleetIsKeptUntilItIsTakenDownAndLeavesNothing(t *testing.T) {
	killed, asked := newFleetByHand(t), newFleetByHand(t)
	var wait sync.WaitGroup
	for _, f := range []*fleetByHand{killed, asked} {
		wait.Go(func() { f.up(t) })
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, command := range [][]string{
		{"on", "--name", killed.name, "node1", "sh", "-c", `docker run --detach --init svckit/base:bookworm sleep 600 && sleep 601 >/dev/null 2>&1 &`},
		{"host", "--name", killed.name, "node1", "cut"},
		{"host", "--name", asked.name, "srv1", "kill"},
		{"host", "--name", asked.name, "srv1", "start"},
	} {
		output(t, append([]string{killed.bin}, command...)...)
	}
	if said, err := exec.Command(asked.bin, "host", "--name", asked.name, "node1", "start").CombinedOutput(); err == nil || !strings.Contains(string(said), "it is running") {
		t.Errorf("a host that runs was started: %v %s", err, said)
	}

	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	if len(killed.traces(t)) == 0 {
		t.Fatal("the killed fleet left nothing behind: the test would prove nothing")
	}
	output(t, killed.bin, "down", "--name", killed.name)
	if left := killed.traces(t); len(left) > 0 {
		t.Errorf("left of the fleet that was killed: %s", strings.Join(left, ", "))
	}

	// The shell reads the variable on the host.
	nodes := output(t, asked.bin, "on", "--name", asked.name, "node1", "sh", "-c", `curl -fsS $CONSUL_HTTP_ADDR/v1/catalog/nodes && docker info --format=ENGINE`)
	if !strings.Contains(nodes, `"Node":"node1"`) || !strings.Contains(nodes, "ENGINE") {
		t.Errorf("on a host of the other fleet: %s", nodes)
	}
	output(t, asked.bin, "down", "--name", asked.name)
	var exit *exec.ExitError
	if err := asked.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 143 {
		t.Errorf("the fleet that was asked to end: %v, want exit 143", err)
	}
	if left := asked.traces(t); len(left) > 0 {
		t.Errorf("left of the fleet that was asked to end: %s", strings.Join(left, ", "))
	}
}

// All processes of machines end with the one that made them, by themselves.
func TestKilledFleetOfMachinesLeavesNoProcess(t *testing.T) {
	dir := t.TempDir()
	f := newFleetByHand(t, "--machines", "--servers", "0", "--ansible", dir)
	f.up(t)
	if t.Failed() {
		t.FailNow()
	}
	if err := os.WriteFile(dir+"/ping.yml", []byte("- hosts: svckit_nodes\n  tasks: [{ansible.builtin.ping: {}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := output(t, dir+"/play", dir+"/ping.yml"); !strings.Contains(said, "ok: [node1]") {
		t.Errorf("a playbook by the inventory said %s", said)
	}
	output(t, f.bin, "on", "--name", f.name, "node1", "sh", "-c", "systemctl start docker && docker run --detach --init svckit/base:bookworm sleep 600")
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = f.cmd.Wait()
	for end := time.Now().Add(5 * time.Minute); len(f.processes(t)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 5 minutes there are: %s", strings.Join(f.processes(t), ", "))
		}
	}
	output(t, f.bin, "down", "--name", f.name)
	if left := f.traces(t); len(left) > 0 {
		t.Errorf("left: %s", strings.Join(left, ", "))
	}
}

// fleetByHand is a process that keeps a fleet.
type fleetByHand struct {
	labUnderTest
	cmd  *exec.Cmd
	said *os.File
}

func newFleetByHand(t *testing.T, more ...string) *fleetByHand {
	f := &fleetByHand{labUnderTest: newLab(t)}
	var err error
	if f.said, err = os.Create(t.TempDir() + "/said"); err != nil {
		t.Fatal(err)
	}
	f.cmd = exec.Command(f.bin, append([]string{"fleet", "--name", f.name, "--hosts", "1", "--servers", "1"}, more...)...)
	f.cmd.Stdout, f.cmd.Stderr = f.said, f.said
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return f
}

// up starts the fleet and waits until it says how to look into its hosts.
func (f *fleetByHand) up(t *testing.T) {
	if err := f.cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(f.said.Name())
		if err != nil || time.Now().After(end) {
			t.Errorf("the fleet is not up: %v\n%s", err, text)
			return
		}
		if bytes.Contains(text, []byte("nsenter --net=/run/netns/svckit-"+f.name+".f0node1 env CONSUL_HTTP_ADDR=")) || bytes.Contains(text, []byte("ssh/config node1")) {
			return
		}
	}
}

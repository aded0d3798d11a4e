// Package play runs the playbooks of ansible/ on a fleet of the lab's machines, by Debian's ansible-playbook and over ssh.
package play

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"svckit/lab"
	"svckit/lab/inventory"
)

// Fleet is a fleet with an inventory and Ansible's settings in a folder of its own.
type Fleet struct {
	*lab.Fleet
	Dir string // inventory.yml, ansible.cfg, the programs in bin
}

// Start makes a fleet of machines and an inventory for it. Nothing is installed yet.
func Start(t testing.TB, more inventory.Vars, dcs ...lab.Datacenter) *Fleet {
	t.Helper()
	for n := range dcs {
		dcs[n].Machines = true
	}
	dir, err := os.MkdirTemp("", "play") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	f := &Fleet{Fleet: lab.NewFleet(t, dcs...), Dir: dir}
	root := build(t, dir+"/bin")
	fleet := inventory.Fleet{
		SSHConfig: f.SSHConfig(), Registry: f.Registry, Collection: root + "/ansible", Programs: dir + "/bin", Consul: lab.ConsulBinary(t),
	}
	for _, h := range f.Hosts {
		fleet.Hosts = append(fleet.Hosts, inventory.Host{Name: h.Name(), Addr: h.Addr(), DC: h.DC(), Zone: h.Zone()})
	}
	if err := inventory.Write(dir, fleet, more); err != nil {
		t.Fatal(err)
	}
	return f
}

// build makes the programs and returns the project's folder.
func build(t testing.TB, into string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if err := os.MkdirAll(into, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", into+"/", "./cmd/...")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build programs: %v\n%s", err, out)
	}
	return root
}

// Recap is what a playbook came to.
type Recap struct {
	Changed map[string]int // tasks by host
	Failed  map[string]int // those that failed, and hosts that were not reached
	Out     string
	Err     error // of ansible-playbook
}

// Try runs a playbook, e.g. "site" of our collection or a file, and tells what it came to.
func (f *Fleet) Try(t testing.TB, playbook string, args ...string) Recap {
	t.Helper()
	cmd := f.Command(t, playbook, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	r := read(out.String())
	r.Err = err
	return r
}

// Command is a run of a playbook that is not started yet; it is killed with the test.
func (f *Fleet) Command(t testing.TB, playbook string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), f.Dir+"/play", append([]string{playbook}, args...)...)
	cmd.Dir = f.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run runs a playbook that has to succeed.
func (f *Fleet) Run(t testing.TB, playbook string, args ...string) Recap {
	t.Helper()
	r := f.Try(t, playbook, args...)
	if r.Err != nil {
		t.Fatalf("%s %s: %v\n%s", playbook, strings.Join(args, " "), r.Err, r.Out)
	}
	return r
}

// Same runs a playbook that has to find nothing to change.
func (f *Fleet) Same(t testing.TB, playbook string, args ...string) {
	t.Helper()
	if r := f.Run(t, playbook, args...); r.Total() > 0 {
		t.Errorf("%s %s again: changed %v\n%s", playbook, strings.Join(args, " "), r.Changed, r.Out)
	}
}

// Total counts the tasks that changed something.
func (r Recap) Total() (n int) {
	for _, c := range r.Changed {
		n += c
	}
	return n
}

// read reads the recap at the end of what ansible-playbook prints.
func read(out string) Recap {
	r := Recap{Changed: map[string]int{}, Failed: map[string]int{}, Out: out}
	line := regexp.MustCompile(`(?m)^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)`)
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		number := func(s string) int { n, _ := strconv.Atoi(s); return n } // it is digits
		r.Changed[m[1]], r.Failed[m[1]] = number(m[2]), number(m[3])+number(m[4])
	}
	return r
}

// Package play runs the playbooks of ansible/ on a fleet of the lab's machines, by Debian's ansible-playbook and over ssh.
package play

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"svckit/lab"
)

// Secret is that of every fleet that is played on; tokens and keys are made from it.
const Secret = "7c0f4f0e-1a57-4f0c-9d0e-2f8f5f1f9f11"

// Fleet is a fleet with an inventory and Ansible's settings in a folder of its own.
type Fleet struct {
	*lab.Fleet
	Dir string // inventory.yml, ansible.cfg, the programs in bin
}

// Vars are variables of the inventory: a host's name, or "all", and what it has.
type Vars map[string]map[string]any

// Start makes a fleet of machines and an inventory for it: the first three hosts of a datacenter, or the only one, are its
// Consul servers; the first two hosts of all have planners. Nothing is installed yet.
func Start(t testing.TB, more Vars, dcs ...lab.Datacenter) *Fleet {
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
	if err := os.MkdirAll(dir+"/ansible_collections/svckit", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root+"/ansible", dir+"/ansible_collections/svckit/svckit"); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`[defaults]
collections_path = %[1]s
inventory = %[1]s/inventory.yml
forks = 8
gathering = explicit
interpreter_python = /usr/bin/python3
local_tmp = %[1]s/tmp
nocolor = true
[ssh_connection]
pipelining = true
control_path_dir = %[1]s
ssh_args = -F %[2]s -o ControlMaster=auto -o ControlPersist=60s
`, dir, f.SSHConfig())
	inventory, err := json.MarshalIndent(f.inventory(t, more), "", "  ") // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"ansible.cfg": []byte(config), "inventory.yml": inventory} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
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

// inventory has the groups that the playbooks want.
func (f *Fleet) inventory(t testing.TB, more Vars) map[string]any {
	t.Helper()
	all := map[string]any{
		"svckit_secret": Secret, "svckit_bin": f.Dir + "/bin", "consul_binary": lab.ConsulBinary(t),
		"docker_insecure_registries": []string{f.Registry}, "svckit_pool": "production",
	}
	maps.Copy(all, more["all"])
	servers, nodes, planners, seen := map[string]any{}, map[string]any{}, map[string]any{}, map[string]int{}
	for _, h := range append(f.Servers, f.Hosts...) {
		seen[h.DC()]++
	}
	rank := map[string]int{}
	for n, h := range f.Hosts {
		vars := map[string]any{"ansible_host": h.Addr(), "consul_datacenter": h.DC(), "svckit_zone": h.Zone()}
		maps.Copy(vars, more[h.Name()])
		nodes[h.Name()] = vars
		if rank[h.DC()]++; rank[h.DC()] <= 3 && seen[h.DC()] >= 3 || rank[h.DC()] == 1 && seen[h.DC()] < 3 {
			servers[h.Name()] = nil
		}
		if n < 2 {
			planners[h.Name()] = nil
		}
	}
	hosts := func(h map[string]any) map[string]any { return map[string]any{"hosts": h} }
	return map[string]any{"all": map[string]any{"vars": all, "children": map[string]any{
		"consul_servers": hosts(servers), "svckit_nodes": hosts(nodes), "svckit_planners": hosts(planners),
	}}}
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
	if !strings.Contains(playbook, "/") {
		playbook = "svckit.svckit." + playbook
	}
	cmd := exec.CommandContext(t.Context(), "ansible-playbook", append([]string{playbook}, args...)...)
	cmd.Dir = f.Dir
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+f.Dir+"/ansible.cfg", "ANSIBLE_HOME="+f.Dir+"/home", "LC_ALL=C.UTF-8")
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

//go:build real

package main

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// cgroup reads a limit of a container where the kernel keeps it: with version 1
// of control groups below the controller's folder, with version 2 below the one there is.
func (r *rig) cgroup(id, controller, v1, v2 string) string {
	r.t.Helper()
	text, err := os.ReadFile("/proc/" + r.pid(id) + "/cgroup")
	if err != nil {
		r.t.Fatal(err)
	}
	file := ""
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case slices.Contains(strings.Split(parts[1], ","), controller):
			file = path.Join("/sys/fs/cgroup", controller, parts[2], v1)
		case parts[0] == "0" && file == "":
			file = path.Join("/sys/fs/cgroup", parts[2], v2)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(got))
}

func (r *rig) pid(id string) string { return r.docker("inspect", "--format", "{{.State.Pid}}", id) }

// cores is where the kernel lets a container's processes run now.
func (r *rig) cores(id string) string {
	r.t.Helper()
	text, err := os.ReadFile("/proc/" + r.pid(id) + "/status")
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "Cpus_allowed_list:")
	return strings.Fields(rest)[0]
}

// of returns the instances of one service, oldest first.
func (r *rig) of(service string) []fleet.Instance {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, service)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

const resourceSpec = `
app: %s
build: {image: %s}
services:
  loose:
    kind: daemon
    check: {min_healthy: 200ms, deadline: 20s}
    stop: {timeout: 1s, drain: 0s}
    resources: {cpu: 0.25, memory: 64MiB}
  bound:
    kind: daemon
    overlap: false
    check: {min_healthy: 200ms, deadline: 20s}
    stop: {timeout: 1s, drain: 0s}
    resources: {cpu: BOUND, cpu_binding: true}
  huge:
    kind: daemon
    overlap: false
    check: {min_healthy: 200ms, deadline: 20s}
    stop: {timeout: 1s, drain: 0s}
    resources: {HUGE}
`

func resources(bound, huge string) string {
	return strings.Replace(strings.Replace(resourceSpec, "BOUND", bound, 1), "HUGE", huge, 1)
}

// The engine is the test's own: cores are a matter of the whole node.
func TestCoresAndMemoryActInTheContainersCgroup(t *testing.T) {
	r := newRigBeside(t)
	r.release("r1", "idle", resources("1", "memory: 4TiB"))
	info, err := r.engine.Info(t.Context())
	if err != nil || info.CPUs < 2 {
		t.Fatalf("%d cores, %v: this test needs 2 or more", info.CPUs, err)
	}
	last := info.CPUs - 1
	every, rest := fmt.Sprintf("0-%d", last), fmt.Sprintf("1-%d", last)
	if last == 1 {
		rest = "1"
	}
	r.must("up", r.app+"/loose")
	loose := r.of("loose")[0].ID
	if quota := r.cgroup(loose, "cpu", "cpu.cfs_quota_us", "cpu.max"); !strings.HasPrefix(quota, "25000") {
		t.Errorf("quota %q, want 25000 of 100000", quota)
	}
	if memory := r.cgroup(loose, "memory", "memory.limit_in_bytes", "memory.max"); memory != "67108864" {
		t.Errorf("memory %q", memory)
	}
	if got := r.cores(loose); got != every {
		t.Errorf("nothing is bound, and it runs on %s, want %s", got, every)
	}

	// One core alone: it leaves the other container's set, before the new one starts.
	r.must("up", r.app+"/bound")
	bound := r.of("bound")[0]
	if got := r.cores(bound.ID); got != "0" || bound.Exclusive != 1 {
		t.Errorf("the bound one runs on %s, %d exclusive", got, bound.Exclusive)
	}
	if got := r.cores(loose); got != rest {
		t.Errorf("the unbound one runs on %s, want %s", got, rest)
	}
	if again := decode[here.Outcome](t, r.must("up", r.app+"/loose", "--json").stdout); again.Changed {
		t.Errorf("being moved made it outdated: %+v", again.Steps)
	}

	// A request that does not fit is refused while everything is as it was.
	for _, row := range []struct{ service, text, want string }{
		{"bound", resources("2", "cpu: 1"), "of 2 cores are free"},
		{"huge", resources("1", "memory: 4TiB"), "memory 4194304 MiB: the node has"},
		{"huge", resources("1", "cpu: 1000"), "allocate 1000 cores: the node has"},
	} {
		r.builds++
		name := fmt.Sprintf("x%d", r.builds)
		r.release(name, "idle", row.text)
		got := r.run("up", r.app+"/"+row.service, "--release", name)
		if got.code != int(fault.Refused) || info.CPUs == 2 && !strings.Contains(got.stderr, row.want) {
			t.Errorf("%s %s: exit %d, want 17 and %q\n%s", row.service, name, got.code, row.want, got.stderr)
		}
		if i := r.of("bound"); len(i) != 1 || i[0].ID != bound.ID || i[0].State != fleet.Running || !i[0].StartedAt.Equal(bound.StartedAt) {
			t.Errorf("the refused run touched it: %+v", i)
		}
		if len(r.of("huge")) != 0 {
			t.Error("the refused run made a container")
		}
	}

	// Stop-first, the new one gets the cores of the one it replaces.
	r.release("r2", "idle", resources("1", "cpu: 1"))
	r.must("up", r.app+"/bound", "--release", "r2")
	if got := r.of("bound"); len(got) != 1 || r.cores(got[0].ID) != "0" {
		t.Errorf("after the replacement: %+v", got)
	}
	r.must("down", r.app+"/bound")
	if got := r.cores(loose); got != every {
		t.Errorf("nothing is bound any more, and it runs on %s, want %s", got, every)
	}
}

func TestExclusiveAndFragmentCoreOfOneContainer(t *testing.T) {
	r := newRigBeside(t)
	r.release("r1", "idle", resources("1.5", "cpu: 0.5, cpu_binding: true"))
	info, err := r.engine.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fragment := fmt.Sprint(info.CPUs - 1)
	r.must("up", r.app+"/bound")
	bound := r.of("bound")[0]
	if want := "0," + fragment; r.cores(bound.ID) != strings.Replace(want, "0,1", "0-1", 1) || bound.Exclusive != 1 || fmt.Sprint(bound.Cores) != fmt.Sprintf("[0 %s]", fragment) {
		t.Errorf("cores %s, label %v, %d exclusive", r.cores(bound.ID), bound.Cores, bound.Exclusive)
	}
	if quota := r.cgroup(bound.ID, "cpu", "cpu.cfs_quota_us", "cpu.max"); !strings.HasPrefix(quota, "150000") {
		t.Errorf("quota %q, want 150000 of 100000", quota)
	}
	r.must("up", r.app+"/huge")
	half := r.of("huge")[0]
	if got := r.cores(half.ID); got != fragment || half.Exclusive != 0 {
		t.Errorf("the other half of core %s: runs on %s, %d exclusive", fragment, got, half.Exclusive)
	}
	r.must("up", r.app+"/loose")
	if got := r.cores(r.of("loose")[0].ID); strings.HasPrefix(got, "0") {
		t.Errorf("an unbound container runs on %s, where core 0 is owned", got)
	}
}

func TestContainersAskTheNodesDNS(t *testing.T) {
	r := newRig(t)
	r.set("SVC_CONTAINER_DNS", "169.254.20.10,192.0.2.53")
	r.release("r1", "good", plainSpec)
	r.must("up", r.service())
	got := r.get("/file?/etc/resolv.conf")
	var servers []string
	for line := range strings.Lines(got) {
		if server, ok := strings.CutPrefix(strings.TrimSpace(line), "nameserver "); ok {
			servers = append(servers, server)
		}
	}
	if !slices.Equal(servers, []string{"169.254.20.10", "192.0.2.53"}) {
		t.Errorf("resolv.conf\n%s", got)
	}
}

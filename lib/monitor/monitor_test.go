package monitor

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

func TestTheListenQueueOfAPortIsRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("GET")); err != nil {
			t.Fatal(err)
		}
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	// What was sent is in the queue of the socket once it is there at all.
	if err := accepted.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := accepted.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d, err := openDiag(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if got, err := d.listening(port); err != nil || got != (listening{true, 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.listening(1); err != nil || got.open {
		t.Errorf("a port without anybody: %+v, %v", got, err)
	}
	if n, err := unread(os.Getpid(), port); err != nil || n != 1 {
		t.Errorf("%d accepted ones are unread, %v", n, err)
	}
}

func TestOnlyAcceptedConnectionsOfThePortAreUnread(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:1F40 0100007F:C001 01 00000000:00000040 00:00000000 00000000     0        0 7 1 0
   2: 0100007F:1F40 0100007F:C002 01 00000000:00000040 00:00000000 00000000     0        0 0 1 0
   3: nonsense
   4: 0100007F:1F40 0100007F:C003 08 00000000:00000001 00:00000000 00000000     0        0 8 1 0
   5: 0100007F:1F41 0100007F:C004 01 00000000:00000001 00:00000000 00000000     0        0 9 1 0
   6: 0100007F:1F40 0100007F:C005 01 00000000:00000000 00:00000000 00000000     0        0 10 1 0
`
	if got := unreadIn(strings.NewReader(text), 8000); got != 2 {
		t.Errorf("%d unread, want 2", got)
	}
}

func FuzzSockets(f *testing.F) {
	f.Add("x\n 0: 0:1F40 0:0 0A 0:5 0 0 0 0 1")
	f.Fuzz(func(t *testing.T, text string) {
		if n := unreadIn(strings.NewReader(text), 8000); n < 0 {
			t.Errorf("%d unread", n)
		}
		var l listening
		l.add([]byte(text), 8000)
		if l.waiting < 0 {
			t.Errorf("%+v", l)
		}
	})
}

func TestTheCgroupOfAContainerIsFoundInBothVersions(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("cpu,cpuacct/docker/abc/cpuacct.usage", "2500000000\n")
	put("memory/docker/abc/memory.usage_in_bytes", "3000\n")
	put("memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n")
	put("v2/system.slice/docker-abc.scope/cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
	put("v2/system.slice/docker-abc.scope/memory.current", "5000\n")
	put("v2/system.slice/docker-abc.scope/memory.stat", "anon 1\ninactive_file 6000\n")
	v1 := "31 25 0:26 / " + root + "/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 25 0:27 / " + root + "/memory rw shared:9 - cgroup cgroup rw,memory\n33 25 0:28 / " + root + "/unified rw - cgroup2 cgroup2 rw\nbad line\n"
	v2 := "31 25 0:26 / " + root + "/v2 rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
	for name, row := range map[string]struct {
		mounts, group string
		cpu           float64
		memory        int64
	}{
		"v1": {v1, "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n", 2.5, 2000},
		"v2": {v2, "0::/system.slice/docker-abc.scope\n", 1.5, 0},
	} {
		g, err := findCgroups(row.mounts).groupOf(row.group)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cpu, err1 := g.cpu()
		memory, err2 := g.memory()
		if cpu != row.cpu || memory != row.memory || err1 != nil || err2 != nil {
			t.Errorf("%s: %g cores-s, %d bytes, %v, %v", name, cpu, memory, err1, err2)
		}
	}
	if _, err := findCgroups(v2).groupOf("0::/../../etc\n"); err == nil {
		t.Error("a path that leaves the cgroups was taken")
	}
}

// target is a service whose container is a process of this node.
func target(pid int) Target {
	return Target{Known: true, Service: spec.Service{Master: spec.NoMaster}, Instance: fleet.Instance{ID: "c1", Name: "a-web-1", App: "a", Service: "web", Release: "r1", PID: pid}}
}

func open(t *testing.T, stats Stats) *Monitor {
	t.Helper()
	m, err := Open(stats)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheNodeAndAContainerAreRead(t *testing.T) {
	m := open(t, nil)
	got, lost := m.Read(t.Context(), time.Now(), []Target{target(os.Getpid())})
	if lost != nil || len(got.Services) != 1 || len(got.Services[0].Instances) != 1 {
		t.Fatalf("%+v, lost %v", got, lost)
	}
	n, i := got.Node, got.Services[0].Instances[0]
	if !n.Known || n.CPUs < 1 || n.Memory <= n.MemoryIn || n.MemoryIn <= 0 || n.CPU <= 0 {
		t.Errorf("node %+v", n)
	}
	if i.Missing || i.Ready != 1 || i.Source != sample.Silent || got.Services[0].Release != "r1" {
		t.Errorf("%+v", got.Services[0])
	}
}

func TestAContainerWhoseProcessEndedIsLost(t *testing.T) {
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	m := open(t, nil)
	if got, lost := m.Read(t.Context(), time.Now(), []Target{target(child.Process.Pid)}); lost != nil || got.Services[0].Instances[0].Missing {
		t.Errorf("it runs: %+v, lost %v", got.Services, lost)
	}
	_ = in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	got, lost := m.Read(t.Context(), time.Now(), []Target{target(child.Process.Pid)})
	if len(lost) != 1 || lost[0] != "c1" || !got.Services[0].Instances[0].Missing || len(got.Services[0].Errors) != 1 {
		t.Errorf("it has ended: %+v, lost %v", got.Services, lost)
	}
}

// masterOf is this process as a master; its workers are its children.
func masterOf(t *testing.T, kind spec.Master) Target {
	t.Helper()
	start, err := proc.Start(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	of := target(os.Getpid())
	of.Master = fleet.Master{PID: os.Getpid(), Started: start}
	of.Service = spec.Service{Master: kind, Scale: spec.Scale{Unit: "workers", StartUp: time.Hour}}
	return of
}

func TestUwsgiTellsOfItsWorkers(t *testing.T) {
	var fail error
	asked := 0
	m := open(t, func(context.Context, Target) (fleet.Served, error) {
		asked++
		return fleet.Served{Waiting: 7, Workers: []fleet.ServedWorker{
			{ID: 1, PID: 5, Ready: true, Slots: 2, Active: 1, Requests: 10, Seconds: 2},
			{ID: 2, PID: 6, Slots: 2},
			{ID: 3, Slots: 2, Requests: 4, Seconds: 1},
		}}, fail
	})
	of := masterOf(t, spec.UWSGI)
	of.Stats = "/tmp/stats"
	got, _ := m.Read(t.Context(), time.Now(), []Target{of})
	i := got.Services[0].Instances[0]
	if i.Source != sample.Stats || i.Ready != 1 || i.Starting != 1 || i.Waiting != 7 || len(i.Workers) != 3 || i.Workers[0].Begun != 11 || i.Workers[0].Done != 10 {
		t.Errorf("%+v", i)
	}
	fail = errors.New("no answer")
	for k := range statsRest + 2 {
		got, _ = m.Read(t.Context(), time.Now(), []Target{of})
		if i := got.Services[0].Instances[0]; !i.Missing || len(got.Services[0].Errors) != 1 || !strings.HasSuffix(got.Services[0].Errors[0], "stats of uwsgi: no answer") {
			t.Errorf("round %d without an answer: %+v", k, got.Services[0])
		}
	}
	if asked != 3 {
		t.Errorf("a server that does not answer was asked %d times in %d rounds", asked-1, statsRest+2)
	}
}

func TestAWorkerWithoutAMarkServesWhenItIsOldEnough(t *testing.T) {
	const young = 1 << 33 // clock ticks after boot: in the far future
	for _, row := range []struct {
		name            string
		marks           []found
		workers         []worker
		ready, starting int
	}{
		{"young, no mark", nil, []worker{{11, young}}, 0, 1},
		{"old, no mark", nil, []worker{{11, 1}}, 1, 0},
		{"young, with a mark", []found{{pid: 11}}, []worker{{11, young}, {12, young}}, 1, 1},
	} {
		of := Target{Known: true, Service: spec.Service{Master: spec.Gunicorn, Scale: spec.Scale{Unit: "workers", StartUp: time.Second}}}
		var out sample.Instance
		serving(&out, of, look{marks: row.marks}, answer{}, listening{}, row.workers)
		if out.Ready != row.ready || out.Starting != row.starting {
			t.Errorf("%s: %+v", row.name, out)
		}
	}
}

func TestConnectionsWaitInThreadsOnlyWhereAllWork(t *testing.T) {
	marks := look{marks: []found{{1, mark{Active: 2, Slots: 2}}, {2, mark{Active: 1, Slots: 2}}}}
	if got := inThreads(marks, func() int { return 5 }); got != 0 {
		t.Errorf("a thread is idle: %d wait", got)
	}
	marks.marks[1].Active = 2
	if got := inThreads(marks, func() int { return 5 }); got != 5 {
		t.Errorf("all work: %d wait", got)
	}
}

//go:build real

package docker

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestAContainerIsCreatedStartedStoppedAndRemoved(t *testing.T) {
	e, name := testEngine(t)
	id, err := e.Create(t.Context(), plain(name))
	if err != nil {
		t.Fatal(err)
	}
	states := []fleet.State{state(t, e, id)}
	for _, step := range []func() error{
		func() error { return e.Start(t.Context(), id) },
		func() error { return e.Stop(t.Context(), id) },
		func() error { return e.Stop(t.Context(), id) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		states = append(states, state(t, e, id))
	}
	want := []fleet.State{fleet.Created, fleet.Running, fleet.Exited, fleet.Exited}
	for i := range want {
		if states[i] != want[i] {
			t.Errorf("states %v, want %v", states, want)
			break
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := e.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Errorf("stop of a container that is gone: %v", err)
	}
	if _, err := e.Instance(t.Context(), id); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("instance after remove: %v, want not found", err)
	}
}

func state(t *testing.T, e *Engine, id string) fleet.State {
	t.Helper()
	in, err := e.Instance(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return in.State
}

func TestAContainerThatExitsAtOnceIsSeenWithItsCode(t *testing.T) {
	e, name := testEngine(t)
	began := time.Now()
	id := startNew(t, e, plain(name, "sh", "-c", "exit 7"))
	eventually(t, time.Minute, "exit seen", func() bool { return state(t, e, id) == fleet.Exited })
	in, err := e.Instance(t.Context(), id)
	if err != nil || in.ExitCode != 7 {
		t.Errorf("exit code %d, %v, want 7", in.ExitCode, err)
	}
	t.Logf("seen %s after create", time.Since(began))
}

func TestRemoveWaitsForARemovalThatIsUnderWay(t *testing.T) {
	e, name := testEngine(t)
	id := startNew(t, e, plain(name))
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			err := e.Remove(t.Context(), id)
			if _, still := e.Instance(t.Context(), id); err == nil && !errors.Is(still, fleet.ErrNotFound) {
				err = errors.New("removed, and still there")
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAHostPortInUseIsNamedAsSuch(t *testing.T) {
	e, name := testEngine(t)
	port := lab.FreePorts(t, 1)[0]
	publish := func(n string) fleet.Container {
		c := plain(n)
		c.Ports = []fleet.PortMap{{Host: "127.0.0.1", HostPort: port, Container: 8000}}
		return c
	}
	first := startNew(t, e, publish(name+"-a"))
	second, err := e.Create(t.Context(), publish(name+"-b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), second); !errors.Is(err, fleet.ErrPortTaken) {
		t.Errorf("taken by a container: %v, want %v", err, fleet.ErrPortTaken)
	}
	if err := e.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), second); !errors.Is(err, fleet.ErrPortTaken) {
		t.Errorf("taken by a program: %v, want %v", err, fleet.ErrPortTaken)
	}
	_ = l.Close()
	if err := e.Start(t.Context(), second); err != nil {
		t.Errorf("when it is free: %v", err)
	}
}

func TestAPublishedPortIsReachedAndKeptOverARestart(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name, "python3", "-m", "http.server", "8000")
	port := lab.FreePorts(t, 1)[0]
	c.Ports = []fleet.PortMap{{Host: "127.0.0.1", HostPort: port, Container: 8000}}
	c.Labels[fleet.LabelAddress], c.Labels[fleet.LabelPort] = "127.0.0.1", strconv.Itoa(port)
	id := startNew(t, e, c)
	for range 2 {
		eventually(t, time.Minute, "answer", func() bool {
			in, err := e.Instance(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.Get("http://" + net.JoinHostPort(in.Address, strconv.Itoa(in.Port)) + "/")
			if err == nil {
				_ = res.Body.Close()
			}
			return err == nil && res.StatusCode == http.StatusOK
		})
		if err := e.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeCreatedLeavesNothingBehind(t *testing.T) {
	e, name := testEngine(t)
	rows := []struct {
		name   string
		change func(*fleet.Container)
		is     error
		kind   fault.Kind
		text   string
	}{
		{"image missing", func(c *fleet.Container) { c.Image = "svckit-dockertest/none:1" }, fleet.ErrNotFound, fault.NotFound, "image svckit-dockertest/none:1: not found"},
		{"network missing", func(c *fleet.Container) { c.Network = "svckit-dockertest-none" }, fleet.ErrNotFound, fault.NotFound, "network svckit-dockertest-none"},
		{"bind source missing", func(c *fleet.Container) {
			c.Mounts = []fleet.Mount{{Source: "/svckit-dockertest-none", Target: "/x"}}
		}, nil, fault.Failed, "bind source path does not exist: /svckit-dockertest-none"},
		{"folder in the place of a link", func(c *fleet.Container) { c.Links = map[string]string{"/etc": "/run/x"} }, nil, fault.Invalid, "link /etc: there is a folder in its place in the image"},
		{"file in the place of a link's folder", func(c *fleet.Container) { c.Links = map[string]string{"/etc/passwd/x": "/run/x"} }, nil, fault.Invalid, "/etc/passwd is not a folder in the image"},
		{"more cores than there are", func(c *fleet.Container) { c.Cores = []int{4000} }, nil, fault.Failed, "create container"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := plain(name)
			row.change(&c)
			_, err := e.Create(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), row.text) || fault.KindOf(err) != row.kind || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%s %v, want %s %q", fault.KindOf(err), err, row.kind, row.text)
			}
			if _, err := e.Instance(t.Context(), name); !errors.Is(err, fleet.ErrNotFound) {
				t.Errorf("after it: %v, want not found", err)
			}
		})
	}
}

func TestANameIsGivenOnce(t *testing.T) {
	e, name := testEngine(t)
	if _, err := e.Create(t.Context(), plain(name)); err != nil {
		t.Fatal(err)
	}
	_, err := e.Create(t.Context(), plain(name))
	if !errors.Is(err, fleet.ErrNameTaken) || fault.KindOf(err) != fault.Conflict {
		t.Errorf("%s %v, want %v", fault.KindOf(err), err, fleet.ErrNameTaken)
	}
	if _, err := e.Instance(t.Context(), name); err != nil {
		t.Errorf("the first is gone: %v", err)
	}
}

func TestStopUsesTheContainersOwnSignalAndTimeout(t *testing.T) {
	e, name := testEngine(t)
	t.Run("signal", func(t *testing.T) {
		c := plain(name+"-a", "sh", "-c", "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done")
		c.StopSignal, c.StopWait = "SIGUSR1", 20*time.Second
		id := startNew(t, e, c)
		eventually(t, time.Minute, "ready", func() bool { return tailOf(t, e, id) == "ready" })
		began := time.Now()
		if err := e.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		in, err := e.Instance(t.Context(), id)
		if err != nil || in.ExitCode != 42 {
			t.Errorf("exit code %d, %v, want 42", in.ExitCode, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %s: killed by the timeout", took)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		c := plain(name+"-b", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
		c.StopWait = time.Second
		id := startNew(t, e, c)
		eventually(t, time.Minute, "ready", func() bool { return tailOf(t, e, id) == "ready" })
		began := time.Now()
		if err := e.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second || took >= 10*time.Second {
			t.Errorf("took %s, want a little over 1s, and less than the engine's own 10s", took)
		}
		if in, err := e.Instance(t.Context(), id); err != nil || in.ExitCode != 137 {
			t.Errorf("exit code %d, %v, want 137", in.ExitCode, err)
		}
	})
}

func tailOf(t *testing.T, e *Engine, id string) string {
	t.Helper()
	got, err := e.Tail(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, "\n")
}

func TestLimitsActInTheContainersCgroup(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name)
	c.CPU, c.Cores, c.Memory, c.Restart = 0.25, []int{1}, 64<<20, "always"
	id := startNew(t, e, c)
	read := func(v1, v2 string) string {
		out, code := execIn(t, e, id, "", "sh", "-c", "cd /sys/fs/cgroup; cat "+v1+" 2>/dev/null || cat "+v2)
		if code != 0 {
			t.Fatalf("%s or %s: %s", v1, v2, out)
		}
		return out
	}
	if got := read("memory/memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory limit %q, want 67108864", got)
	}
	if got := read("cpu/cpu.cfs_quota_us", "cpu.max"); got != "25000" && got != "25000 100000" {
		t.Errorf("cpu quota %q, want 25000", got)
	}
	cores := func() string { return read("cpuset/cpuset.cpus", "cpuset.cpus.effective") }
	if got := cores(); got != "1" {
		t.Errorf("cores %q, want 1", got)
	}
	if err := e.UpdateCores(t.Context(), id, []int{1, 0}); err != nil {
		t.Fatal(err)
	}
	if got := cores(); got != "0-1" {
		t.Errorf("cores after the update %q, want 0-1", got)
	}
	if got := read("memory/memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory limit after the update %q, want 67108864", got)
	}
	if in, err := e.Instance(t.Context(), id); err != nil || in.Memory != 64<<20 || in.Restart != "always" {
		t.Errorf("memory %d, policy %q, %v after the update", in.Memory, in.Restart, err)
	}
	if err := e.UpdateCores(t.Context(), id, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no cores: %v, want invalid", err)
	}
}

func TestAContainerThatTakesTooMuchMemoryIsSeenAsKilled(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name, "python3", "-c", "x = bytearray(200 << 20)")
	c.Memory = 32 << 20
	id := startNew(t, e, c)
	eventually(t, time.Minute, "end", func() bool { return state(t, e, id) == fleet.Exited })
	if in, err := e.Instance(t.Context(), id); err != nil || !in.OOMKilled || in.ExitCode != 137 {
		t.Errorf("out of memory %v, exit code %d, %v", in.OOMKilled, in.ExitCode, err)
	}
}

func TestTheEngineRestartsACrashedContainerAlsoAfterAHUP(t *testing.T) {
	e, name := testEngine(t)
	c := plain(name, "sh", "-c", "trap 'echo hup' HUP; echo ready; while [ ! -e /crash ]; do sleep 0.05; done; rm /crash; exit 3")
	c.Restart = "on-failure"
	id := startNew(t, e, c)
	eventually(t, time.Minute, "ready", func() bool { return tailOf(t, e, id) == "ready" })
	if err := e.Signal(t.Context(), id, "HUP"); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "signal seen", func() bool { return tailOf(t, e, id) == "hup" })
	if out, code := execIn(t, e, id, "", "touch", "/crash"); code != 0 {
		t.Fatal(out)
	}
	eventually(t, time.Minute, "restart", func() bool {
		in, err := e.Instance(t.Context(), id)
		return err == nil && in.Restarts == 1 && in.State == fleet.Running
	})
	in, err := e.Instance(t.Context(), id)
	if err != nil || in.Restart != "on-failure" || in.StopSignal != "SIGTERM" {
		t.Errorf("policy %q, stop signal %q, %v", in.Restart, in.StopSignal, err)
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(t.Context(), id, "HUP"); err == nil || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("signal to a stopped container: %v", err)
	}
}

func TestTheContainersOfAServiceAreListedInOrder(t *testing.T) {
	e, name := testEngine(t)
	app := "dockertest-list"
	make := func(suffix, service, kind string) {
		c := plain(name + suffix)
		c.Env = map[string]string{"URL": "x y=z", "EMPTY": ""}
		c.Labels = map[string]string{fleet.LabelKind: kind, fleet.LabelApp: app, fleet.LabelService: service}
		if _, err := e.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	make("-c", "web", "service")
	make("-a", "web", "service")
	make("-b", "db", "service")
	make("-t", "web", "test")
	names := func(service string) []string {
		list, err := e.Instances(t.Context(), app, service)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, in := range list {
			out = append(out, strings.TrimPrefix(in.Name, name))
			if in.Env["URL"] != "x y=z" || len(in.Env) != 2 {
				t.Errorf("%s: env %v", in.Name, in.Env)
			}
		}
		return out
	}
	if got := names(""); !slices.Equal(got, []string{"-c", "-a", "-b"}) {
		t.Errorf("all services: %v, want -c -a -b", got)
	}
	if got := names("web"); !slices.Equal(got, []string{"-c", "-a"}) {
		t.Errorf("web: %v, want -c -a", got)
	}
	if got := names("none"); got != nil {
		t.Errorf("none: %v", got)
	}
}

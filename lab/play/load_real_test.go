//go:build real

package play

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// least is how many requests are answered from the beginning of a playbook on, half of them by a service that is found by SRV and
// half by one at a fixed port. Where a playbook ends before there were so many, the log says how many came until then.
const least = 50_000

// load is requests on both services of an app from a host, found by its svc-dns.
type load struct {
	t    *testing.T
	cmds []*exec.Cmd
	outs []*strings.Builder
}

// load puts load on app-web, by SRV, and on app-fixed at its port.
func (f *Fleet) load(t *testing.T, app string, port int) *load {
	t.Helper()
	h := f.host(t, "node4")
	if _, err := os.Stat(h.File("/usr/local/bin/load")); err != nil {
		program := filepath.Join(f.Dir, "load")
		cmd := exec.Command("go", "build", "-o", program, "svckit/lab/cmd/load")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build load: %v\n%s", err, out)
		}
		text, err := os.ReadFile(program)
		if err == nil {
			err = os.WriteFile(h.File("/usr/local/bin/load"), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &load{t: t}
	for _, args := range [][]string{{"http://" + app + "-web.service.consul/"}, {"-plain", fmt.Sprintf("http://%s-fixed.service.consul:%d/", app, port)}} {
		out := &strings.Builder{}
		// It gives way to everything else: Consul's servers run on the same processors, and lose their leader when they get none.
		cmd := h.Command(t, "nice", append([]string{"-n", "10", "load", "-dns", "127.0.0.1:53", "-for", "25m", "-rate", "1000", "-least", strconv.Itoa(least / 2)}, args...)...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.cmds, l.outs = append(l.cmds, cmd), append(l.outs, out)
	}
	return l
}

// stop ends the load once it has its least, and fails the test when a request was lost.
func (l *load) stop() {
	l.t.Helper()
	for _, cmd := range l.cmds {
		// nsenter stands between: the load itself is its child.
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		pid := cmd.Process.Pid
		if err == nil {
			_, _ = fmt.Sscan(string(children), &pid)
		}
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
			l.t.Error(err)
		}
	}
	for n, cmd := range l.cmds {
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("load: %v", err)
		}
		said := l.outs[n].String()
		found := regexp.MustCompile(`(\d+) requests answered, (\d+) failed`).FindStringSubmatch(said)
		if found == nil || found[2] != "0" {
			l.t.Errorf("load said\n%s", said)
			continue
		}
		if done, err := strconv.Atoi(found[1]); err != nil || done < least/2 {
			l.t.Errorf("load said\n%s, want %d requests at least", said, least/2)
		}
		l.t.Logf("%s: %s", cmd.Args[len(cmd.Args)-1], strings.TrimSpace(said))
	}
}

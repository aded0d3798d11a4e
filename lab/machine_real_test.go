//go:build real

package lab_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"svckit/lab"
)

func TestMachinesHaveASystemdFilesAndProcessesOfTheirOwn(t *testing.T) {
	f := lab.NewFleet(t, lab.Datacenter{Machines: true, Hosts: 2})
	one, two := f.Hosts[0], f.Hosts[1]
	on := func(h *lab.Host, line string) string {
		t.Helper()
		out, err := h.Command(t, "sh", "-euc", line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %s: %v\n%s", h.Name(), line, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	boots := func(h *lab.Host) {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			out, err := h.Command(t, "systemctl", "is-system-running").CombinedOutput()
			if err == nil && string(out) == "running\n" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v: %s\n%s", h.Name(), err, out, on(h, "systemctl --failed --no-pager"))
			}
		}
	}
	boots(one)
	boots(two)
	if got := on(one, "cat /proc/1/comm; hostname; ls /proc | grep -cx "+strconv.Itoa(os.Getpid())+" || true"); got != "systemd\nnode1\n0" {
		t.Errorf("first process, name, and processes of the test: %q", got)
	}
	const file = "/etc/of-one-machine-alone"
	on(one, "echo mine >"+file+"; echo gone >/run/gone")
	if text, err := os.ReadFile(one.File(file)); err != nil || string(text) != "mine\n" {
		t.Errorf("the test reads %q, %v", text, err)
	}
	for _, other := range []string{file, two.File(file)} {
		if _, err := os.Stat(other); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want that there is none", other, err)
		}
	}

	one.Kill(t)
	one.Start(t)
	boots(one)
	if got := on(one, "cat "+file+"; ls /run/gone 2>/dev/null || echo none"); got != "mine\nnone" {
		t.Errorf("after a power cut: %q", got)
	}
	// Every unit of Docker's starts, and a container runs.
	if got := on(one, "systemctl start docker && docker run --rm "+lab.BaseImage+" python3 -c 'print(6*7)'"); got != "42" {
		t.Errorf("a container says %q", got)
	}
}

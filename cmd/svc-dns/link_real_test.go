//go:build real

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"svckit/lab"
)

// resolves prints the addresses that a program in a container gets for a name from the C library.
const resolves = `import socket,sys
print(" ".join(sorted({a[4][0] for a in socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), socket.AF_INET, socket.SOCK_STREAM)})))`

// asksManyAtOnce asks 64 questions from one socket without waiting for answers, and prints how many came.
const asksManyAtOnce = `import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(15)
name = b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[1].split(".")) + b"\0"
for n in range(64):
    s.sendto(struct.pack(">HHHHHH", n, 256, 1, 0, 0, 0) + name + b"\0\1\0\1", ("169.254.20.10", 53))
print(len({s.recv(512)[:2] for _ in range(64)}))`

// One link-local address serves containers on a bridge, containers on the host's
// network, and the host; an app finds its cache by name, and goes on when one of
// two instances is killed.
func TestContainersFindEachOtherByNameAtTheLinkLocalAddress(t *testing.T) {
	t.Parallel()
	e := lab.NewEngine(t)
	agent := lab.ConsulIn(t, e)
	d := docker{t, e.Host}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	argv := slices.Concat(e.Prefix, []string{self, "serve", "--link", "169.254.20.10", "--metrics", "off", "--upstream", "127.0.0.1:9"})
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "CONSUL_HTTP_ADDR="+agent.URL(), "SVC_CONFIG=", "SVC_RUN_DIR="+lab.RunDir(t)+"/run", "SVC_STATE_DIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	const name = "cache.service.consul"
	var addresses []string
	for n := range 2 {
		id := fmt.Sprintf("cache%d", n)
		script := fmt.Sprintf("mkdir /w && printf %s >/w/name && cd /w && exec python3 -m http.server 6379", id)
		d.run("run", "--detach", "--init", "--name", id, lab.BaseImage, "sh", "-c", script)
		address := d.run("inspect", "--format", "{{.NetworkSettings.IPAddress}}", id)
		addresses = append(addresses, address)
		registerIn(t, e, agent, object{"ID": id, "Name": "cache", "Address": address, "Port": 6379, "Check": object{
			"TCP": address + ":6379", "Interval": "1s", "Timeout": "10s",
		}})
	}
	slices.Sort(addresses)
	both := strings.Join(addresses, " ")
	ask := func(network, script string) string {
		return d.run("run", "--rm", "--network", network, "--dns", "169.254.20.10", lab.BaseImage, "python3", "-c", script, name, "6379")
	}
	within(t, soon, "a container on the bridge finds both", func() error {
		if got, err := d.try("run", "--rm", "--dns", "169.254.20.10", lab.BaseImage, "python3", "-c", resolves, name, "6379"); err != nil || got != both {
			return fmt.Errorf("%q, want %q, error %w\n%s", got, both, err, log.String())
		}
		return nil
	})
	if got := ask("bridge", asksManyAtOnce); got != "64" { // over the bridge too, where the kernel cuts packets of several answers
		t.Errorf("%s of 64 questions at once are answered", got)
	}
	if got := ask("host", resolves); got != both {
		t.Errorf("a container on the host's network finds %q, want %q", got, both)
	}
	connects, err := os.ReadFile("../../examples/dns/client.py")
	if err != nil {
		t.Fatal(err)
	}
	if got := ask("bridge", string(connects)); !strings.Contains(got, "cache0:") || !strings.Contains(got, "cache1:") {
		t.Errorf("a client is answered by %q, want both", got)
	}
	d.run("kill", "cache0")
	within(t, soon, "the killed one is found no more", func() error {
		if got := ask("bridge", string(connects)); got != "cache1:60" {
			return fmt.Errorf("answered by %q", got)
		}
		return nil
	})

	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("TERM: %v\n%s", err, log.String())
	}
	argv = slices.Concat(e.Prefix, []string{"ip", "address", "show"})
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil || strings.Contains(string(out), "169.254.20.10") || strings.Contains(string(out), linkName) {
		t.Errorf("the address is still there: %s, error %v", out, err)
	}
}

func registerIn(t *testing.T, e *lab.Engine, agent *lab.Agent, service object) {
	t.Helper()
	sendBy(t, e.Client(), "PUT", agent.URL(), "/v1/agent/service/register", service)
}

// docker calls the engine of the test.
type docker struct {
	t    *testing.T
	host string
}

func (d docker) try(args ...string) (string, error) {
	cmd := exec.Command("docker", append([]string{"--host", d.host}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", args[0], err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

func (d docker) run(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

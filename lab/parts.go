// Package lab starts the real parts that tests, the demo and the benchmarks talk
// to: Consul agents, a registry, a Docker engine. Everything it starts listens
// on loopback only and is gone when its owner is.
package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// DockerHost returns the address of the engine that tests may use, and fails loudly without one.
func DockerHost(t testing.TB) string {
	t.Helper()
	host := os.Getenv("SVCKIT_TEST_DOCKER")
	if host == "" {
		t.Fatal("no test engine: run `make test`, or set SVCKIT_TEST_DOCKER to the socket of an engine that tests may use")
	}
	return host
}

// BaseImage is the image with Python, gunicorn and uWSGI that the test engine holds.
const BaseImage = "svckit/base:bookworm"

// RootToken is the token that the harness itself uses. A test with ACLs starts the agent with
// `acl { enabled = true, default_policy = "deny", tokens { initial_management = "<RootToken>" } }`.
const RootToken = "5f5e1f3c-0000-4000-8000-0000000000aa"

// Agent is one Consul agent in development mode.
type Agent struct {
	HTTP string // host:port of the API
	DNS  string // host:port of DNS, UDP and TCP
	Serf string // host:port of gossip, for -retry-join of another agent
	Node string
	args []string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// Consul starts an agent with ports of its own, waits until it can be written to, and kills it at the end of the test.
// More arguments (e.g. "-hcl", "acl { … }") are passed on.
func Consul(t testing.TB, args ...string) *Agent {
	t.Helper()
	ports := freePorts(t, 5)
	a := &Agent{
		HTTP: fmt.Sprintf("127.0.0.1:%d", ports[0]), DNS: fmt.Sprintf("127.0.0.1:%d", ports[1]),
		Serf: fmt.Sprintf("127.0.0.1:%d", ports[2]), Node: "node1",
		args: append([]string{"agent", "-dev", "-node=node1", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
			fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-dns-port=%d", ports[1]),
			fmt.Sprintf("-serf-lan-port=%d", ports[2]), "-serf-wan-port=-1", fmt.Sprintf("-server-port=%d", ports[3]),
			fmt.Sprintf("-grpc-port=%d", ports[4]), "-grpc-tls-port=-1", "-hcl", "connect { enabled = false }"}, args...),
	}
	a.Start(t)
	t.Cleanup(func() { a.Kill() })
	return a
}

// Start starts an agent that is not running.
func (a *Agent) Start(t testing.TB) {
	t.Helper()
	a.log.Reset()
	a.cmd = exec.Command(consulBinary(t), a.args...)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		t.Fatalf("start consul: %v", err)
	}
	if err := poll(20*time.Second, func() error { return a.writable() }); err != nil {
		a.Kill()
		t.Fatalf("consul at %s: %v\n%s", a.HTTP, err, a.log.String())
	}
}

// Kill ends the agent as a crash would. It is nothing to kill it twice.
func (a *Agent) Kill() {
	if a.cmd == nil || a.cmd.Process == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
	a.cmd = nil
}

// URL is the value for CONSUL_HTTP_ADDR.
func (a *Agent) URL() string { return "http://" + a.HTTP }

func (a *Agent) writable() error {
	req, err := http.NewRequest(http.MethodPut, a.URL()+"/v1/kv/lab-ready", strings.NewReader("1"))
	if err != nil {
		return err
	}
	req.Header.Set("X-Consul-Token", RootToken) // ignored without ACLs
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusForbidden {
		return fmt.Errorf("write: %s", res.Status)
	}
	req, _ = http.NewRequest(http.MethodDelete, a.URL()+"/v1/kv/lab-ready", nil)
	req.Header.Set("X-Consul-Token", RootToken)
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
	}
	// The node itself must be in the catalog before a service can be found.
	req, _ = http.NewRequest(http.MethodGet, a.URL()+"/v1/catalog/nodes", nil)
	req.Header.Set("X-Consul-Token", RootToken)
	if res, err = http.DefaultClient.Do(req); err != nil {
		return err
	}
	defer res.Body.Close()
	var nodes []json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&nodes); err != nil || res.StatusCode == http.StatusOK && len(nodes) == 0 {
		return fmt.Errorf("no node in the catalog yet: %v", err)
	}
	return nil
}

// Registry starts a registry without authentication in a folder of the test and returns host:port.
func Registry(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatal("no docker-registry on PATH: run `make setup`")
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start registry: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := poll(10*time.Second, func() error {
		res, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			res.Body.Close()
		}
		return err
	}); err != nil {
		t.Fatalf("registry: %v\n%s", err, log.String())
	}
	return address
}

func consulBinary(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("SVCKIT_TEST_CONSUL"); bin != "" {
		return bin
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(cache, "svckit", "bin", "consul-1.22.5")
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("no Consul for tests: run `make setup` (%v)", err)
	}
	return bin
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func poll(limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in %s: %w", limit, err)
		case <-tick.C:
		}
	}
}

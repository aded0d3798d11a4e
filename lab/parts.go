// Package lab starts the real parts that tests, the demo and the benchmarks talk
// to: Consul agents, a registry, a Docker engine. Everything it starts listens
// on loopback only and is gone when its owner is.
package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"svckit/lab/ground"
	"svckit/lab/setup"
)

// DockerHost returns the address of the engine that tests may use, and fails loudly without one.
func DockerHost(t testing.TB) string {
	t.Helper()
	host := os.Getenv(ground.EngineVar)
	if host == "" {
		t.Fatal("no test engine: run `make test`, or set SVCKIT_TEST_DOCKER to the socket of an engine that tests may use")
	}
	return host
}

// RootToken is the token that the harness itself uses. A test with ACLs starts the agent with
// `acl { enabled = true, default_policy = "deny", tokens { initial_management = "<RootToken>" } }`.
const RootToken = "5f5e1f3c-0000-4000-8000-0000000000aa"

// Agent is one Consul agent in development mode.
type Agent struct {
	HTTP string // host:port of the API
	DNS  string // host:port of DNS, UDP and TCP
	Serf string // host:port of gossip, for -retry-join of another agent
	Node string
	// Client reaches the agent; it matters for an agent in another network.
	Client *http.Client
	argv   []string
	cmd    *exec.Cmd
	log    bytes.Buffer
}

// Consul starts an agent with ports of its own, waits until it can be written to, and kills it at the end of the test.
// More arguments (e.g. "-hcl", "acl { … }") are passed on.
func Consul(t testing.TB, args ...string) *Agent {
	t.Helper()
	return newAgent(t, nil, http.DefaultClient, args)
}

// ConsulIn starts an agent in the network of an engine of the test's own.
func ConsulIn(t testing.TB, e *Engine, args ...string) *Agent {
	t.Helper()
	return newAgent(t, e.Prefix, e.Client(), args)
}

func newAgent(t testing.TB, prefix []string, client *http.Client, args []string) *Agent {
	t.Helper()
	ports := FreePorts(t, 5)
	a := &Agent{
		HTTP: fmt.Sprintf("127.0.0.1:%d", ports[0]), DNS: fmt.Sprintf("127.0.0.1:%d", ports[1]), Node: "node1", Client: client,
		Serf: fmt.Sprintf("127.0.0.1:%d", ports[2]),
		argv: slices.Concat(prefix, []string{
			ConsulBinary(t), "agent", "-dev", "-node=node1", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
			fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-dns-port=%d", ports[1]),
			fmt.Sprintf("-serf-lan-port=%d", ports[2]), "-serf-wan-port=-1", fmt.Sprintf("-server-port=%d", ports[3]),
			fmt.Sprintf("-grpc-port=%d", ports[4]), "-grpc-tls-port=-1", "-hcl", "connect { enabled = false }",
		}, args),
	}
	a.Start(t)
	t.Cleanup(func() { a.Kill() })
	return a
}

// Start starts an agent that is not running.
func (a *Agent) Start(t testing.TB) {
	t.Helper()
	a.log.Reset()
	a.cmd = exec.Command(a.argv[0], a.argv[1:]...)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		t.Fatalf("start consul: %v", err)
	}
	if err := poll(time.Minute, func() error { return a.writable() }); err != nil {
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

// writable reports whether the agent takes writes and its own node is in the catalog.
func (a *Agent) writable() error {
	if _, err := a.call(http.MethodPut, "/v1/kv/lab-ready"); err != nil {
		return err
	}
	if _, err := a.call(http.MethodDelete, "/v1/kv/lab-ready"); err != nil {
		return err
	}
	text, err := a.call(http.MethodGet, "/v1/catalog/nodes")
	if err != nil {
		return err
	}
	var nodes []json.RawMessage
	if err := json.Unmarshal(text, &nodes); err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	if len(nodes) == 0 {
		return errors.New("no node in the catalog yet")
	}
	return nil
}

// call asks the agent as its root, which is nobody in particular without ACLs.
func (a *Agent) call(method, path string) ([]byte, error) {
	req, err := http.NewRequest(method, a.URL()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", RootToken)
	res, err := a.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}

// Registry starts a registry without authentication in a folder of the test and returns host:port.
func Registry(t testing.TB) string {
	t.Helper()
	return newRegistry(t, nil, http.DefaultClient)
}

// RegistryIn starts a registry in the network of an engine of the test's own.
func RegistryIn(t testing.TB, e *Engine) string {
	t.Helper()
	return newRegistry(t, e.Prefix, e.Client())
}

func newRegistry(t testing.TB, prefix []string, client *http.Client) string {
	t.Helper()
	parts, err := setup.Find()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", FreePorts(t, 1)[0])
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := slices.Concat(prefix, []string{parts.Registry, "serve", config})
	cmd := exec.Command(argv[0], argv[1:]...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start registry: %v (run `make setup`)", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := poll(time.Minute, func() error {
		res, err := client.Get("http://" + address + "/v2/")
		if err == nil {
			res.Body.Close()
		}
		return err
	}); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("registry: %v\n%s", err, log.String())
	}
	return address
}

// ConsulBinary is the Consul program of the lab.
func ConsulBinary(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv(ground.ConsulVar); bin != "" {
		return bin
	}
	parts, err := setup.Find()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(parts.Consul); err != nil {
		t.Fatalf("no Consul for tests: run `make setup` (%v)", err)
	}
	return parts.Consul
}

// RunDir makes a folder on a tmpfs, as a node's /run is, and removes it after
// the test with whatever the test has mounted in it.
func RunDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(runRoot(), "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ground.RemoveFolder(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runRoot is the lab's tmpfs, or without a lab the one that every Linux has.
func runRoot() string { return cmp.Or(os.Getenv(ground.RunVar), "/dev/shm") }

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

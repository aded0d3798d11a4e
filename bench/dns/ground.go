package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"svckit/bench/stage"
)

const (
	consulHTTP = "127.0.0.1:18500" // a server
	consulDNS  = "127.0.0.1:18600"
	cachedDNS  = "127.0.0.1:18610" // a client agent with use_cache
	peerPort   = "18053"
	consulName = "web.service.consul"
	staticName = "web.static.test"
	instances  = 10
)

type ground struct {
	dir     string
	agents  []*exec.Cmd
	scratch int
	sockets int // of the generator
}

func newGround() (*ground, error) {
	dir, err := os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "benchdns")
	if err != nil {
		return nil, err
	}
	g := &ground{dir: dir}
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// start starts a Consul server whose answers may be kept for 5 s, as forwarders need, and a client agent that keeps them itself.
func (g *ground) start() error {
	common := `disable_update_check = true
connect { enabled = false }
dns_config { service_ttl { "*" = "5s" } %s }`
	server := []string{
		"agent", "-dev", "-node=server", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=error", "-http-port=18500", "-dns-port=18600",
		"-serf-lan-port=18301", "-serf-wan-port=-1", "-server-port=18300", "-grpc-port=-1", "-grpc-tls-port=-1", "-hcl", fmt.Sprintf(common, ""),
	}
	client := []string{
		"agent", "-node=client", "-data-dir=" + filepath.Join(g.dir, "client"), "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=error", "-http-port=18510", "-dns-port=18610",
		"-serf-lan-port=18311", "-server-port=18310", "-grpc-port=-1", "-grpc-tls-port=-1", "-retry-join=127.0.0.1:18301", "-retry-interval=1s",
		"-hcl", fmt.Sprintf(common, `use_cache = true cache_max_age = "5s"`),
	}
	for _, args := range [][]string{server, client} {
		cmd := exec.Command(os.Getenv("SVCKIT_TEST_CONSUL"), args...)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		if err := g.run(cmd); err != nil {
			return err
		}
	}
	if err := stage.Until(30*time.Second, "the client agent", func() error {
		return call(http.MethodGet, "http://127.0.0.1:18510/v1/catalog/service/consul", nil)
	}); err != nil {
		return err
	}
	for n := range instances {
		if err := register(n, n+1); err != nil {
			return err
		}
	}
	return nil
}

// run pins a command to core 0 and starts it.
func (g *ground) run(cmd *exec.Cmd) error {
	pin(cmd, "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	g.agents = append(g.agents, cmd)
	return nil
}

func pin(cmd *exec.Cmd, core string) {
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return // then start says that the numbers are worth less
	}
	cmd.Args = append([]string{taskset, "-c", core, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = taskset
}

func (g *ground) close() {
	for _, c := range g.agents {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	_ = os.RemoveAll(g.dir)
}

func (g *ground) file(name, text string) string {
	g.scratch++
	path := filepath.Join(g.dir, fmt.Sprintf("%d-%s", g.scratch, name))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		panic(err) // the bench's own folder
	}
	return path
}

func register(n, weight int) error {
	return call(http.MethodPut, "http://"+consulHTTP+"/v1/agent/service/register", map[string]any{
		"ID": fmt.Sprintf("web%d", n), "Name": "web", "Address": fmt.Sprintf("10.0.0.%d", n+1), "Port": 8000 + n,
		"Weights": map[string]int{"Passing": weight, "Warning": 1},
		"Check":   map[string]string{"CheckID": fmt.Sprintf("check%d", n), "TTL": "1h", "Status": "passing"},
	})
}

func call(method, url string, doc any) error {
	var body bytes.Buffer
	if doc != nil {
		if err := json.NewEncoder(&body).Encode(doc); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, url, &body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, res.Status, strings.TrimSpace(out.String()))
	}
	return err
}

func port(address string) string { _, p, _ := net.SplitHostPort(address); return p }

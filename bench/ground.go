package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ground is an agent, a registry and two copies of one small project, so that
// neither builder finds what the other left in the cache.
type ground struct {
	dir    string
	parts  []*exec.Cmd
	count  int
	env    []string
	docker string // host of the engine
}

const (
	registry = "127.0.0.1:5000"
	consul   = "http://127.0.0.1:8500"
)

func newGround() (*ground, error) {
	dir, err := os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "bench")
	if err != nil {
		return nil, err
	}
	g := &ground{dir: dir, docker: os.Getenv("SVCKIT_TEST_DOCKER")}
	g.env = append(os.Environ(), "DOCKER_HOST="+g.docker, "CONSUL_HTTP_ADDR="+consul, "DOCKER_BUILDKIT=1", "SVC_DNS_MARGIN=0s",
		"SVC_RUN_DIR="+filepath.Join(dir, "run"), "SVC_STATE_DIR="+filepath.Join(dir, "state"),
		"SVC_CODE_DIR="+filepath.Join(dir, "volume"), "SVC_CONFIG=")
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) start() error {
	config := filepath.Join(g.dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(g.dir, "registry"), registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if err := g.part("docker-registry", "serve", config); err != nil {
		return err
	}
	if err := g.part(os.Getenv("SVCKIT_TEST_CONSUL"), "agent", "-dev", "-node=bench", "-log-level=error"); err != nil {
		return err
	}
	for _, url := range []string{"http://" + registry + "/v2/", consul + "/v1/catalog/nodes"} {
		if err := ready(url); err != nil {
			return err
		}
	}
	for _, who := range []string{"ours", "theirs"} {
		if err := g.project(who); err != nil {
			return err
		}
	}
	// The image that both start: ready on the node before anything is timed.
	return g.run("ours", "svc-build", "--push")
}

func (g *ground) part(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	g.parts = append(g.parts, cmd)
	return nil
}

func ready(url string) error {
	end := time.Now().Add(20 * time.Second)
	for {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s", res.Status)
		}
		if time.Now().After(end) {
			return fmt.Errorf("wait for %s: %w", url, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *ground) close() {
	_ = g.down()
	for _, p := range g.parts {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	_ = os.RemoveAll(g.dir)
}

const dockerfile = `ARG BASE=svckit/base:bookworm
FROM ${BASE}
WORKDIR /app
COPY requirements.txt .
RUN mkdir -p /app/deps && cp requirements.txt /app/deps/
COPY . .
CMD ["python3", "-m", "http.server", "8000"]
`

const appYAML = `app: bench
build: {image: %s/%s}
services:
  web:
    command: [python3, -m, http.server, "8000"]
    port: 8000
    check: {http: /, interval: 1s, min_healthy: 0s}
    stop: {timeout: 1s, drain: 0s}
`

// project writes a source folder of some hundred files.
func (g *ground) project(who string) error {
	dir := filepath.Join(g.dir, who)
	if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
		return err
	}
	files := map[string]string{"Dockerfile": dockerfile, "app.yaml": fmt.Sprintf(appYAML, registry, who), "requirements.txt": "one\n", "main.py": "print(0)\n"}
	for n := range 300 {
		files[fmt.Sprintf("lib/m%03d.py", n)] = strings.Repeat(fmt.Sprintf("x%d = %d # %s\n", n, n, who), 100)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command in the project's folder; what it prints is shown when it fails.
func (g *ground) run(who, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = filepath.Join(g.dir, who), g.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return nil
}

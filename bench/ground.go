package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"svckit/bench/stage"
)

// ground is a stage with two copies of one small project, so that neither
// builder finds what the other left in the cache.
type ground struct {
	*stage.Stage
	count int
}

func newGround() (*ground, error) {
	s, err := stage.New("DOCKER_BUILDKIT=1", "SVC_DNS_MARGIN=0s")
	if err != nil {
		return nil, err
	}
	g := &ground{Stage: s}
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) start() error {
	for _, who := range []string{"ours", "theirs"} {
		if err := g.project(who); err != nil {
			return err
		}
	}
	// The image that both start: ready on the node before anything is timed.
	return g.run("ours", "svc-build", "--push")
}

func (g *ground) close() {
	_ = g.down()
	g.Close()
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
	dir := filepath.Join(g.Dir, who)
	if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
		return err
	}
	files := map[string]string{"Dockerfile": dockerfile, "app.yaml": fmt.Sprintf(appYAML, stage.Registry, who), "requirements.txt": "one\n", "main.py": "print(0)\n"}
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
	_, err := g.Run(filepath.Join(g.Dir, who), name, args...)
	return err
}

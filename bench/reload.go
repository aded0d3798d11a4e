package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"svckit/bench/stage"
)

// reloadBench brings new code into two instances of one gunicorn app under load,
// by svc-reload, by docker restart, and by docker-compose up with new containers.
func (g *ground) reloadBench(runs int) error {
	ways := []way{
		{"svc-reload --source", g.reloadOurs()},
		{"docker restart", g.reloadRestart()},
		{"docker-compose up --force-recreate", g.reloadCompose()},
	}
	fmt.Printf("\n| new code into 2 instances under load | requests | failed | longest gap, s | new code everywhere after, s |\n|---|---|---|---|---|\n")
	for _, w := range ways {
		total, err := w.measure(runs)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		fmt.Printf("| %s | %d | %d | %.2f | %.2f |\n", w.name, total.done, total.failed, median(total.gaps), median(total.seconds))
	}
	return nil
}

// way is one way to bring new code into what runs.
type way struct {
	name string
	side side
}

// side starts two instances, changes their code, and ends them.
type side struct {
	start  func() (urls []string, err error)
	change func(generation string) error
	stop   func() error
}

const codeApp = `GENERATION = %q
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [GENERATION.encode()]
`

const codeYAML = `app: code
build: {dockerfile: Dockerfile, image: %s/code}
services:
  web:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --chdir, /srv/app, --worker-tmp-dir, /dev/shm, "app:application"]
    master: gunicorn
    port: 8000
    code: {mount: /srv/app}
    check: {http: /, interval: 1s, min_healthy: 500ms}
    stop: {timeout: 10s, drain: 0s}
`

const composeYAML = `version: "2.4"
services:
  a: &app
    image: svckit/base:bookworm
    init: true
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --chdir, /srv/app, --worker-tmp-dir, /dev/shm, "app:application"]
    volumes: ["%[1]s:/srv/app:ro"]
    ports: ["127.0.0.1:29997:8000"]
    network_mode: bridge
  b:
    <<: *app
    ports: ["127.0.0.1:29998:8000"]
`

// writeCode writes the app of one generation into a folder.
func (g *ground) writeCode(folder, generation string) error {
	dir := filepath.Join(g.Dir, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "app.py"), fmt.Appendf(nil, codeApp, generation), 0o644)
}

func (g *ground) reloadOurs() side {
	start := func() ([]string, error) {
		dir := filepath.Join(g.Dir, "code")
		for name, text := range map[string]string{"Dockerfile": "FROM svckit/base:bookworm\n", "app.yaml": fmt.Sprintf(codeYAML, stage.Registry)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		if err := g.writeCode("code-ours", "g0"); err != nil {
			return nil, err
		}
		for _, call := range [][]string{
			{"svc-build", "--push", "--quiet"},
			{"svc-reload", "code/web", "--source", filepath.Join(g.Dir, "code-ours"), "--quiet"},
			{"svc-run", "up", "code/web", "--instances", "2", "--quiet"},
		} {
			if err := g.run("code", call[0], call[1:]...); err != nil {
				return nil, err
			}
		}
		out, err := exec.Command("docker", "-H", os.Getenv("SVCKIT_TEST_DOCKER"), "ps", "--filter", "label=svckit.app=code", "--format", `http://{{.Label "svckit.address"}}:{{.Label "svckit.port"}}/`).Output()
		return strings.Fields(string(out)), err
	}
	change := func(generation string) error {
		if err := g.writeCode("code-ours", generation); err != nil {
			return err
		}
		return g.run("code", "svc-reload", "code/web", "--source", filepath.Join(g.Dir, "code-ours"), "--quiet")
	}
	return side{start, change, func() error { return g.run("code", "svc-run", "down", "code/web", "--quiet") }}
}

// compose is docker-compose on two instances that mount the same folder.
func (g *ground) compose(args ...string) error {
	return g.run("code-theirs", "docker-compose", append([]string{"-p", "bench", "-f", filepath.Join(g.Dir, "compose.yml")}, args...)...)
}

func (g *ground) startTheirs() ([]string, error) {
	if err := g.writeCode("code-theirs", "g0"); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(composeYAML, filepath.Join(g.Dir, "code-theirs"))
	if err := os.WriteFile(filepath.Join(g.Dir, "compose.yml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{"http://127.0.0.1:29997/", "http://127.0.0.1:29998/"}, g.compose("up", "-d")
}

func (g *ground) changeTheirs(calls ...[]string) func(string) error {
	return func(generation string) error {
		if err := g.writeCode("code-theirs", generation); err != nil {
			return err
		}
		for _, call := range calls {
			if err := g.compose(call...); err != nil {
				return err
			}
		}
		return nil
	}
}

func (g *ground) reloadRestart() side {
	// One after the other, as somebody careful does.
	return side{g.startTheirs, g.changeTheirs([]string{"restart", "a"}, []string{"restart", "b"}), func() error { return g.compose("down") }}
}

func (g *ground) reloadCompose() side {
	return side{g.startTheirs, g.changeTheirs([]string{"up", "-d", "--force-recreate", "--no-deps", "a"}, []string{"up", "-d", "--force-recreate", "--no-deps", "b"}), func() error { return g.compose("down") }}
}

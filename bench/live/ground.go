package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/consul"
	"svckit/lib/scale"
)

const (
	registry = "127.0.0.1:5000"
	agent    = "http://127.0.0.1:8500"
	work     = 0.1 // seconds that a request takes
)

// ground is an agent, a registry, a node and its planner, and the image of the
// app that is scaled: examples/scale, whose requests sleep for a tenth of a second.
type ground struct {
	dir     string
	env     []string
	parts   []*exec.Cmd
	node    *exec.Cmd
	planner *exec.Cmd
	consul  *consul.Client
	static  int    // workers of a service that is not scaled
	image   string // for what is started by hand
	names   []string
}

// needed is how many workers a load of so many requests a second asks for, by the
// promise that the service makes.
func needed(rps float64) int { return scale.StaffWait(rps*work, 0.05, 0.1, work, 0) }

func newGround(runs int) (g *ground, err error) {
	g = &ground{static: needed(peak)}
	for k := range runs {
		g.names = append(g.names, fmt.Sprintf("r%d", k))
	}
	for _, s := range []string{"t1", "t3", "t5"} {
		g.names = append(g.names, s, s+"-static")
	}
	if g.dir, err = os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "live"); err != nil {
		return nil, err
	}
	g.env = append(
		os.Environ(), "DOCKER_HOST="+os.Getenv("SVCKIT_TEST_DOCKER"), "CONSUL_HTTP_ADDR="+agent, "SVC_DNS_MARGIN=100ms", "SVC_CONFIG=",
		"SVC_RUN_DIR="+filepath.Join(g.dir, "run"), "SVC_STATE_DIR="+filepath.Join(g.dir, "state"), "SVC_CODE_DIR="+filepath.Join(g.dir, "code"),
	)
	if err = g.start(); err != nil {
		err = fmt.Errorf("%w\n%s", err, g.said())
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
	if _, err := g.part("registry", "docker-registry", "serve", config); err != nil {
		return err
	}
	if _, err := g.part("consul", os.Getenv("SVCKIT_TEST_CONSUL"), "agent", "-dev", "-node=bench", "-log-level=error"); err != nil {
		return err
	}
	for _, url := range []string{"http://" + registry + "/v2/", agent + "/v1/catalog/service/consul"} {
		if err := until(30*time.Second, url, func() (bool, error) { return answers(url) }); err != nil {
			return err
		}
	}
	var err error
	if g.consul, err = consul.OpenAt(strings.TrimPrefix(agent, "http://"), "svc", hclog.NewNullLogger()); err != nil {
		return err
	}
	if err := g.build(); err != nil {
		return err
	}
	if g.node, err = g.part("node", "scaled", "node"); err != nil {
		return err
	}
	if g.planner, err = g.part("run", "scaled", "run"); err != nil {
		return err
	}
	for _, name := range g.names {
		n := 2
		if strings.HasSuffix(name, "-static") {
			n = g.static
		}
		if err := g.await(app+"/"+name, n); err != nil {
			return err
		}
	}
	return nil
}

// app is one app with services of their own for each measurement: what one of them
// went through changes nothing for the next.
const app = "live"

const serviceYAML = `  %s:
    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 1m}
    stop: {timeout: 15s, drain: 1s}
    scale: {worker: {cpu: 0.02}, %s} # they sleep
`

// The policy of the service that is scaled: what takes minutes in a day of 24 hours takes seconds here.
const policy = "strategy: busy_ratio, wait: 5%, wait_over: 100ms, min: 2, start_up: 3s, seasonal: false, down: {after: 10s, step: 50%}"

// build makes the image of all services, and them current.
func (g *ground) build() error {
	dir := filepath.Join(g.dir, app)
	if err := os.CopyFS(dir, os.DirFS("examples/scale")); err != nil {
		return err
	}
	marks, err := os.ReadFile("examples/marks/svckit_marks.py")
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "app: %s\nbuild: {dockerfile: Dockerfile, image: %s/%s}\nservices:\n", app, registry, app)
	for _, name := range g.names {
		scaling := policy
		if strings.HasSuffix(name, "-static") {
			scaling = fmt.Sprintf("strategy: noop, min: %d", g.static)
		}
		text = fmt.Appendf(text, serviceYAML, name, scaling)
	}
	for name, text := range map[string][]byte{"svckit_marks.py": marks, "app.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	if _, err := g.run(dir, "svc-build", "--push", "--build-arg", "BASE=svckit/base:bookworm"); err != nil {
		return err
	}
	out, err := g.run(dir, "svc-run", "releases", "--json", app)
	if err != nil {
		return err
	}
	var list struct{ Releases []struct{ Release string } }
	if err := json.Unmarshal(out, &list); err != nil || len(list.Releases) == 0 {
		return fmt.Errorf("releases of %s: %s: %w", app, out, err)
	}
	r, err := g.consul.Release(context.Background(), app, list.Releases[0].Release)
	if err != nil {
		return err
	}
	g.image = r.Image
	_, err = g.run(dir, "svc-run", "promote", app, r.Name)
	return err
}

// ready is what serves of a service, as its node says.
func (g *ground) ready(service string) (n int, err error) {
	haves, _, err := g.consul.Haves(context.Background())
	for _, h := range haves {
		for _, s := range h.Services {
			if s.Name == service {
				n += s.Ready
			}
		}
	}
	return n, err
}

func (g *ground) await(service string, n int) error {
	return until(2*time.Minute, fmt.Sprintf("%d of %s", n, service), func() (bool, error) {
		ready, err := g.ready(service)
		return ready >= n, errors.Join(err, fmt.Errorf("%d are ready", ready))
	})
}

// address is where a service is reached.
func (g *ground) address(service string) (string, error) {
	res, err := http.Get(agent + "/v1/health/service/" + strings.ReplaceAll(service, "/", "-") + "?passing")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var list []struct {
		Service struct {
			Address string
			Port    int
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list) != 1 {
		return "", fmt.Errorf("find %s: %d instances: %w", service, len(list), err)
	}
	return fmt.Sprintf("http://%s:%d/", list[0].Service.Address, list[0].Service.Port), nil
}

func (g *ground) part(name, program string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(g.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = g.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	g.parts = append(g.parts, cmd)
	return cmd, nil
}

func (g *ground) run(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, g.env, &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return out, nil
}

// said is the end of what the daemons said.
func (g *ground) said() string {
	var all strings.Builder
	for _, name := range []string{"node", "run"} {
		text, _ := os.ReadFile(filepath.Join(g.dir, name+".log"))
		fmt.Fprintf(&all, "%s: %s\n", name, text[max(len(text)-2000, 0):])
	}
	return all.String()
}

func (g *ground) close() {
	for _, p := range []*exec.Cmd{g.planner, g.node} { // the hand must not bring back what is taken down
		if p != nil {
			_ = p.Process.Signal(syscall.SIGTERM)
			_ = p.Wait()
		}
	}
	for _, name := range g.names {
		if _, err := g.run(g.dir, "svc-run", "down", app+"/"+name); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	for _, p := range g.parts {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	_ = os.RemoveAll(g.dir)
}

func answers(url string) (bool, error) {
	client := http.Client{Timeout: 2 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK, fmt.Errorf("it answers %s", res.Status)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/bench/stage"
	"svckit/lib/consul"
	"svckit/lib/scale"
)

const (
	agent = stage.Consul
	work  = 0.1 // seconds that a request takes
)

// ground is a stage with a node and its planner, and the image of the
// app that is scaled: examples/scale, whose requests sleep for a tenth of a second.
type ground struct {
	*stage.Stage
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
	if g.Stage, err = stage.New("SVC_DNS_MARGIN=100ms"); err != nil {
		return nil, err
	}
	if err = g.start(); err != nil {
		err = fmt.Errorf("%w\n%s", err, g.said())
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) start() error {
	var err error
	if g.consul, err = consul.OpenAt(strings.TrimPrefix(agent, "http://"), "svc", hclog.NewNullLogger()); err != nil {
		return err
	}
	if err := g.build(); err != nil {
		return err
	}
	if g.node, err = g.Start("node", "scaled", "node"); err != nil {
		return err
	}
	if g.planner, err = g.Start("run", "scaled", "run"); err != nil {
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
	dir := filepath.Join(g.Dir, app)
	if err := os.CopyFS(dir, os.DirFS("examples/scale")); err != nil {
		return err
	}
	marks, err := os.ReadFile("examples/marks/svckit_marks.py")
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "app: %s\nbuild: {dockerfile: Dockerfile, image: %s/%s}\nservices:\n", app, stage.Registry, app)
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
	if _, err := g.Run(dir, "svc-build", "--push", "--build-arg", "BASE=svckit/base:bookworm"); err != nil {
		return err
	}
	name, err := g.Promote(app)
	if err != nil {
		return err
	}
	r, err := g.consul.Release(context.Background(), app, name)
	g.image = r.Image
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
	return stage.Until(2*time.Minute, fmt.Sprintf("%d of %s", n, service), func() error {
		ready, err := g.ready(service)
		if err == nil && ready < n {
			err = fmt.Errorf("%d are ready", ready)
		}
		return err
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

// said is the end of what the daemons said.
func (g *ground) said() string {
	var all strings.Builder
	for _, name := range []string{"node", "run"} {
		text, _ := os.ReadFile(filepath.Join(g.Dir, name+".log"))
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
		if _, err := g.Run(g.Dir, "svc-run", "down", app+"/"+name); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	g.Close()
}

//go:build real

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"svckit/lab"
)

// shop is an app of two services: one that is asked, with workers, and one whose
// containers ask for others by name.
const shop = `
app: shop
build: {dockerfile: Dockerfile, image: registry.example/shop}
services:
  web:
    command: [sh, -c, "exec gunicorn --chdir /srv/app --bind 0.0.0.0:8000 --workers $WORKERS app:application"]
    master: gunicorn
    port: 8000
    publish: 8000
    check: {http: /name, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 120s}
    stop: {timeout: 5s, drain: 500ms}
    overlap: false
    config: {env: [WORKERS]}
  front:
    kind: daemon
    command: [python3, /srv/app/cache.py, cache.service.consul, "6379"]
    stop: {timeout: 2s}
`

const shopApp = `import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("WHO", "ours").encode()]
`

// shopNode is a node with everything on it: agent, engine, svc-dns at port 53 of
// the engine's bridge, and svc-run that gives this server to its containers.
type shopNode struct {
	t      *testing.T
	engine *lab.Engine
	agent  *lab.Agent
	docker docker
	bridge string // the node's address in the containers' network
	dir    string
	image  string
	dns    *syncBuffer // its log
}

func newShopNode(t *testing.T) *shopNode {
	t.Helper()
	e := lab.NewEngine(t)
	n := &shopNode{t: t, engine: e, agent: lab.ConsulIn(t, e), docker: docker{t, e.Host}, dir: t.TempDir(), dns: &syncBuffer{}}
	n.bridge, _, _ = strings.Cut(strings.Fields(n.inside("ip", "-4", "-oneline", "address", "show", "docker0"))[3], "/")
	for name, text := range map[string]string{"app.yaml": shop, "app.py": shopApp, "Dockerfile": "FROM " + lab.BaseImage + "\nCOPY app.py cache.py client.py /srv/app/\n"} {
		n.write(name, text)
	}
	for _, name := range []string{"cache.py", "client.py"} {
		text, err := os.ReadFile("../../examples/dns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		n.write(name, string(text))
	}
	n.docker.run("build", "--quiet", "--tag", "shop", n.dir)
	n.image = n.docker.run("inspect", "--format", "{{.Id}}", "shop")
	n.serve()
	return n
}

func (n *shopNode) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// start runs a program in the node's network until the test ends or end is called.
func (n *shopNode) start(log *syncBuffer, env []string, argv ...string) (end func()) {
	n.t.Helper()
	argv = slices.Concat(n.engine.Prefix, argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	end = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	n.t.Cleanup(end)
	return end
}

func (n *shopNode) serve() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.start(n.dns, n.env(asProgram+"=1", "SVC_RUN_DIR="+lab.RunDir(n.t)+"/run", "SVC_STATE_DIR="+n.t.TempDir()),
		self, "serve", "--listen", n.bridge+":53", "--one", "--metrics", "off", "--upstream", "127.0.0.1:9")
	within(n.t, soon, "svc-dns answers", func() error {
		if log := n.dns.String(); !strings.Contains(log, "answering") {
			return fmt.Errorf("log: %s", log)
		}
		return nil
	})
}

func (n *shopNode) env(more ...string) []string {
	return append([]string{"CONSUL_HTTP_ADDR=" + n.agent.URL(), "DOCKER_HOST=" + n.engine.Host, "SVC_CONFIG="}, more...)
}

// svcRun builds svc-run and returns how it is called on this node.
func (n *shopNode) svcRun() func(args ...string) string {
	n.t.Helper()
	program := filepath.Join(n.t.TempDir(), "svc-run")
	if out, err := exec.Command("go", "build", "-o", program, "svckit/cmd/svc-run").CombinedOutput(); err != nil {
		n.t.Fatalf("build svc-run: %v\n%s", err, out)
	}
	env := n.env("SVC_RUN_DIR="+lab.RunDir(n.t), "SVC_STATE_DIR="+n.t.TempDir(), "SVC_ADDRESS="+n.bridge, "SVC_CONTAINER_DNS="+n.bridge, "SVC_DNS_MARGIN=100ms", "SVC_PORTS="+lab.PortRange(n.t))
	return func(args ...string) string {
		n.t.Helper()
		argv := slices.Concat(n.engine.Prefix, []string{program}, args)
		cmd := exec.Command(argv[0], argv[1:]...)
		var out, errs bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, append(os.Environ(), env...), &out, &errs
		if err := cmd.Run(); err != nil {
			n.t.Fatalf("svc-run %s: %v\n%s\nsvc-dns:\n%s", strings.Join(args, " "), err, errs.String(), n.dns.String())
		}
		return out.String()
	}
}

// container is the id of the one container of a service.
func (n *shopNode) container(service string) string {
	n.t.Helper()
	id := n.docker.run("ps", "--quiet", "--no-trunc", "--filter", "name=shop-"+service)
	if len(strings.Fields(id)) != 1 {
		n.t.Fatalf("containers of %s: %q", service, id)
	}
	return id
}

// weight is that of the instance of shop-web at the node's own address, as Consul has it.
func (n *shopNode) weight() (weight int) {
	n.t.Helper()
	res, err := n.agent.Client.Get(n.agent.URL() + "/v1/health/service/shop-web")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	var list []struct {
		Service struct {
			Address string
			Weights struct{ Passing int }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		n.t.Fatal(err)
	}
	for _, e := range list {
		if e.Service.Address == n.bridge {
			weight = e.Service.Weights.Passing
		}
	}
	return weight
}

// A service brought up by svc-run is found by name from the containers of
// another one, by the C library at port 53; clients get to it by its workers.
func TestContainersOfSvcRunFindServicesByNameAndByTheirWorkers(t *testing.T) {
	t.Parallel()
	n := newShopNode(t)
	run := n.svcRun()
	up := func(service, env string) {
		t.Helper()
		n.write("env", env)
		run("up", service, "--local", "--file", "app.yaml", "--image", n.image, "--env-file", "env")
	}
	up("web", "WORKERS=2\n")
	up("front", "WORKERS=2\n")

	// Another node's instance, with two workers.
	n.docker.run("run", "--detach", "--init", "--name", "peer", "--env", "WHO=peer", "shop", "gunicorn", "--chdir", "/srv/app", "--bind", "0.0.0.0:8000", "app:application")
	peer := n.docker.run("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "peer")
	registerIn(t, n.engine, n.agent, object{"ID": "peer", "Name": "shop-web", "Address": peer, "Port": 8000, "Weights": object{"Passing": 2, "Warning": 1}, "Check": object{
		"HTTP": "http://" + peer + ":8000/name", "Interval": "1s", "Timeout": "10s",
	}})
	front := n.container("front")
	calls := func(times int) (ours, theirs int) {
		t.Helper()
		out, err := n.docker.try("exec", front, "python3", "/srv/app/client.py", "shop-web.service.consul", "8000", fmt.Sprint(times))
		if err != nil {
			return 0, 0
		}
		for word := range strings.FieldsSeq(out) {
			_, _ = fmt.Sscanf(word, "ours:%d", &ours)
			_, _ = fmt.Sscanf(word, "peer:%d", &theirs)
		}
		return ours, theirs
	}
	share := func() (ours int) {
		t.Helper()
		within(t, soon, "400 answers", func() error { // the client gives up on one that takes 5 s
			var theirs int
			if ours, theirs = calls(400); ours+theirs != 400 {
				return fmt.Errorf("%d of ours, %d of the peer's\n%s", ours, theirs, n.dns.String())
			}
			return nil
		})
		return ours
	}
	both := func() error {
		if ours, theirs := calls(40); ours == 0 || theirs == 0 {
			return fmt.Errorf("%d of ours, %d of the peer's\n%s", ours, theirs, n.dns.String())
		}
		return nil
	}
	within(t, soon, "both are found by name", both)
	if w := n.weight(); w != 2 {
		t.Errorf("weight %d with two workers", w)
	}
	if ours := share(); ours < 154 || ours > 246 { // 200 ± 4.6 standard deviations
		t.Errorf("with two workers of four: %d of 400", ours)
	}
	up("web", "WORKERS=6\n")
	if w := n.weight(); w != 6 {
		t.Errorf("weight %d with six workers", w)
	}
	within(t, soon, "both are found again", both)
	if ours := share(); ours < 260 || ours > 340 { // 300 ± 4.6 standard deviations
		t.Errorf("with six workers of eight: %d of 400", ours)
	}
	n.docker.run("kill", n.container("web"))
	within(t, soon, "all go to the peer", func() error {
		if ours, theirs := calls(60); ours != 0 || theirs != 60 {
			return fmt.Errorf("%d of ours, %d of the peer's", ours, theirs)
		}
		return nil
	})
	n.followsItsCache(front)
}

// followsItsCache moves a Redis that an app has found by name: it is killed,
// another one starts at another address, and the app goes on.
func (n *shopNode) followsItsCache(front string) {
	t := n.t
	t.Helper()
	program := lab.RedisServer(t)
	start := func(address string) (end func()) {
		t.Helper()
		n.inside("ip", "address", "add", address+"/32", "dev", "lo")
		log := &syncBuffer{}
		end = n.start(log, nil, program, "--bind", address, "--port", "6379", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", t.TempDir())
		registerIn(t, n.engine, n.agent, object{"ID": "cache-" + address, "Name": "cache", "Address": address, "Port": 6379, "Check": object{
			"TCP": address + ":6379", "Interval": "1s", "Timeout": "10s",
		}})
		return end
	}
	last := func(address string) error {
		log := n.docker.run("logs", "--tail", "3", front)
		if strings.Contains(log, "error") || strings.Count(log, "at "+address) != 3 {
			return fmt.Errorf("it says\n%s", log)
		}
		return nil
	}
	end := start("10.99.0.1")
	within(t, soon, "the app has found its cache", func() error { return last("10.99.0.1") })
	end()
	start("10.99.0.2")
	within(t, soon, "the app goes on with the cache that has moved", func() error { return last("10.99.0.2") })
}

func (n *shopNode) inside(argv ...string) string {
	n.t.Helper()
	argv = slices.Concat(n.engine.Prefix, argv)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

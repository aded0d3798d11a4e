//go:build real

package hand_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/tool"
)

// prefix keeps the tests of other packages on the same engine from taking these services for theirs.
const prefix = "svchand"

// asProgram starts this test binary as a daemon that is nothing but a hand.
const asProgram = "SVCKIT_TEST_AS"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "hand" {
		tool.Main(&cli.App{Name: "hand", Usage: "the hand of a node", Action: tool.Daemon(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			a, err := here.OpenHand(ctx, here.This(), s, told(os.Getenv("SVCKIT_TEST_SAMPLE")))
			if err != nil {
				return err
			}
			return a.Run(ctx)
		})})
	}
	os.Exit(m.Run())
}

// rig is one node for a test: an agent that keeps its data when it is killed, the
// test engine, an app that no other test has, a leader that writes wishes, a hand.
type rig struct {
	t      *testing.T
	agent  *lab.Agent
	app    string
	consul *consul.Client
	engine *docker.Engine
	lease  *consul.Lease
	gen    uint64
	hand   *exec.Cmd
	said   *text
}

const rigSpec = `
app: %s
build: {image: registry.example/hand}
services:
  web:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --worker-tmp-dir, /dev/shm, --chdir, /srv/app, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 500ms, deadline: 30s}
    stop: {timeout: 10s, drain: 200ms}
  cheap:
    command: [uwsgi, --plugin, python3, --chdir, /srv/app, --module, "app:application", --need-app, --master, --processes, "8", --cheaper, "1", --cheaper-initial, "2",
              --cheaper-algo, manual, --master-fifo, /tmp/fifo, --http-socket, "0.0.0.0:8000", --stats, /tmp/stats.sock, --die-on-term, --disable-logging, --listen, "100"]
    master: uwsgi
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 500ms, deadline: 30s}
    stop: {timeout: 10s, drain: 200ms}
  box:
    command: [gunicorn, --workers, "1", --bind, "0.0.0.0:8000", --worker-tmp-dir, /dev/shm, --chdir, /srv/app, "app:application"]
    port: 8000
    check: {ttl: 15s, min_healthy: 500ms, deadline: 30s}
    stop: {timeout: 10s, drain: 200ms}
    scale: {unit: instances}
`

const rigApp = `import time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/work":
        time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
    return [b"ok"]
`

var image struct {
	sync.Once
	ref string
}

// appImage builds the app on the base image and gives it a digest, once for all tests.
func appImage(t *testing.T) string {
	t.Helper()
	image.Do(func() {
		dir, registry := t.TempDir(), lab.Registry(t)
		for name, text := range map[string]string{"app.py": rigApp, "Dockerfile": "FROM " + lab.BaseImage + "\nCOPY app.py /srv/app/\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ref := registry + "/hand:1"
		command(t, "docker", "build", "--quiet", "--tag", ref, dir)
		out := command(t, "docker", "push", ref)
		image.ref = registry + "/hand@" + regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(out)
	})
	return image.ref
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, app: fmt.Sprintf("h%06x", rand.Uint32()&0xffffff)}
	r.agent = lab.Consul(t, "-dev=false", "-server", "-bootstrap-expect=1", "-data-dir="+t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }")
	for name, value := range map[string]string{
		"DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": r.agent.URL(), "SVC_CONFIG": "", "SVC_NODE": "",
		"SVC_PREFIX": prefix, "SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": t.TempDir(), "SVC_CODE_DIR": t.TempDir(),
		"SVC_PORTS": lab.PortRange(t), "SVC_DNS_MARGIN": "100ms", "NOTIFY_SOCKET": "",
	} {
		t.Setenv(name, value)
	}
	ref := appImage(t)
	var err error
	if r.consul, err = consul.Open(prefix, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	err = r.consul.PutRelease(t.Context(), fleet.Release{
		App: r.app, Name: "r1", Image: ref, Tag: "hand:1", Spec: fmt.Sprintf(rigSpec, r.app), BuiltBy: "test", BuiltAt: time.Now().UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.lead()
	return r
}

// lead makes this test the planner, of a new epoch.
func (r *rig) lead() {
	r.t.Helper()
	if r.lease != nil {
		_ = r.lease.Release(r.t.Context())
	}
	h, err := node.Holder("test", r.node(), "planner", time.Now())
	if err == nil {
		r.lease, err = r.consul.Lead(r.t.Context(), h, "", time.Minute)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.kill()
	if r.t.Failed() && r.said != nil {
		r.t.Logf("the hand said:\n%s", r.said)
	}
	list, err := r.engine.Instances(ctx, r.app, "")
	if err != nil {
		r.t.Error(err)
	}
	for _, i := range list {
		if err := r.engine.Remove(ctx, i.ID); err != nil {
			r.t.Error(err)
		}
	}
	_ = r.engine.Close()
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// text is a buffer for many goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// start runs a hand as a process of its own.
func (r *rig) start() { r.run(os.Args[0]) }

// run runs a program that has a hand.
func (r *rig) run(name string, args ...string) {
	r.t.Helper()
	if r.said == nil {
		r.said = &text{}
	}
	r.hand = exec.Command(name, args...)
	r.hand.Env = append(os.Environ(), asProgram+"=hand")
	r.hand.Stdout, r.hand.Stderr = r.said, r.said
	r.hand.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.hand.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends the hand at once, as a crash does.
func (r *rig) kill() {
	if r.hand != nil {
		_ = r.hand.Process.Kill()
		_ = r.hand.Wait()
		r.hand = nil
	}
}

func (r *rig) node() string {
	r.t.Helper()
	agent, err := r.consul.Self(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return agent.Node
}

// ask is an allotment of a service of the app.
func (r *rig) ask(service, unit string, n int) fleet.Allotment {
	return fleet.Allotment{Name: r.app + "/" + service, Unit: unit, Count: n, Reason: "as the test says"}
}

// wishes writes a wish as the leader does.
func (r *rig) wishes(list ...fleet.Allotment) {
	r.t.Helper()
	w, err := r.consul.Want(r.t.Context(), r.node())
	if err != nil { // there is none yet, or it is no wish: then it is overwritten
		w = fleet.Want{Node: r.node(), Index: w.Index}
		if i := r.index("scale/want/" + r.node()); i > 0 {
			w.Index = i
		}
	}
	r.gen++
	w.Gen, w.At, w.Services = r.gen, time.Now(), list
	done, err := r.lease.SetWants(r.t.Context(), []fleet.Want{w})
	if err != nil || len(done.Conflicts) > 0 {
		r.t.Fatalf("wish not written: %v, %+v", err, done)
	}
}

// put writes any value under a key of ours.
func (r *rig) put(key, value string) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPut, r.agent.URL()+"/v1/kv/"+prefix+"/"+key, strings.NewReader(value))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("put %s: %s", key, res.Status)
	}
}

// instances are the containers of a service.
func (r *rig) instances(service string) []fleet.Instance {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, service)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// seen is what Consul knows of a service: the weights of its instances that pass.
func (r *rig) seen(service string) (weights []int) {
	list, err := r.consul.Service(r.t.Context(), r.app+"-"+service)
	if err != nil {
		return nil
	}
	for _, i := range list {
		if i.Health == fleet.Passing {
			weights = append(weights, i.Weight)
		}
	}
	return weights
}

// eventually polls until f holds, and returns how long it took.
func (r *rig) eventually(what string, f func() bool) time.Duration {
	r.t.Helper()
	began := time.Now()
	for time.Since(began) < 3*time.Minute {
		if f() {
			took := time.Since(began)
			r.t.Logf("%s: after %s", what, took.Round(10*time.Millisecond))
			return took
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatalf("%s: not in 3 minutes", what)
	return 0
}

//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/notify"
)

// station is one node for a test of watch: an agent that keeps its data when it
// is killed, the test engine, an app under gunicorn, and a receiver of messages.
type station struct {
	t      *testing.T
	agent  *lab.Agent
	app    string
	prefix string   // of its keys: its daemon follows no other station's services
	env    []string // of its programs
	consul *consul.Client
	engine *docker.Engine
	told   chan notify.Message
}

// stationLimit is for what comes soon on a machine that has nothing else to do.
const stationLimit = 3 * time.Minute

// two services, so that one can be in trouble and the other not.
const stationSpec = `
app: %s
notify: [{webhook: %q}]
build: {image: registry.example/watched}
services:
  web:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --worker-tmp-dir, /dev/shm, --chdir, /srv/app, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 90s}
    stop: {timeout: 10s, drain: 200ms}
    config:
      secrets: [KEY]
      files: [{template: settings.tmpl, to: /etc/app/settings.json}]
  side:
    command: [gunicorn, --workers, "1", --bind, "0.0.0.0:8000", --worker-tmp-dir, /dev/shm, --chdir, /srv/app, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 90s}
    stop: {timeout: 10s, drain: 200ms}
    config: {secrets: [SIDE]}
`

// The template fails when the key says so.
const stationTemplate = `{"key": {{ secret "KEY" | json }}{{ if eq (secret "KEY") "break the template" }}{{ config "NOT_THERE" }}{{ end }}}`

const stationApp = `import json, os

def read(path):
    try:
        return open(path).read()
    except OSError:
        return None

# Read when a worker starts: what is shown was loaded, not only delivered.
LOADED = json.dumps({"settings": read("/etc/app/settings.json"), "side": read("/run/secrets/SIDE"), "greeting": os.environ.get("GREETING")})

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [LOADED.encode()]
`

var stationImage struct {
	sync.Once
	ref, svcRun string
}

// appImage builds the app on the base image and gives it a digest, once for all
// tests, and with it the program that brings it up.
func appImage(t *testing.T) string {
	t.Helper()
	stationImage.Do(func() {
		stationImage.svcRun = built(t, "svckit/cmd/svc-run")
		dir, registry := t.TempDir(), lab.Registry(t)
		write(t, filepath.Join(dir, "app.py"), stationApp)
		write(t, filepath.Join(dir, "Dockerfile"), "FROM "+lab.BaseImage+"\nCOPY app.py /srv/app/\n")
		ref := registry + "/watched:1"
		command(t, "docker", "build", "--quiet", "--tag", ref, dir)
		out := command(t, "docker", "push", ref)
		stationImage.ref = registry + "/watched@" + regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(out)
	})
	return stationImage.ref
}

// newStation brings both services up by svc-run.
func newStation(t *testing.T) *station {
	t.Helper()
	r := &station{t: t, app: fmt.Sprintf("w%06x", rand.Uint32()&0xffffff), told: make(chan notify.Message, 100)}
	r.agent = lab.Consul(t, "-dev=false", "-server", "-bootstrap-expect=1", "-data-dir="+t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }")
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var m notify.Message
		if err := json.NewDecoder(req.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		r.told <- m
	}))
	t.Cleanup(receiver.Close)
	r.prefix, r.env = prefix+r.app, os.Environ()
	for name, value := range map[string]string{
		"DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": r.agent.URL(), "SVC_CONFIG": "",
		"SVC_PREFIX": r.prefix, "SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": t.TempDir(), "SVC_CODE_DIR": t.TempDir(),
		"SVC_PORTS": lab.PortRange(t), "SVC_DNS_MARGIN": "100ms", "NOTIFY_SOCKET": "",
	} {
		r.env = append(r.env, name+"="+value)
	}
	image := appImage(t)
	var err error
	if r.consul, err = consul.OpenAt(r.agent.HTTP, r.prefix, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	err = r.consul.PutRelease(t.Context(), fleet.Release{
		App: r.app, Name: "r1", Image: image, Tag: "watched:1", Spec: fmt.Sprintf(stationSpec, r.app, receiver.URL+"/hook"),
		Templates: map[string]string{"settings.tmpl": stationTemplate}, BuiltBy: "test", BuiltAt: time.Now().UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.set("KEY", "first")
	r.set("SIDE", "first")
	for _, service := range []string{"/web", "/side"} {
		up := exec.Command(stationImage.svcRun, "up", r.app+service)
		up.Env = r.env
		if out, err := up.CombinedOutput(); err != nil {
			t.Fatalf("up %s: %v\n%s", service, err, out)
		}
	}
	return r
}

func (r *station) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
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

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// key writes or, with method DELETE, removes a key of the app, e.g. secrets/KEY.
func (r *station) key(method, key, value string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.agent.URL()+"/v1/kv/"+r.prefix+"/apps/"+r.app+"/"+key, strings.NewReader(value))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %s", method, key, res.Status)
	}
}

func (r *station) set(secret, value string) { r.key(http.MethodPut, "secrets/"+secret, value) }

// one is the only instance of a service.
func (r *station) one(service string) fleet.Instance {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, service)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(list) != 1 {
		r.t.Fatalf("%d containers of %s, want 1", len(list), service)
	}
	return list[0]
}

// loaded is what a worker of a service says it has loaded; "" while none answers.
func (r *station) loaded(service string) string {
	i := r.one(service)
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", i.Port))
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// signals counts how often the master of a service was told to reload.
func (r *station) signals(service string) int {
	r.t.Helper()
	return strings.Count(command(r.t, "docker", "logs", r.one(service).ID), "Handling signal: hup")
}

// eventually polls until f holds.
func (r *station) eventually(what string, d *daemon, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(stationLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	said := ""
	if d != nil {
		said = d.said.String()
	}
	r.t.Fatalf("%s: not in time\n%s", what, said)
}

// message waits for one message.
func (r *station) message(d *daemon) notify.Message {
	r.t.Helper()
	select {
	case m := <-r.told:
		return m
	case <-time.After(stationLimit):
		r.t.Fatalf("nobody was told\n%s", d.said.String())
		return notify.Message{}
	}
}

// daemon is one `svc-reload watch`.
type daemon struct {
	r      *station
	said   *text
	stop   func()
	heard  chan string // what systemd would hear
	socket *net.UnixConn
	code   chan int
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

// watch starts the daemon and waits until it is ready.
func (r *station) watch(args ...string) *daemon {
	t := r.t
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := r.program(append([]string{"watch", "--quiet-period", "500ms"}, args...)...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+dir+"/notify", "WATCHDOG_USEC=400000")
	d := &daemon{r: r, said: &text{}, heard: make(chan string, 10000), socket: socket, code: make(chan int, 1)}
	t.Cleanup(func() { socket.Close() }) // the last that it says is read before
	d.stop = func() { _ = cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = d.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil {
				return
			}
			d.heard <- string(b[:n])
		}
	}()
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		d.code <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.said)
		}
	})
	d.expect("READY=1")
	return d
}

// expect waits until systemd hears something that begins like that.
func (d *daemon) expect(begin string) {
	d.r.t.Helper()
	limit := time.After(stationLimit)
	for {
		select {
		case got := <-d.heard:
			if strings.HasPrefix(got, begin) {
				return
			}
		case <-limit:
			d.r.t.Fatalf("systemd never heard %s\n%s", begin, d.said)
		}
	}
}

// end terminates the daemon and returns its exit code.
func (d *daemon) end() int {
	d.r.t.Helper()
	d.stop()
	select {
	case code := <-d.code:
		return code
	case <-time.After(stationLimit):
		d.r.t.Fatalf("does not end\n%s", d.said)
		return -1
	}
}

// program is svc-reload on this station, this test binary as a process of its own.
func (r *station) program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(slices.Clone(r.env), asProgram+"=svc-reload")
	return cmd
}

// once calls `svc-reload watch --once`.
func (r *station) once(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	cmd := r.program(append([]string{"watch", "--once", "--json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

// nodeRig is one node with an agent of Consul, the lab's engine, and a running `scaled node`.
type nodeRig struct {
	t      *testing.T
	app    string
	agent  *lab.Agent
	consul *consul.Client
	engine *docker.Engine
	url    string // of scaled node
	log    *logText
}

// logText is what a daemon writes, safe to read while it does.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNodeRig(t *testing.T) *nodeRig {
	t.Helper()
	r := &nodeRig{t: t, app: fmt.Sprintf("m%06x", rand.Uint32()&0xffffff), agent: lab.Consul(t), log: &logText{}}
	for name, value := range map[string]string{
		"DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": r.agent.URL(), "SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": t.TempDir(),
		"SVC_PREFIX": "svc-" + r.app, // other tests' containers on the same engine are not ours
	} {
		t.Setenv(name, value)
	}
	var err error
	if r.consul, err = consul.Open("svc-"+r.app, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	return r
}

func (r *nodeRig) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := r.engine.Instances(ctx, r.app, "")
	if err != nil {
		r.t.Errorf("clean up: %v", err)
	}
	for _, i := range list {
		if r.t.Failed() {
			lines, err := r.engine.Tail(ctx, i.ID, 20)
			r.t.Logf("%s is %s: %s %v", i.Name, i.State, strings.Join(lines, "\n"), err)
		}
		if err := r.engine.Remove(ctx, i.ID); err != nil {
			r.t.Errorf("clean up: %v", err)
		}
	}
	_ = r.engine.Close()
	if r.t.Failed() {
		r.t.Logf("scaled node said:\n%s", r.log)
	}
}

// release records a release r1 with these services.
func (r *nodeRig) release(services string) {
	r.t.Helper()
	err := r.consul.PutRelease(r.t.Context(), fleet.Release{
		App: r.app, Name: "r1", Image: "localhost:1/x@sha256:" + strings.Repeat("a", 64), BuiltAt: time.Now().UTC(), BuiltBy: "test@lab",
		Spec: "app: " + r.app + "\nservices:\n" + services,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// start starts a container of a service as svc-run does, with a folder at /srv.
// The address of its port 8000 on this node is returned.
func (r *nodeRig) start(service, dir string, env map[string]string, command ...string) (id, address string) {
	r.t.Helper()
	port := lab.FreePorts(r.t, 1)[0]
	id, err := r.engine.Create(r.t.Context(), fleet.Container{
		Name: r.app + "-" + service, Image: lab.BaseImage, Command: command, Env: env, Network: "bridge",
		Ports:  []fleet.PortMap{{Host: "127.0.0.1", HostPort: port, Container: 8000}},
		Mounts: []fleet.Mount{{Source: dir, Target: "/srv", ReadOnly: true}}, StopSignal: "SIGTERM", StopWait: time.Second, Restart: "no",
		Labels: map[string]string{
			fleet.LabelKind: "service", fleet.LabelApp: r.app, fleet.LabelService: service, fleet.LabelRelease: "r1", fleet.LabelPrefix: "svc-" + r.app,
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.engine.Start(r.t.Context(), id); err != nil {
		r.t.Fatal(err)
	}
	return id, fmt.Sprintf("127.0.0.1:%d", port)
}

// config sets a config key of the app.
func (r *nodeRig) config(key, value string) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPut, r.agent.URL()+"/v1/kv/svc-"+r.app+"/apps/"+r.app+"/config/"+key, strings.NewReader(value))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("put %s: %s", key, res.Status)
	}
}

// watch runs scaled node until the test ends, or until stop is called.
func (r *nodeRig) watch(args ...string) (stop func() int) {
	r.t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(r.t, 1)[0])
	r.url = "http://" + at
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- tool.Run(ctx, app(here.This()), append([]string{"scaled", "node", "--listen", at}, args...), strings.NewReader(""), io.Discard, r.log)
	}()
	var once sync.Once
	code := 0
	stop = func() int {
		once.Do(func() { cancel(tool.Terminate()); code = <-done })
		return code
	}
	r.t.Cleanup(func() { stop() })
	return stop
}

// sample asks for the sample now; nil while there is none.
func (r *nodeRig) sample() *fleet.Sample {
	res, err := http.Get(r.url + "/v1/sample")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var s fleet.Sample
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&s) != nil {
		return nil
	}
	return &s
}

// service is what the node tells of a service now; its name is empty where it does not.
func (r *nodeRig) service(name string) fleet.ServiceSample {
	if s := r.sample(); s != nil {
		for _, of := range s.Services {
			if of.Name == r.app+"/"+name {
				return of
			}
		}
	}
	return fleet.ServiceSample{}
}

// until polls a service until it is as wanted, and fails with what it was last.
func (r *nodeRig) until(limit time.Duration, name, what string, ok func(s fleet.ServiceSample) bool) fleet.ServiceSample {
	r.t.Helper()
	var s fleet.ServiceSample
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if s = r.service(name); s.Name != "" && ok(s) {
			return s
		}
	}
	text, _ := json.Marshal(s)
	r.t.Fatalf("%s: %s: not within %s: %s", name, what, limit, text)
	return s
}

// programs is a folder with a small WSGI app and the hooks of examples/marks.
func programs(t *testing.T) string {
	t.Helper()
	dir := lab.RunDir(t)
	hooks, err := os.ReadFile("../../examples/marks/svckit_marks.py")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"svckit_marks.py":  string(hooks),
		"gunicorn.conf.py": "from svckit_marks import post_worker_init, pre_request, post_request, worker_exit\nbind = '0.0.0.0:8000'\ntimeout = 1500\n",
		"app.py": `import time
from urllib.parse import parse_qs
def application(environ, start_response):
    time.sleep(float(parse_qs(environ.get("QUERY_STRING", "")).get("s", ["0"])[0]))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
`,
		"marked.py": "import svckit_marks, app\napplication = svckit_marks.Marked(app.application)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

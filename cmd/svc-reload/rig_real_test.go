//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lab/ground"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

// prefix keeps the tests of other packages on the same engine from taking these services for theirs.
const prefix = "svcreload"

// asProgram starts this test binary as svc-reload or svc-run.
const asProgram = "SVCKIT_TEST_AS"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "svc-reload" {
		main()
	}
	os.Exit(m.Run())
}

// environment is the node that the rows run on, all of them side by side: an
// agent, the test engine, and the image of all apps, which holds no code.
type environment struct {
	agent           *lab.Agent
	registry, image string
	uwsgi           string // image with a virtualenv and ini files
	svcRun, load    string // programs
}

// rig is one row: an app on that node whose name no other has.
type rig struct {
	t      *testing.T
	env    environment
	app    string
	source string // folder with the code of now
	consul *consul.Client
	engine *docker.Engine
}

// result is one call of a program.
type result struct {
	code           int
	stdout, stderr string
}

// newEnvironment makes the node; its variables hold for every program of the test.
func newEnvironment(t *testing.T) environment {
	t.Helper()
	registry := lab.Registry(t)
	e := environment{agent: lab.Consul(t), registry: registry, image: pushed(t, registry+"/env:env")}
	e.uwsgi = uwsgiImage(t, registry)
	e.svcRun, e.load = built(t, "svckit/cmd/svc-run"), built(t, "svckit/lab/cmd/load")
	for name, value := range map[string]string{
		"DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": e.agent.URL(), "SVC_CONFIG": "", "SVC_PREFIX": prefix,
		"SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": folder(t), "SVC_CODE_DIR": folder(t),
		"SVC_PORTS": lab.PortRange(t), "SVC_DNS_MARGIN": "100ms",
	} {
		t.Setenv(name, value)
	}
	return e
}

// row is one test on the node.
type row struct {
	name string
	test func(t *testing.T)
}

// sideBySide runs rows, so many at a time. They wait far more than they work: for
// workers, checks, DNS. (testing runs as many as there are cores.)
func sideBySide(t *testing.T, many int, rows []row) {
	t.Helper()
	free := make(chan struct{}, many)
	var all sync.WaitGroup
	for _, row := range rows {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			t.Run(row.name, row.test)
		})
	}
	all.Wait()
}

func newRig(t *testing.T, env environment) *rig {
	t.Helper()
	r := &rig{t: t, env: env, app: fmt.Sprintf("t%06x", rand.Uint32()&0xffffff), source: folder(t)}
	var err error
	if r.consul, err = consul.Open(prefix, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	return r
}

// folder is one that any user may pass through, with a plain name.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "svc-reload-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// clean takes what Consul knows of this test's app away, and then its containers:
// the other way round, a row beside it would find registrations without a container.
func (r *rig) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := r.consul.Registrations(ctx)
	for _, g := range all {
		if g.Meta[fleet.MetaApp] == r.app {
			err = errors.Join(err, r.consul.Deregister(ctx, g.ID))
		}
	}
	list, listErr := r.engine.Instances(ctx, r.app, "")
	err = errors.Join(err, listErr)
	for _, i := range list {
		if r.t.Failed() {
			lines, _ := r.engine.Tail(ctx, i.ID, 15)
			r.t.Logf("%s said:\n%s", i.Name, strings.Join(lines, "\n"))
		}
		err = errors.Join(err, r.engine.Remove(ctx, i.ID))
	}
	if err = errors.Join(err, r.engine.Close()); err != nil {
		r.t.Errorf("clean up: %v", err)
	}
}

// release records a release of the base image, which holds the environment only.
// text is app.yaml with a place for the app's name.
func (r *rig) release(name, text string) {
	r.t.Helper()
	err := r.consul.PutRelease(r.t.Context(), fleet.Release{
		App: r.app, Name: name, Image: r.env.image, Tag: r.env.registry + "/env:env",
		Spec:    fmt.Sprintf("app: %s\nbuild: {dockerfile: Dockerfile, image: %s/%s}\nservices:\n%s", r.app, r.env.registry, r.app, text),
		BuiltBy: "test", BuiltAt: time.Now().UTC(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// pushed is the base image in a registry, by its digest.
func pushed(t *testing.T, ref string) string {
	t.Helper()
	dockerDo(t, "tag", lab.BaseImage, ref)
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(dockerDo(t, "push", ref))
	if digest == "" {
		t.Fatalf("push %s: no digest", ref)
	}
	repo, _, _ := strings.Cut(ref, ":env")
	return repo + "@" + digest
}

func dockerDo(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"--host", os.Getenv(ground.EngineVar)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// code writes the files of the source folder, and nothing else in it.
func (r *rig) code(files map[string]string) {
	r.t.Helper()
	if err := os.RemoveAll(r.source); err != nil {
		r.t.Fatal(err)
	}
	for name, text := range files {
		at := filepath.Join(r.source, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// reload calls svc-reload in this process.
func (r *rig) reload(args ...string) result {
	r.t.Helper()
	var out, errs bytes.Buffer
	code := tool.Run(r.t.Context(), app(here.This()), append([]string{"svc-reload"}, args...), strings.NewReader(""), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// must calls svc-reload and expects exit 0.
func (r *rig) must(args ...string) result {
	r.t.Helper()
	got := r.reload(args...)
	if got.code != 0 {
		r.t.Fatalf("svc-reload %s: exit %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got
}

// run calls svc-run as a process of its own and expects exit 0.
func (r *rig) run(args ...string) {
	r.t.Helper()
	if out, err := exec.Command(r.env.svcRun, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("svc-run %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// built builds a program of ours, as fast as the build cache allows.
func built(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(folder(t), "program")
	if text, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	return out
}

func (r *rig) service() string { return r.app + "/web" }
func (r *rig) dns() string     { return r.app + "-web.service.consul" }

// instances are the containers of the app.
func (r *rig) instances() []fleet.Instance {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// url is where the first instance is reached.
func (r *rig) url() string {
	r.t.Helper()
	i := r.instances()[0]
	return fmt.Sprintf("http://%s:%d", i.Address, i.Port)
}

// get asks each instance for a page.
func (r *rig) get(path string) []string {
	r.t.Helper()
	var out []string
	for _, i := range r.instances() {
		said, err := answered(fmt.Sprintf("http://%s:%d%s", i.Address, i.Port, path))
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, said)
	}
	return out
}

func answered(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return strings.TrimSpace(string(b)), err
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return v
}

// The app of the tests: it answers with its generation, and slowly where asked.
func appCode(generation string) map[string]string {
	return map[string]string{"app.py": fmt.Sprintf(`import os, time
GENERATION = %q
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/slow"):
        time.sleep(5)
    if path.startswith("/long"):
        print("long request", flush=True)
        while not os.path.exists("/tmp/end"):
            time.sleep(0.1)
    content = (GENERATION + "\n").encode()
    # uWSGI's http-socket ends each connection and does not say so by itself.
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(content))), ("Connection", "close")]
    start_response("200 OK", headers)
    return [content]
`, generation)}
}

const gunicornSpec = `
  web:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --chdir, /srv/app, --worker-tmp-dir, /dev/shm, %s"app:application"]
    master: gunicorn
    port: 8000
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 300ms, deadline: 90s}
    stop: {timeout: 10s, drain: 100ms}
`

const uwsgiSpec = `
  web:
    command: [uwsgi, --plugin, python3, --chdir, /srv/app, --pythonpath, /srv/app, --module, "app:application", --need-app, --master, --processes, "2",
              --http-socket, "0.0.0.0:8000", --stats, /tmp/stats.sock, --die-on-term, --disable-logging, %s--listen, "100"]
    master: uwsgi
    port: 8000
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 300ms, deadline: 90s}
    stop: {timeout: 10s, drain: 100ms}
`

//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/consul"
	"svckit/lib/dnsd"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

// Variables by which a test starts this test binary as svc-run itself.
const (
	asProgram = "SVCKIT_TEST_AS_SVC_RUN"
	killAfter = "SVCKIT_TEST_KILL_AFTER" // number of a step: the process kills itself when the step is done
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		if err := flag.Set("test.parallel", "3"); err != nil { // tests wait far more than they work: for checks, DNS, the end of a drain
			panic(err)
		}
		testscript.Main(m, map[string]func(){"svc-run": main})
	}
	n, err := strconv.Atoi(os.Getenv(killAfter))
	if err != nil {
		main()
	}
	ctx := here.WithAfter(context.Background(), func(done int, _ rollout.Step) {
		if done == n {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {} // SIGKILL is on its way
		}
	})
	os.Exit(tool.Run(ctx, app(here.This()), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// rig is one node for a test: an agent, a registry, the test engine, and an app
// whose name no other test has.
type rig struct {
	t        *testing.T
	agent    *lab.Agent
	registry string
	app      string
	consul   *consul.Client
	engine   *docker.Engine
	builds   int
	env      map[string]string // variables of the node, for every svc-run
	beside   *lab.Engine       // an engine and network of this test's own; nil: the shared one
}

// result is one call of svc-run.
type result struct {
	code           int
	stdout, stderr string
}

// newRig makes the node of a test that runs beside others: svc-run is always a
// process, and what it knows of its node it has from r.env.
func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	return newRigAlone(t)
}

// newRigAlone is for a test that puts load on its service, looks into svc-run in
// this process, or has variables of its own; more arguments go to the agent.
func newRigAlone(t *testing.T, consulArgs ...string) *rig {
	t.Helper()
	return (&rig{t: t, agent: lab.Consul(t, consulArgs...), registry: lab.Registry(t)}).open(lab.DockerHost(t))
}

// newRigBeside is a node with an engine and a network of its own. Programs run
// there as processes; Consul's API is reached through a socket file.
func newRigBeside(t *testing.T, consulArgs ...string) *rig {
	t.Helper()
	e := lab.NewEngine(t)
	socket := filepath.Join(lab.RunDir(t), "consul.sock")
	args := append([]string{"-hcl", fmt.Sprintf("addresses { http = \"127.0.0.1 unix://%s\" }", socket)}, consulArgs...)
	r := &rig{t: t, agent: lab.ConsulIn(t, e, args...), registry: lab.RegistryIn(t, e), beside: e}
	t.Setenv("SVCKIT_TEST_DOCKER", e.Host) // images are built there
	t.Setenv("DOCKER_HOST", e.Host)
	r.open(e.Host)
	r.set("CONSUL_HTTP_ADDR", "unix://"+socket)
	var err error
	if r.consul, err = consul.OpenAt("unix://"+socket, "svc", hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	return r
}

// set gives svc-run a variable.
func (r *rig) set(name, value string) { r.env[name] = value }

func (r *rig) open(host string) *rig {
	t := r.t
	t.Helper()
	r.app = fmt.Sprintf("t%06x", rand.Uint32()&0xffffff)
	r.env = map[string]string{
		"DOCKER_HOST": host, "CONSUL_HTTP_ADDR": r.agent.URL(), "SVC_CONFIG": "",
		"SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": t.TempDir(), "SVC_PORTS": lab.PortRange(t),
		"SVC_DNS_MARGIN": "100ms", asProgram: "1", "GORACE": "atexit_sleep_ms=0",
	}
	var err error
	if r.consul, err = consul.OpenAt(r.agent.HTTP, "svc", hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	return r
}

// clean removes every container of this test's app.
func (r *rig) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := r.engine.Instances(ctx, r.app, "")
	if err != nil {
		r.t.Errorf("clean up: %v", err)
	}
	for _, i := range list {
		if err := r.engine.Remove(ctx, i.ID); err != nil {
			r.t.Errorf("clean up: %v", err)
		}
	}
	_ = r.engine.Close()
}

// run calls svc-run.
func (r *rig) run(args ...string) result {
	r.t.Helper()
	cmd := r.process(nil, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must calls svc-run and expects exit 0.
func (r *rig) must(args ...string) result {
	r.t.Helper()
	got := r.run(args...)
	if got.code != 0 {
		r.t.Fatalf("svc-run %s: exit %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got
}

// process prepares svc-run as a process of its own.
func (r *rig) process(env []string, args ...string) *exec.Cmd {
	r.t.Helper()
	argv := append([]string{os.Args[0]}, args...)
	if r.beside != nil {
		argv = append(slices.Clone(r.beside.Prefix), argv...)
	}
	cmd := exec.CommandContext(r.t.Context(), argv[0], argv[1:]...)
	cmd.Env = os.Environ()
	for name, value := range r.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

const plainSpec = `
app: %s
build: {image: %s}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 20s}
    stop: {timeout: 10s, drain: 500ms}
`

// release builds an image with these manners and records it. text is app.yaml with
// places for the app's name and the image.
func (r *rig) release(name, manners, text string) string {
	r.t.Helper()
	image := lab.AppImage(r.t, r.registry, r.app, name, manners)
	repo, _, _ := strings.Cut(image, "@")
	r.builds++
	err := r.consul.PutRelease(r.t.Context(), fleet.Release{
		App: r.app, Name: name, Image: image, Tag: repo + ":" + name, Spec: fmt.Sprintf(text, r.app, repo),
		BuiltBy: "test", BuiltAt: time.Now().UTC().Add(time.Duration(r.builds) * time.Millisecond),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return image
}

// kv writes a raw value below the prefix.
func (r *rig) kv(key, value string) {
	r.t.Helper()
	r.agentCall(http.MethodPut, "/v1/kv/svc/"+key, value)
}

// unset removes a key below the prefix.
func (r *rig) unset(key string) {
	r.t.Helper()
	r.agentCall(http.MethodDelete, "/v1/kv/svc/"+key, "")
}

// agentCall asks the agent and expects 200.
func (r *rig) agentCall(method, path, body string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.agent.URL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", lab.RootToken) // ignored without ACLs
	res, err := r.agent.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

func (r *rig) service() string { return r.app + "/web" }
func (r *rig) dns() string     { return r.app + "-web.service.consul" }

// endpoints asks Consul DNS.
func (r *rig) endpoints() []fleet.Endpoint {
	r.t.Helper()
	a, err := load.Resolved(func() (dnsd.Answer, error) { return dnsd.Lookup(r.t.Context(), r.agent.DNS, r.dns()) })
	if err != nil {
		r.t.Fatal(err)
	}
	return a.Endpoints
}

// get asks the service, found by DNS.
func (r *rig) get(path string) string {
	r.t.Helper()
	res, err := r.client(false).Get("http://" + r.dns() + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(res.Body)
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: %s", path, res.Status)
	}
	return b.String()
}

// client finds services by SRV at every new connection; without keepAlive that is every request.
func (r *rig) client(keepAlive bool) *http.Client { return load.Client(r.agent.DNS, keepAlive) }

// state is what is there of the app: running containers and registrations.
func (r *rig) state() (releases []string, registered int) {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, "")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, i := range list {
		releases = append(releases, i.Release+" "+string(i.State))
	}
	all, err := r.consul.Registrations(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return releases, len(all)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return v
}

// runIn calls svc-run in this process, with a context of the test's own.
func (r *rig) runIn(ctx context.Context, args ...string) result {
	r.t.Helper()
	for name, value := range r.env {
		r.t.Setenv(name, value)
	}
	var out, errs bytes.Buffer
	code := tool.Run(ctx, app(here.This()), append([]string{"svc-run"}, args...), strings.NewReader(""), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// releaseWith is release with templates.
func (r *rig) releaseWith(name, manners, text string, templates map[string]string) {
	r.t.Helper()
	r.release(name, manners, text)
	rel, err := r.consul.Release(r.t.Context(), r.app, name)
	if err != nil {
		r.t.Fatal(err)
	}
	rel.Templates = templates
	if err := r.consul.PutRelease(r.t.Context(), rel); err != nil {
		r.t.Fatal(err)
	}
}

// noSecretInLabels looks for a value in everything that the engine shows of our containers.
func (r *rig) noSecretInLabels(value string) {
	r.t.Helper()
	list, err := r.engine.Instances(r.t.Context(), r.app, "")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, i := range list {
		out, err := exec.Command("docker", "inspect", i.ID).CombinedOutput()
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.Contains(string(out), value) {
			r.t.Errorf("docker inspect shows a secret of %s", i.Name)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kill ends a process, given by its pid, as the end of the machine would.
func kill(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil || n < 2 {
		t.Fatalf("pid %q", pid)
	}
	if p, err := os.FindProcess(n); err == nil {
		_ = p.Kill()
	}
}

//go:build real

package main

import (
	"bytes"
	"context"
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
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/dnsd"
	"svckit/lib/docker"
	"svckit/lib/fleet"
)

// developer is somebody with a new project and svc-run dev in it.
type developer struct {
	t      *testing.T
	app    string
	dir    string
	run    string // SVC_RUN_DIR
	engine *docker.Engine
	cmd    *exec.Cmd
	talk   said
}

// said is what a process has said so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// newDeveloper makes a project with svc-build init. No Consul agent is named.
func newDeveloper(t *testing.T, runtime, base string) *developer {
	t.Helper()
	d := &developer{t: t, app: fmt.Sprintf("dev%06x", rand.Uint32()&0xffffff), run: lab.RunDir(t)}
	low := 28000 + rand.IntN(15)*100
	for name, value := range map[string]string{
		"DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": "", "SVC_CONFIG": "", "SVC_RUN_DIR": d.run,
		"SVC_PORTS": fmt.Sprintf("%d-%d", low, low+99), "HOME": t.TempDir(),
		"SVC_CONSUL": lab.ConsulBinary(t), "GOCACHE": goEnv(t, "GOCACHE"), "GOMODCACHE": goEnv(t, "GOMODCACHE"),
	} {
		t.Setenv(name, value)
	}
	var err error
	if d.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	build := filepath.Join(t.TempDir(), "svc-build")
	out, err := exec.Command("go", "build", "-o", build, "svckit/cmd/svc-build").CombinedOutput()
	if err != nil {
		t.Fatalf("build svc-build: %v\n%s", err, out)
	}
	parent := t.TempDir()
	init := exec.Command(build, "init", "--runtime", runtime, "--base", base, d.app)
	init.Dir = parent
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("svc-build init: %v\n%s", err, out)
	}
	d.dir = filepath.Join(parent, d.app)
	t.Cleanup(d.clean)
	return d
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// clean removes what a failed test may have left, and the image that dev keeps.
func (d *developer) clean() {
	if d.cmd != nil && d.cmd.Process != nil && d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	}
	for _, i := range d.containers() {
		_ = d.engine.Remove(context.Background(), i.ID)
	}
	if _, err := d.engine.Prune(context.Background(), devImages+d.app, nil, 0); err != nil {
		d.t.Error(err)
	}
	_ = d.engine.Close()
	if d.t.Failed() {
		d.t.Logf("dev said:\n%s", d.talk.String())
	}
}

// start runs svc-run dev as a process of its own.
func (d *developer) start(args ...string) {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command(self, append([]string{"dev"}, args...)...)
	d.cmd.Dir, d.cmd.Env = d.dir, append(os.Environ(), asProgram+"=1")
	d.cmd.Stdout, d.cmd.Stderr = &d.talk, &d.talk
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
}

// end sends a signal and returns the exit code.
func (d *developer) end(sig syscall.Signal) int {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		d.t.Fatalf("still running a minute after %s", sig)
	}
	return d.cmd.ProcessState.ExitCode()
}

// until polls until f is true.
func (d *developer) until(what string, f func() bool) {
	d.t.Helper()
	for limit := time.Now().Add(90 * time.Second); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			d.t.Fatalf("not in 90 s: %s", what)
		}
		if d.cmd != nil && d.cmd.Process != nil && syscall.Kill(d.cmd.Process.Pid, 0) != nil {
			d.t.Fatalf("svc-run dev ended; wanted: %s", what)
		}
	}
}

// says waits until a text was said after the mark, and returns the new mark.
func (d *developer) says(after int, text string) int {
	d.t.Helper()
	d.until("say "+text, func() bool { return strings.Contains(d.talk.String()[after:], text) })
	return after + strings.Index(d.talk.String()[after:], text) + len(text)
}

// first is the first group of a pattern in what was said.
func (d *developer) first(pattern string) string {
	d.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(d.talk.String())
	if found == nil {
		d.t.Fatalf("nothing like %s was said", pattern)
	}
	return found[1]
}

func (d *developer) get(url string) string {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, text)
}

func (d *developer) containers() []fleet.Instance {
	d.t.Helper()
	list, err := d.engine.Instances(context.Background(), d.app, "")
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// edit replaces a text in a file of the project.
func (d *developer) edit(name, old, new string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		d.t.Fatalf("%s does not hold %q", name, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, new)), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// nothingLeft looks for what dev must not leave behind.
func (d *developer) nothingLeft(agent string) {
	d.t.Helper()
	if left := d.containers(); len(left) > 0 {
		d.t.Errorf("containers are left: %+v", left)
	}
	if agent != "" {
		if _, err := http.Get(agent + "/v1/status/leader"); err == nil {
			d.t.Errorf("the agent at %s still answers", agent)
		}
	}
	entries, err := os.ReadDir(d.run)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), d.app) {
			d.t.Errorf("%s is left in the run folder", e.Name())
		}
	}
}

func TestANewPythonProjectRunsReloadsAndLeavesNothing(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.start()
	at := d.says(0, "found as "+d.app+"-web.service.consul: dig @127.0.0.1 -p ")
	url, agent := d.first(`web: (http://127\.0\.0\.1:\d+)`), d.first(`in memory: (http://127\.0\.0\.1:\d+)`)
	if got, want := d.get(url), "200 hello from "+d.app+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	answer, err := dnsd.Lookup(t.Context(), "127.0.0.1:"+d.first(`dig @127\.0\.0\.1 -p (\d+)`), d.app+"-web.service.consul")
	if err != nil || len(answer.Endpoints) != 1 {
		t.Errorf("DNS answers %+v, %v; want one endpoint", answer, err)
	}
	first := d.containers()[0]

	d.edit("app.py", "hello from", "good day from")
	d.until("serve the change", func() bool { return strings.HasPrefix(d.get(url), "200 good day") })
	at = d.says(at, "web: reloaded in ")

	d.edit("app.py", "def hello", "def hello(:\n\ndef hello")
	at = d.says(at, "the new code does not load")
	d.says(at, "SyntaxError")
	if got := d.get(url); !strings.HasPrefix(got, "200 good day") {
		t.Errorf("after broken code: %q, want the old answer", got)
	}
	d.edit("app.py", "def hello(:\n\ndef hello", "def hello")
	d.edit("app.py", "good day", "good night")
	d.until("recover", func() bool { return strings.HasPrefix(d.get(url), "200 good night") })
	at = d.says(at, "web: reloaded in ")
	if now := d.containers(); len(now) != 1 || now[0].ID != first.ID {
		t.Errorf("reloads made another container: %+v", now)
	}

	// Config comes from dev.env, and is a change too.
	if err := os.WriteFile(filepath.Join(d.dir, "dev.env"), []byte("GREETING=ahoy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at = d.says(at, "web: up in ")
	if now := d.containers(); len(now) != 1 || now[0].Env["GREETING"] != "ahoy" {
		t.Errorf("after a change of dev.env: %+v", now)
	}
	if got := d.get(url); !strings.HasPrefix(got, "200 good night") {
		t.Errorf("after the container was replaced the URL answers %q", got)
	}

	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
	if !strings.Contains(d.talk.String(), "web | [") { // gunicorn's own lines
		t.Error("the output of the container was not shown")
	}
}

func TestAGoProjectIsBuiltAgainOnChange(t *testing.T) {
	d := newDeveloper(t, "go", lab.GoImage(t))
	d.start()
	at := d.says(0, "found as ")
	url, agent := d.first(`web: (http://127\.0\.0\.1:\d+)`), d.first(`in memory: (http://127\.0\.0\.1:\d+)`)

	d.edit("main.go", "hello from", "good day from")
	d.until("serve the change", func() bool { return strings.HasPrefix(d.get(url), "200 good day") })
	at = d.says(at, "web: up in ")

	d.edit("main.go", "func routes()", "func routes(")
	at = d.says(at, "build image: step ")
	if got := d.get(url); !strings.HasPrefix(got, "200 good day") {
		t.Errorf("after a build that failed: %q, want the old answer", got)
	}
	d.edit("main.go", "func routes(", "func routes()")
	d.edit("main.go", "good day", "good night")
	d.until("recover", func() bool { return strings.HasPrefix(d.get(url), "200 good night") })
	d.says(at, "web: up in ")

	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
}

func TestWhatAKilledDevLeftIsTakenAwayByTheNext(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.start()
	d.says(0, "found as ")
	agent := d.first(`in memory: (http://127\.0\.0\.1:\d+)`)
	if code := d.end(syscall.SIGKILL); code != -1 {
		t.Fatalf("exit code %d, want a death by signal", code)
	}
	if left := d.containers(); len(left) != 1 || left[0].Restart != "no" {
		t.Errorf("after SIGKILL: %+v, want one container that is not started again", left)
	}
	before := len(d.talk.String())
	d.start()
	d.says(before, "was left by a run that is gone: removed")
	d.says(before, "found as ")
	if got := d.containers(); len(got) != 1 {
		t.Errorf("%d containers, want 1", len(got))
	}
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
}

// fails starts dev, waits for its end and returns the exit code.
func (d *developer) fails(args ...string) int {
	d.t.Helper()
	d.start(args...)
	_ = d.cmd.Wait()
	code := d.cmd.ProcessState.ExitCode()
	d.cmd = nil
	return code
}

func TestMissingConfigIsListedAndLeavesNothing(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.edit("app.yaml", "check: {http: /healthz}", "check: {http: /healthz}\n    config: {env: [DATABASE_URL], secrets: [TOKEN]}")
	if code := d.fails(); code != 11 {
		t.Errorf("exit code %d, want 11", code)
	}
	for _, want := range []string{"DATABASE_URL", "TOKEN", "hint: write what is missing as KEY=VALUE lines into"} {
		if !strings.Contains(d.talk.String(), want) {
			t.Errorf("with missing config it does not say %s", want)
		}
	}
	d.nothingLeft("")
}

func TestAnAgentThatAnswersIsUsedAndKeepsNothing(t *testing.T) {
	agent := lab.Consul(t)
	d := newDeveloper(t, "python", lab.BaseImage)
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	name := d.app + "-web"
	d.start()
	d.says(0, "found as "+name+".service.consul: dig @127.0.0.1 -p "+strings.TrimPrefix(agent.DNS, "127.0.0.1:"))
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft("")
	if left := d.get(agent.URL() + "/v1/agent/services"); left != "200 {}" {
		t.Errorf("registrations are left: %s", left)
	}

	// A name that others serve is not joined.
	body := fmt.Sprintf(`{"Node":"node2","Address":"127.0.0.1","Service":{"Service":%q,"Address":"127.0.0.1","Port":1}}`, name)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, agent.URL()+"/v1/catalog/register", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if code := d.fails(); code != 17 || !strings.Contains(d.talk.String(), name+" is served by node node2") {
		t.Errorf("exit code %d, want 17 and who serves the name", code)
	}
	d.nothingLeft("")
}

func TestAServiceThatUpRunsIsLeftAlone(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	id, err := d.engine.Create(t.Context(), fleet.Container{
		Name: d.app + "-web-000000", Image: lab.BaseImage, Command: []string{"sleep", "600"}, Network: "bridge", Restart: "no",
		StopSignal: "SIGKILL", StopWait: time.Second,
		Labels: map[string]string{fleet.LabelKind: "service", fleet.LabelApp: d.app, fleet.LabelService: "web", fleet.LabelRelease: "r1", fleet.LabelPrefix: "svc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if code := d.fails(); code != 17 || !strings.Contains(d.talk.String(), "svc-run down "+d.app+"/web ends it") {
		t.Errorf("exit code %d, want 17 and what ends it", code)
	}
	if i, err := d.engine.Instance(t.Context(), id); err != nil || i.State != fleet.Running {
		t.Errorf("the container of `up` is %s, %v", i.State, err)
	}
}

func TestWithoutAProgramTheAgentComesFromAnImageOrNotAtAll(t *testing.T) {
	program := lab.ConsulBinary(t)
	d := newDeveloper(t, "python", lab.BaseImage)
	t.Setenv("SVC_CONSUL", "")
	t.Setenv("PATH", "/nonexistent")
	d.start()
	at := d.says(0, "nothing is found by name")
	d.says(at, "web: http://127.0.0.1:")
	if got := d.get(d.first(`web: (http://127\.0\.0\.1:\d+)`)); !strings.HasPrefix(got, "200 hello") {
		t.Errorf("without names it answers %q", got)
	}
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft("")

	const image = "hashicorp/consul:latest"
	tar := exec.Command("/bin/tar", "-C", filepath.Dir(program), "-c", filepath.Base(program))
	load := exec.Command("/usr/bin/docker", "-H", lab.DockerHost(t), "import", "-c", `ENTRYPOINT ["/`+filepath.Base(program)+`"]`, "-", image)
	var err error
	if load.Stdin, err = tar.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("import consul: %v\n%s", err, out)
	}
	_ = tar.Wait()
	t.Cleanup(func() { _ = exec.Command("/usr/bin/docker", "-H", lab.DockerHost(t), "rmi", image).Run() })
	mark := len(d.talk.String())
	d.start()
	d.says(mark, "from image hashicorp/consul")
	d.says(mark, "found as ")
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(d.first(`from image hashicorp/consul: (http://127\.0\.0\.1:\d+)`))
}

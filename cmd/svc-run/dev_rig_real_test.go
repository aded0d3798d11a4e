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
	"svckit/lib/docker"
	"svckit/lib/fleet"
)

// developer is somebody with a new project and svc-run dev in it.
type developer struct {
	t      *testing.T
	app    string
	dir    string
	run    string            // SVC_RUN_DIR
	env    map[string]string // variables of svc-run dev
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

// newDeveloper makes a project with svc-build init. No Consul agent is named, so
// tests of dev run one after the other: each would use the agent that another started.
func newDeveloper(t *testing.T, runtime, base string) *developer {
	t.Helper()
	d := &developer{t: t, app: fmt.Sprintf("dev%06x", rand.Uint32()&0xffffff), run: lab.RunDir(t)}
	low := 28000 + rand.IntN(15)*100
	d.env = map[string]string{
		asProgram: "1", "DOCKER_HOST": lab.DockerHost(t), "CONSUL_HTTP_ADDR": "", "SVC_CONFIG": "", "SVC_RUN_DIR": d.run,
		"SVC_PORTS": fmt.Sprintf("%d-%d", low, low+99), "HOME": t.TempDir(),
		"SVC_CONSUL": lab.ConsulBinary(t), "GOCACHE": goEnv(t, "GOCACHE"), "GOMODCACHE": goEnv(t, "GOMODCACHE"),
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
	d.cmd.Dir, d.cmd.Env = d.dir, os.Environ()
	for name, value := range d.env {
		d.cmd.Env = append(d.cmd.Env, name+"="+value)
	}
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
	for limit := time.Now().Add(5 * time.Minute); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			d.t.Fatalf("not in 5 minutes: %s", what)
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
		if got := d.get(agent + "/v1/status/leader"); !strings.Contains(got, "connection refused") {
			d.t.Errorf("the agent at %s still answers: %s", agent, got)
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

// Package stage is what benchmarks stand on: a registry, an agent, programs
// beside them, and what a process takes.
package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where the parts of a stage are, in the network of its lab.
const (
	Registry = "127.0.0.1:5000"
	Consul   = "http://127.0.0.1:8500"
)

// Stage is a folder, a registry and a Consul agent, and an environment in which
// the programs of svckit use them and the lab's engine.
type Stage struct {
	Dir   string
	Env   []string
	parts []*exec.Cmd
}

// New sets a stage up; env comes on top of its environment.
func New(env ...string) (*Stage, error) {
	dir, err := os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "bench")
	if err != nil {
		return nil, err
	}
	s := &Stage{Dir: dir}
	s.Env = append(append(
		os.Environ(), "DOCKER_HOST="+os.Getenv("SVCKIT_TEST_DOCKER"), "CONSUL_HTTP_ADDR="+Consul, "SVC_CONFIG=",
		"SVC_RUN_DIR="+filepath.Join(dir, "run"), "SVC_STATE_DIR="+filepath.Join(dir, "state"), "SVC_CODE_DIR="+filepath.Join(dir, "volume"),
	), env...)
	if err := s.setUp(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) setUp() error {
	config := filepath.Join(s.Dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(s.Dir, "registry"), Registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := s.Start("registry", "docker-registry", "serve", config); err != nil {
		return err
	}
	if _, err := s.Start("consul", os.Getenv("SVCKIT_TEST_CONSUL"), "agent", "-dev", "-node=bench", "-log-level=error"); err != nil {
		return err
	}
	for _, url := range []string{"http://" + Registry + "/v2/", Consul + "/v1/catalog/service/consul"} {
		if err := Until(time.Minute, url, func() error { return Answers(url) }); err != nil {
			return err
		}
	}
	return nil
}

// Start starts a program that runs until Close at the latest. What it says goes to NAME.log.
func (s *Stage) Start(name, program string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(s.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.Env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.parts = append(s.parts, cmd)
	return cmd, nil
}

// Run runs a command in a folder and returns what it prints; what it says is in the error when it fails.
func (s *Stage) Run(dir, name string, args ...string) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, s.Env, &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.Bytes(), nil
}

// Promote makes the newest release of an app current, and returns its name.
func (s *Stage) Promote(app string) (string, error) {
	out, err := s.Run(s.Dir, "svc-run", "releases", app, "--json")
	if err != nil {
		return "", err
	}
	var list struct{ Releases []struct{ Release string } }
	if err := json.Unmarshal(out, &list); err != nil {
		return "", fmt.Errorf("releases of %s: %w: %s", app, err, out)
	}
	if len(list.Releases) == 0 {
		return "", fmt.Errorf("%s has no release", app)
	}
	name := list.Releases[0].Release
	_, err = s.Run(s.Dir, "svc-run", "promote", app, name)
	return name, err
}

// Close ends every program and removes the folder.
func (s *Stage) Close() {
	for _, p := range s.parts {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	_ = os.RemoveAll(s.Dir)
}

// Answers asks a URL once.
func Answers(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// Until polls f until it has no complaint.
func Until(limit time.Duration, what string, f func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("wait for %s: not within %s: %w", what, limit, err)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	registry = "127.0.0.1:5000"
	consul   = "http://127.0.0.1:8500"
	dns      = "127.0.0.1:5353"
	settle   = 30 * time.Second // after the start of the daemons; and how long they are weighed
)

// ground is an agent, a registry, and the daemons of a node.
type ground struct {
	dir     string
	env     []string
	parts   []*exec.Cmd
	running []daemon
	program []byte // the app that the services are
}

type daemon struct {
	name string
	cmd  *exec.Cmd
}

func newGround() (g *ground, err error) {
	g = &ground{}
	if g.dir, err = os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "host"); err != nil {
		return nil, err
	}
	g.env = append(
		os.Environ(), "DOCKER_HOST="+os.Getenv("SVCKIT_TEST_DOCKER"), "CONSUL_HTTP_ADDR="+consul, "SVC_DNS_MARGIN=0s", "SVC_CONFIG=",
		"SVC_RUN_DIR="+filepath.Join(g.dir, "run"), "SVC_STATE_DIR="+filepath.Join(g.dir, "state"), "SVC_CODE_DIR="+filepath.Join(g.dir, "code"),
	)
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) start() error {
	file := filepath.Join(g.dir, "testapp")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "svckit/lab/testapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build testapp: %w\n%s", err, text)
	}
	var err error
	if g.program, err = os.ReadFile(file); err != nil {
		return err
	}
	config := filepath.Join(g.dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(g.dir, "registry"), registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := g.part("docker-registry", "serve", config); err != nil {
		return err
	}
	if _, err := g.part(os.Getenv("SVCKIT_TEST_CONSUL"), "agent", "-dev", "-node=bench", "-log-level=error"); err != nil {
		return err
	}
	for _, url := range []string{"http://" + registry + "/v2/", consul + "/v1/catalog/service/consul"} {
		if err := until(time.Minute, url, func() error { return answers(url) }); err != nil {
			return err
		}
	}
	return nil
}

func (g *ground) part(name string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(g.dir, fmt.Sprintf("part%d.log", len(g.parts))))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = g.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	g.parts = append(g.parts, cmd)
	return cmd, nil
}

// daemons starts all of a node, and has svc-dns asked for every service.
func (g *ground) daemons(names []string) error {
	for _, words := range [][]string{
		{"svc-dns", "serve", "--listen", dns}, {"scaled", "node"}, {"scaled", "run"}, {"svc-reload", "watch"}, {"svc-run", "events", "--follow"},
	} {
		cmd, err := g.part(words[0], words[1:]...)
		if err != nil {
			return err
		}
		g.running = append(g.running, daemon{strings.TrimSuffix(strings.Join(words[:2], " "), " serve"), cmd})
	}
	if err := until(time.Minute, "svc-dns", func() error { return g.ask(names[0]) }); err != nil {
		return err
	}
	for _, name := range names {
		if err := until(time.Minute, name, func() error { return g.ask(name) }); err != nil {
			return err
		}
	}
	time.Sleep(settle)
	return nil
}

// ask looks up a service as a client does.
func (g *ground) ask(service string) error {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", dns)
	}}
	_, found, err := r.LookupSRV(context.Background(), "", "", strings.ReplaceAll(service, "/", "-")+".service.consul.")
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("svc-dns does not know %s", service)
	}
	return err
}

// weigh prints what each daemon takes.
func (g *ground) weigh() error {
	before := make([]float64, len(g.running))
	for i, d := range g.running {
		var err error
		if before[i], err = spent(d.cmd.Process.Pid); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	time.Sleep(settle)
	fmt.Printf("| daemon, with that many services | resident MiB | ms of a core each second |\n|---|---|---|\n")
	for i, d := range g.running {
		after, err := spent(d.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		resident, err := status(d.cmd.Process.Pid, "VmRSS")
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.0f |\n", d.name, resident, 1000*(after-before[i])/settle.Seconds())
	}
	return nil
}

// cost runs a command and returns its processor time in seconds, and the most memory that it had, in MiB.
func (g *ground) cost(words ...string) (seconds, peak float64, err error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = g.dir, g.env
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil && (words[1] != "doctor" || cmd.ProcessState.ExitCode() > 1) { // doctor finds things to say about a lab
		return 0, 0, fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, said.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("no resource usage of a child")
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), float64(usage.Maxrss) / 1024, nil
}

// status reads a field of /proc/PID/status that is in kB, in MiB.
func status(pid int, name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", name, pid)
}

// spent is the processor time of a process in seconds, at 100 ticks a second (proc(5)).
func spent(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err, err2)
}

// newest is the first release of a list.
func newest(out []byte) (string, error) {
	var list struct{ Releases []struct{ Release string } }
	if err := json.Unmarshal(out, &list); err != nil || len(list.Releases) == 0 {
		return "", fmt.Errorf("no release in %s: %w", out, err)
	}
	return list.Releases[0].Release, nil
}

func answers(url string) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	return nil
}

func until(limit time.Duration, what string, f func() error) error {
	end := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *ground) close() {
	for _, p := range g.parts {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	_ = os.RemoveAll(g.dir)
}

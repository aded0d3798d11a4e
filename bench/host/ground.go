package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"svckit/bench/stage"
)

const (
	dns    = "127.0.0.1:5353"
	settle = 30 * time.Second // after the start of the daemons; and how long they are weighed
)

// ground is a stage with the daemons of a node.
type ground struct {
	*stage.Stage
	running []daemon
	program []byte // the app that the services are
}

type daemon struct {
	name string
	cmd  *exec.Cmd
}

func newGround() (*ground, error) {
	s, err := stage.New("SVC_DNS_MARGIN=0s")
	if err != nil {
		return nil, err
	}
	g := &ground{Stage: s}
	if err := g.build(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// build makes the app.
func (g *ground) build() error {
	file := filepath.Join(g.Dir, "testapp")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "svckit/lab/testapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build testapp: %w\n%s", err, text)
	}
	var err error
	g.program, err = os.ReadFile(file)
	return err
}

// daemons starts all of a node, and has svc-dns asked for every service.
func (g *ground) daemons(names []string) error {
	for _, words := range [][]string{
		{"svc-dns", "serve", "--listen", dns}, {"scaled", "node"}, {"scaled", "run"}, {"svc-reload", "watch"}, {"svc-run", "events", "--follow"},
	} {
		name := strings.TrimSuffix(strings.Join(words[:2], " "), " serve")
		cmd, err := g.Start(name, words[0], words[1:]...)
		if err != nil {
			return err
		}
		g.running = append(g.running, daemon{name, cmd})
	}
	if err := stage.Until(time.Minute, "svc-dns", func() error { return g.ask(names[0]) }); err != nil {
		return err
	}
	for _, name := range names {
		if err := stage.Until(time.Minute, name, func() error { return g.ask(name) }); err != nil {
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
	before := make([]time.Duration, len(g.running))
	for i, d := range g.running {
		var err error
		if before[i], err = stage.Spent(d.cmd.Process.Pid); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	time.Sleep(settle)
	fmt.Printf("| daemon, with that many services | resident MiB | ms of a core each second |\n|---|---|---|\n")
	for i, d := range g.running {
		after, err := stage.Spent(d.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		resident, err := stage.Resident(d.cmd.Process.Pid)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.0f |\n", d.name, resident, 1000*(after-before[i]).Seconds()/settle.Seconds())
	}
	return nil
}

// cost runs a command and returns its processor time in seconds, and the most memory that it had, in MiB.
func (g *ground) cost(words ...string) (seconds, peak float64, err error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = g.Dir, g.Env
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

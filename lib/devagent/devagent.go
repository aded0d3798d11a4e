// Package devagent starts a Consul agent for one developer: in memory, on
// loopback, and gone with the process that started it.
package devagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"svckit/lib/fault"
)

// Ports are where an agent listens on 127.0.0.1.
type Ports struct{ HTTP, DNS, Serf, Server int }

// The ports that everybody knows, taken where they are free.
const (
	usualHTTP = 8500
	usualDNS  = 8600
)

// readyLimit bounds the start of an agent; 0.6 s is usual.
const readyLimit = time.Minute

// ChoosePorts takes the usual ports where nothing listens on them, and free ones else.
func ChoosePorts() (Ports, error) {
	var p Ports
	for _, c := range []struct {
		port  *int
		usual int
	}{{&p.HTTP, usualHTTP}, {&p.DNS, usualDNS}, {&p.Serf, 0}, {&p.Server, 0}} {
		var err error
		if *c.port, err = choose(c.usual); err != nil {
			return Ports{}, fmt.Errorf("choose a port for Consul: %w", err)
		}
	}
	return p, nil
}

// choose returns a port that is free for TCP and UDP: the usual one, or any.
func choose(usual int) (int, error) {
	var last error
	for try := range 20 {
		port := usual
		if try > 0 {
			port = 0
		}
		l, err := net.Listen("tcp", at(port))
		if err != nil {
			last = err
			continue
		}
		got := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", at(got))
		_ = l.Close()
		if err != nil {
			last = err
			continue
		}
		_ = u.Close()
		return got, nil
	}
	return 0, last
}

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// HTTPAddress is host:port of the API.
func (p Ports) HTTPAddress() string { return at(p.HTTP) }

// Args are the arguments of `consul` for an agent on these ports.
func (p Ports) Args() []string {
	return []string{
		"agent", "-dev", "-node=dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
		fmt.Sprintf("-http-port=%d", p.HTTP), fmt.Sprintf("-dns-port=%d", p.DNS),
		fmt.Sprintf("-serf-lan-port=%d", p.Serf), "-serf-wan-port=-1", fmt.Sprintf("-server-port=%d", p.Server),
		"-grpc-port=-1", "-grpc-tls-port=-1", "-hcl", "connect { enabled = false }",
	}
}

// Agent is an agent that runs as a child of this process.
type Agent struct {
	Ports
	cmd  *exec.Cmd
	log  lastLines
	done chan struct{}
}

// Start runs the consul program at path and returns when the agent takes writes.
// A port that somebody takes between its choice and its use is chosen anew.
func Start(ctx context.Context, path string) (a *Agent, err error) {
	for range 3 {
		if a, err = start(ctx, path); err == nil || !portTaken(err) {
			break
		}
	}
	return a, err
}

func portTaken(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && slices.ContainsFunc(f.Detail, func(line string) bool { return strings.Contains(line, "address already in use") })
}

func start(ctx context.Context, path string) (*Agent, error) {
	ports, err := ChoosePorts()
	if err != nil {
		return nil, err
	}
	a := &Agent{Ports: ports, done: make(chan struct{})}
	a.cmd = exec.Command(path, ports.Args()...)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	// Its own process group: Ctrl-C in the terminal is not for it, since
	// registrations are taken away before it ends.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go a.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	ready, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.done:
			cancel()
		case <-ready.Done():
		}
	}()
	if err := Ready(ready, ports); err != nil {
		a.Stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := fault.New(fault.Failed, "start %s: %w", path, err)
		e.Detail = a.log.lines()
		return nil, e
	}
	return a, nil
}

// run is the thread that the child belongs to: the kernel sends Pdeathsig when
// the thread ends that started the child, not the process (golang/go#27505).
func (a *Agent) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := a.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = a.cmd.Wait()
	close(a.done)
}

// Done is closed when the agent has ended.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Stop ends the agent; it has nothing to lose. It is nothing to stop it twice.
func (a *Agent) Stop() {
	select {
	case <-a.done:
		return
	default:
	}
	_ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL)
	<-a.done
}

// Ready waits until an agent on these ports has a leader and its node is in the catalog.
func Ready(ctx context.Context, p Ports) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := inCatalog(ctx, p)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fault.New(fault.Timeout, "not ready after %s: %w", readyLimit, err)
			}
			return errors.New("it ended")
		case <-tick.C:
		}
	}
}

func inCatalog(ctx context.Context, p Ports) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTPAddress()+"/v1/catalog/nodes", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var nodes []struct{ Node string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&nodes); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for nodes: %s", res.Status)
	}
	if len(nodes) == 0 {
		return errors.New("no node in the catalog yet")
	}
	return nil
}

// lastLines keeps the end of what an agent says. It is written by one goroutine
// and read after that has ended.
type lastLines struct{ text []byte }

const maxText = 8 << 10

func (l *lastLines) Write(p []byte) (int, error) {
	l.text = append(l.text, p...)
	if n := len(l.text) - maxText; n > 0 {
		l.text = append(l.text[:0], l.text[n:]...)
	}
	return len(p), nil
}

func (l *lastLines) lines() []string {
	if len(l.text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(l.text), "\n"), "\n")
}

//go:build real

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"svckit/lab"
)

// member is one agent of a cluster of a test: unlike lab.Consul's it keeps its
// state on disk, so that it can be stopped, killed and started again.
type member struct {
	t               *testing.T
	node            string
	http, dns, serf string
	argv            []string
	cmd             *exec.Cmd
	done            chan struct{}
	log             *syncBuffer
}

func newMember(t *testing.T, node string, servers int, join ...string) *member {
	t.Helper()
	p := lab.FreePorts(t, 4)
	at := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", p[n]) }
	m := &member{t: t, node: node, http: at(0), dns: at(1), serf: at(2)}
	m.argv = []string{
		lab.ConsulBinary(t), "agent", "-node=" + node, "-data-dir=" + t.TempDir(), "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
		fmt.Sprintf("-http-port=%d", p[0]), fmt.Sprintf("-dns-port=%d", p[1]), fmt.Sprintf("-serf-lan-port=%d", p[2]), "-serf-wan-port=-1",
		fmt.Sprintf("-server-port=%d", p[3]), "-grpc-port=-1", "-grpc-tls-port=-1",
		"-hcl", "disable_update_check = true\nconnect { enabled = false }\nperformance { raft_multiplier = 1 }\ngossip_lan { probe_interval = \"300ms\" probe_timeout = \"150ms\" suspicion_mult = 2 }",
	}
	if servers > 0 {
		m.argv = append(m.argv, "-server", fmt.Sprintf("-bootstrap-expect=%d", servers))
	}
	for _, j := range join {
		m.argv = append(m.argv, "-retry-join="+j, "-retry-interval=1s")
	}
	m.start()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("consul %s:\n%s", node, m.log.String())
		}
	})
	return m
}

func (m *member) url() string { return "http://" + m.http }

func (m *member) start() {
	m.t.Helper()
	m.log, m.done = &syncBuffer{}, make(chan struct{})
	m.cmd = exec.Command(m.argv[0], m.argv[1:]...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	cmd, done := m.cmd, m.done
	go func() { _ = cmd.Wait(); close(done) }()
}

func (m *member) kill() { _ = m.cmd.Process.Kill(); <-m.done }

// stop ends the agent by TERM: a client agent leaves the cluster.
func (m *member) stop() { _ = m.cmd.Process.Signal(syscall.SIGTERM); <-m.done }

// joined waits until the servers know the agent.
func (m *member) joined(server *member) {
	m.t.Helper()
	within(m.t, soon, m.node+" is in the cluster", func() error {
		var nodes []struct{ Node string }
		if err := get(server.url()+"/v1/catalog/nodes", &nodes); err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Node == m.node {
				return nil
			}
		}
		return fmt.Errorf("not in %v", nodes)
	})
}

func get(url string, into any) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// listeners accept connections, as the instances of a service do, on addresses of loopback.
func listeners(t *testing.T, addresses ...string) (ports []int, close func(n int)) {
	t.Helper()
	var open []net.Listener
	for _, a := range addresses {
		l, err := net.Listen("tcp", a+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		open = append(open, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, func(n int) { open[n].Close() }
}

// watcher asks one name again and again and counts what is not as it should be.
type watcher struct {
	stop  chan struct{}
	wait  sync.WaitGroup
	asked atomic.Int64
	fewer atomic.Int64 // answers with fewer records than wanted, or none at all
	mu    sync.Mutex
	first string // the first thing that went wrong
}

// watchName asks about 200 times a second with each of four clients until end is called.
func watchName(server, name string, want int) *watcher {
	w := &watcher{stop: make(chan struct{})}
	for range 4 {
		w.wait.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-w.stop:
					return
				case <-tick.C:
					w.once(server, name, want)
				}
			}
		})
	}
	return w
}

func (w *watcher) once(server, name string, want int) {
	began := time.Now()
	m, err := ask(server, "udp", name, dns.TypeA, 4096)
	w.asked.Add(1)
	if err == nil && m.Rcode == dns.RcodeSuccess && len(m.Answer) >= want {
		return
	}
	w.fewer.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == "" {
		w.first = fmt.Sprintf("at %s, after %s: %v, error %v", began.Format("15:04:05.000"), time.Since(began), m, err)
	}
}

// atLeast waits until so many questions have been asked.
func (w *watcher) atLeast(t *testing.T, count int64) {
	t.Helper()
	within(t, soon, "questions are asked", func() error {
		if n := w.asked.Load(); n < count {
			return fmt.Errorf("%d, want %d", n, count)
		}
		return nil
	})
}

func (w *watcher) end() (asked, fewer int64, first string) {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.wait.Wait()
	return w.asked.Load(), w.fewer.Load(), w.first
}

// mustBeWhole ends a watcher and fails unless every answer was whole.
func (w *watcher) mustBeWhole(t *testing.T, what string) {
	t.Helper()
	asked, fewer, first := w.end()
	if fewer > 0 || asked < 20 {
		t.Errorf("%s: %d of %d answers failed or lacked instances; the first %s", what, fewer, asked, first)
	}
	t.Logf("%s: %d questions, %d failed", what, asked, fewer)
}

// cutter is a proxy in front of an agent whose connections can be cut.
type cutter struct {
	l     net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{l: l, to: to}
	t.Cleanup(func() { l.Close(); c.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	return c
}

func pipe(from, to net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

// cut ends the connections that are open and returns how many these were.
func (c *cutter) cut() (open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	open, c.conns = len(c.conns), nil
	return open
}

// connections counts the open TCP connections to a port of 127.0.0.1.
func connections(t *testing.T, address string) int {
	t.Helper()
	_, port, _ := net.SplitHostPort(address)
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	count, want := 0, fmt.Sprintf("0100007F:%04X", n)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == want && f[3] == "01" {
			count++
		}
	}
	return count
}

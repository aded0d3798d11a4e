//go:build real

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"svckit/lab"
)

func explainedFrom(t *testing.T, text string) string {
	t.Helper()
	var e struct {
		Schema  int    `json:"schema"`
		From    string `json:"from"`
		Choices []any  `json:"choices"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Schema != 1 || len(e.Choices) == 0 {
		t.Errorf("lookup prints %q, error %v", text, err)
	}
	return e.From
}

// Thousands of services and of names that do not exist: all are answered, the
// agent's 200 connections are enough, and what is kept is bounded.
func TestThousandsOfNames(t *testing.T) {
	const services, unknown = 5000, 10000
	agent := lab.Consul(t)
	node := object{"Node": object{"Verb": "set", "Node": object{"Node": "far", "Address": "10.9.9.9"}}}
	put(t, agent.URL(), "/v1/txn", []object{node})
	for first := 0; first < services; first += 100 {
		var ops []object
		for n := first; n < first+100; n++ {
			ops = append(ops, object{"Service": object{"Verb": "set", "Node": "far", "Service": object{
				"ID": fmt.Sprintf("s%d", n), "Service": fmt.Sprintf("s%d", n), "Address": fmt.Sprintf("10.2.%d.%d", n/250, n%250+1), "Port": 80,
			}}})
		}
		put(t, agent.URL(), "/v1/txn", ops)
	}
	s := newServer(t, agent.URL())
	ask := func(count int, name func(n int) string, want int) {
		t.Helper()
		var bad, again, next atomic.Int64
		var wait sync.WaitGroup
		for range 32 {
			wait.Go(func() {
				for {
					n := int(next.Add(1)) - 1
					if n >= count {
						return
					}
					m, err := ask(s.at, "udp", name(n), dns.TypeA, 0)
					for tries := 1; tries < 15 && (err != nil || m.Rcode == dns.RcodeServerFailure); tries++ { // Consul is slow: as every resolver does
						again.Add(1)
						m, err = ask(s.at, "udp", name(n), dns.TypeA, 0)
					}
					if err != nil || m.Rcode != want {
						bad.Add(1)
					}
				}
			})
		}
		wait.Wait()
		if bad.Load() > 0 {
			t.Errorf("%d of %d questions went wrong", bad.Load(), count)
		}
		t.Logf("%d questions asked again", again.Load())
	}
	began := time.Now()
	ask(services, func(n int) string { return fmt.Sprintf("s%d.service.consul", n) }, dns.RcodeSuccess)
	t.Logf("%d services asked for the first time: %s", services, time.Since(began))
	within(t, soon, "120 connections to the agent, and some", func() error {
		if n := connections(t, agent.HTTP); n < 100 || n > 190 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := s.metric("svc_dns_watches"); n != 120 {
		t.Errorf("%v watches, want 120", n)
	}
	w := watchName(s.at, "s1.service.consul", 1)
	began = time.Now()
	ask(unknown, func(n int) string { return fmt.Sprintf("no%d.service.consul", n) }, dns.RcodeNameError)
	t.Logf("%d names that do not exist: %s", unknown, time.Since(began))
	w.mustBeWhole(t, "meanwhile")
	if n := s.metric("svc_dns_subjects"); n > 20000 {
		t.Errorf("%v names are kept", n)
	}
	// One of those that no blocking query follows changes.
	last := fmt.Sprintf("s%d", services-1)
	put(t, agent.URL(), "/v1/catalog/deregister", object{"Node": "far", "ServiceID": last})
	within(t, soon, "a change of a service without a watch", func() error {
		m, err := s.ask(last + ".service.consul")
		if err == nil && m.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("still answered")
		}
		return err
	})
}

func (s *server) ask(name string) (*dns.Msg, error) { return ask(s.at, "udp", name, dns.TypeA, 0) }

func TestUpgradeUnderLoadLosesNoQuestion(t *testing.T) {
	agent := lab.Consul(t)
	register(t, agent.URL(), object{"ID": "a", "Name": "web", "Address": "10.0.0.1", "Port": 1})
	s := newServer(t, agent.URL())
	const name = "web.service.consul"
	within(t, soon, "answered", func() error { return whole(s, name, 1) })
	within(t, soon, "snapshot", func() error { return written(s) }) // which the new one begins with
	w := watchName(s.at, name, 1)
	for range 3 {
		old, log := s.cmd, s.log
		gone := s.done
		s.launch()
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Fatalf("the old server stays:\n%s\nthe new one:\n%s", log.String(), s.log.String())
		}
		if code := old.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the old server ends with %d:\n%s", code, log.String())
		}
	}
	w.mustBeWhole(t, "three upgrades")
	within(t, soon, "lookup finds the new server", func() error {
		if out, code := s.call("lookup", name); code != 0 || !strings.Contains(out, "followed by a blocking query") {
			return fmt.Errorf("code %d: %s", code, out)
		}
		return nil
	})
}

func TestSocketsOfTheServiceManagerStayOpenOverARestart(t *testing.T) {
	agent := lab.Consul(t)
	register(t, agent.URL(), object{"ID": "a", "Name": "web", "Address": "10.0.0.1", "Port": 1})
	// The service manager opens them before svc-dns makes the interface that they are for.
	const address = "169.254.20.77"
	free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
	}}
	udp, err := free.ListenPacket(t.Context(), "udp4", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	at := udp.LocalAddr()
	tcp, err := free.Listen(t.Context(), "tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	fu, err1 := udp.(*net.UDPConn).File()
	ft, err2 := tcp.(*net.TCPListener).File()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	notify := filepath.Join(lab.RunDir(t), "notify.sock")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	env := append(os.Environ(), asProgram+"=1", "CONSUL_HTTP_ADDR="+agent.URL(), "SVC_CONFIG=", "SVC_RUN_DIR="+lab.RunDir(t)+"/run", "SVC_STATE_DIR="+t.TempDir(),
		"LISTEN_FDS=2", "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=1500000", "GORACE=atexit_sleep_ms=0")
	start := func() *exec.Cmd {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" serve --link `+address+` --metrics off --upstream 127.0.0.1:9`, self)
		cmd.Env, cmd.ExtraFiles = env, []*os.File{fu, ft}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	cmd := start()
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = exec.Command("ip", "link", "delete", linkName).Run() // as svc-dns.socket does
		_ = exec.Command("ip", "address", "delete", address+"/32", "dev", "lo").Run()
	}()
	const name = "web.service.consul"
	within(t, soon, "answered", func() error {
		m, err := ask(at.String(), "udp", name, dns.TypeA, 0)
		if err == nil && len(m.Answer) != 1 {
			err = fmt.Errorf("%v", m)
		}
		return err
	})
	seen := &syncBuffer{} // what the service manager is told
	go func() {
		b := make([]byte, 256)
		for {
			n, err := told.Read(b)
			if err != nil {
				return // closed at the end of the test
			}
			fmt.Fprintf(seen, "%s\n", b[:n])
		}
	}()
	ready := func(times int) {
		t.Helper()
		within(t, soon, "READY is told", func() error {
			if n := strings.Count(seen.String(), "READY=1"); n < times {
				return fmt.Errorf("%d times, want %d", n, times)
			}
			return nil
		})
	}
	ready(1)
	w := watchName(at.String(), name, 1)
	for n := range 2 {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("TERM: %v", err)
		}
		cmd = start()
		ready(n + 2)
	}
	w.atLeast(t, 200)
	w.mustBeWhole(t, "two restarts with the sockets of the service manager")
	if m, err := ask(at.String(), "tcp", name, dns.TypeA, 0); err != nil || len(m.Answer) != 1 {
		t.Errorf("over TCP: %v, error %v", m, err)
	}
	within(t, soon, "WATCHDOG is told", func() error {
		if !strings.Contains(seen.String(), "WATCHDOG=1") {
			return fmt.Errorf("told so far: %q", seen.String())
		}
		return nil
	})
}

func TestHeldConnectionsLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	agent := lab.Consul(t)
	s := newServer(t, agent.URL())
	dial := func(from string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 30 * time.Second}
		return d.Dial("tcp", s.at)
	}
	for client := range 5 {
		for range 80 { // 64 of one client are held, the others closed
			c, err := dial(fmt.Sprintf("127.0.2.%d", client+1))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	within(t, soon, "320 are held", func() error {
		if n := s.metric("svc_dns_tcp_connections"); n > 325 || n < 5 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	within(t, soon, "80 or so are turned away", func() error { // idle ones of the last client make room, from 256 on after a second
		if n := s.metric(`svc_dns_refused_total{reason="connections"}`); n < 60 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	for _, network := range []string{"udp", "tcp"} {
		if m, err := ask(s.at, network, "node1.node.consul", dns.TypeA, 0); err != nil || len(m.Answer) != 1 {
			t.Errorf("another client over %s: %v, error %v", network, m, err)
		}
	}
	within(t, soon, "idle ones are closed", func() error {
		if n := s.metric("svc_dns_tcp_connections"); n > 0 {
			return fmt.Errorf("%v are open", n)
		}
		return nil
	})
}

func TestGarbageIsSurvived(t *testing.T) {
	agent := lab.Consul(t)
	s := newServer(t, agent.URL())
	c, err := net.Dial("udp", s.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	good, err := new(dns.Msg).SetQuestion("node1.node.consul.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 3000 {
		packet := append([]byte(nil), good...)
		for range 1 + random.IntN(6) {
			packet[random.IntN(len(packet))] = byte(random.Uint32())
		}
		if n%3 == 0 {
			packet = packet[:random.IntN(len(packet))]
		}
		if n%50 == 0 {
			packet = append(packet, make([]byte, random.IntN(60000))...)
		}
		if _, err := c.Write(packet); err != nil {
			continue // the kernel refuses some sizes
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		within(t, soon, "a question after all that, over "+network, func() error { // the first may wait behind the others
			m, err := ask(s.at, network, "node1.node.consul", dns.TypeA, 0)
			if err == nil && len(m.Answer) != 1 {
				err = fmt.Errorf("%v", m)
			}
			return err
		})
	}
}

func TestAFullDiskCostsOnlyTheSnapshot(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("svckit-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	agent := lab.Consul(t)
	register(t, agent.URL(), object{"ID": "a", "Name": "web", "Address": "10.0.0.1", "Port": 1})
	t.Setenv("SVC_STATE_DIR", dir)
	s := newServer(t, agent.URL())
	s.env = append(s.env, "SVC_STATE_DIR="+dir)
	s.terminate()
	s.start()
	const name = "web.service.consul"
	within(t, soon, "answered", func() error { return whole(s, name, 1) })
	within(t, soon, "snapshot is written", func() error { _, err := os.Stat(dir + "/svc-dns.json"); return err })

	filler, err := os.Create(dir + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	register(t, agent.URL(), object{"ID": "b", "Name": "web", "Address": "10.0.0.2", "Port": 1})
	within(t, soon, "the change is answered", func() error { return whole(s, name, 2) })
	within(t, soon, "the metric tells", func() error {
		if s.metric("svc_dns_snapshot_broken") != 1 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	agent.Kill()
	s.kill()
	s.start()
	if err := whole(s, name, 1); err != nil {
		t.Errorf("the snapshot from before: %v", err)
	}
	if err := os.Remove(dir + "/filler"); err != nil {
		t.Fatal(err)
	}
}

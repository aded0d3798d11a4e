//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"svckit/lab"
)

// asProgram is the variable by which a test starts this test binary as svc-dns itself.
const asProgram = "SVCKIT_TEST_AS_SVC_DNS"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"svc-dns": main})
}

// server is a running svc-dns of a test.
type server struct {
	t       *testing.T
	at      string // ip:port
	metrics string
	env     []string
	args    []string
	cmd     *exec.Cmd
	log     *syncBuffer
	done    chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newServer starts svc-dns beside the agent at an address, and waits until it answers.
func newServer(t *testing.T, agentURL string, args ...string) *server {
	t.Helper()
	s := prepareServer(t, agentURL, args...)
	s.start()
	return s
}

// prepareServer is newServer without the start.
func prepareServer(t *testing.T, agentURL string, args ...string) *server {
	t.Helper()
	ports := lab.FreePorts(t, 2)
	s := &server{t: t, at: fmt.Sprintf("127.0.0.1:%d", ports[0]), metrics: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	s.env = append(os.Environ(), asProgram+"=1", "CONSUL_HTTP_ADDR="+agentURL, "SVC_CONFIG=", "GORACE=atexit_sleep_ms=0",
		"SVC_RUN_DIR="+lab.RunDir(t)+"/run", "SVC_STATE_DIR="+t.TempDir())
	s.args = append([]string{"serve", "--listen", s.at, "--metrics", s.metrics, "--upstream", "127.0.0.1:9", "--rate", "0"}, args...)
	t.Cleanup(func() {
		if s.cmd == nil {
			return
		}
		s.kill()
		if t.Failed() {
			t.Logf("svc-dns at %s:\n%s", s.at, s.log.String())
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.launch()
	within(s.t, soon, "svc-dns answers", func() error {
		_, err := ask(s.at, "udp", "7f000001.addr.consul", dns.TypeA, 0)
		return err
	})
}

func (s *server) launch() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	s.log, s.done = &syncBuffer{}, make(chan struct{})
	s.cmd = exec.Command(self, s.args...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, done := s.cmd, s.done
	go func() { _ = cmd.Wait(); close(done) }()
}

func (s *server) kill() { _ = s.cmd.Process.Kill(); <-s.done }

// terminate ends the server as the service manager does, and returns its exit code.
func (s *server) terminate() int {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Fatalf("svc-dns does not end after TERM:\n%s", s.log.String())
	}
	return s.cmd.ProcessState.ExitCode()
}

// call runs svc-dns once.
func (s *server) call(args ...string) (stdout string, code int) {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &errs
	_ = cmd.Run()
	if errs.Len() > 0 {
		s.t.Logf("svc-dns %s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// metric reads one figure from the metrics.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	var value float64
	found := false
	within(s.t, soon, "metric "+name, func() error {
		res, err := http.Get("http://" + s.metrics + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				found = true
				_, err = fmt.Sscan(rest, &value)
				return err
			}
		}
		return fmt.Errorf("not there")
	})
	if !found {
		s.t.Fatalf("no metric %s", name)
	}
	return value
}

// ask asks one question; size 0 is without EDNS.
func ask(server, network, name string, kind uint16, size uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	if size > 0 {
		q.SetEdns0(size, false)
	}
	c := dns.Client{Net: network, Timeout: 20 * time.Second, UDPSize: 65535}
	m, _, err := c.Exchange(q, server)
	return m, err
}

// addresses are the A records of a name, sorted as answered.
func (s *server) addresses(name string) []string {
	s.t.Helper()
	m, err := ask(s.at, "udp", name, dns.TypeA, 4096)
	if err != nil {
		s.t.Fatalf("ask %s: %v", name, err)
	}
	var out []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}

// soon bounds what takes a moment on a quiet machine. A blocking query lasts longer: what
// Consul tells is not found out by the next one.
const soon = 45 * time.Second

// within polls f until it is nil.
func within(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not in %s: %v", what, limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// put sends a document to an agent.
func put(t testing.TB, agentURL, path string, doc any) {
	t.Helper()
	send(t, http.MethodPut, agentURL, path, doc)
}

func send(t testing.TB, method, agentURL, path string, doc any) {
	t.Helper()
	sendBy(t, http.DefaultClient, method, agentURL, path, doc)
}

func sendBy(t testing.TB, client *http.Client, method, agentURL, path string, doc any) {
	t.Helper()
	var body io.Reader = http.NoBody
	if doc != nil {
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, agentURL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s", method, path, res.Status, text)
	}
}

// object is a document in JSON.
type object map[string]any

func register(t testing.TB, agentURL string, service object) {
	t.Helper()
	put(t, agentURL, "/v1/agent/service/register", service)
}

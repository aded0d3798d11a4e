//go:build real

package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/setup"
)

// serving starts servers that answer their own name, and returns their addresses.
func serving(t *testing.T, names ...string) map[string]string {
	t.Helper()
	at := map[string]string{}
	for _, name := range names {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0]))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { s.Close() })
		at[name] = l.Addr().String()
	}
	return at
}

func tell(t *testing.T, a *lab.Agent, path string, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
}

// enroll registers a server as svc-run does, with a check that is set by hand.
func enroll(t *testing.T, a *lab.Agent, name, address string, weight int) {
	t.Helper()
	_, port, _ := net.SplitHostPort(address)
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	tell(t, a, "/v1/agent/service/register", map[string]any{
		"ID": "shop-web-node1-" + name, "Name": "shop-web", "Address": "127.0.0.1", "Port": n, "Weights": map[string]int{"Passing": weight, "Warning": 1},
		"Meta":  map[string]string{"svckit": "1", "app": "shop", "service": "web"},
		"Check": map[string]string{"CheckID": "check:" + name, "TTL": "24h", "Status": "passing"},
	})
}

// part starts a program that ends with the test, and returns what it prints; what it said is shown when the test failed.
func part(t *testing.T, cmd *exec.Cmd, stdin io.Reader) io.Reader {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(cmd.Args, " "), log.String())
		}
	})
	return out
}

// answerers asks again and again until exactly these answer, each as often as wanted of 20 requests.
func answerers(t *testing.T, url, when string, want map[string]int) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	end := time.Now().Add(time.Minute)
	for {
		got, failed := map[string]int{}, error(nil)
		for range 20 {
			res, err := client.Get(url)
			if err != nil {
				failed = err
				continue
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			failed = errors.Join(failed, err)
			got[string(text)]++
		}
		if failed == nil && maps.Equal(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v answer (%v), want %v", when, got, failed, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestHAProxyHasTheServersOfTheStreamWithoutAReload(t *testing.T) {
	_, haproxy, err := setup.Balancers(context.Background(), setup.NewTeller(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	agent := lab.Consul(t)
	at := serving(t, "a", "b", "c")
	enroll(t, agent, "a", at["a"], 1)
	enroll(t, agent, "b", at["b"], 3)

	dir := lab.RunDir(t)
	socket, front := filepath.Join(dir, "events.sock"), fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	text, err := os.ReadFile("haproxy-events/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "haproxy.cfg")
	own := strings.NewReplacer("/run/haproxy/events.sock", socket, "127.0.0.1:8080", front).Replace(string(text))
	if err := os.WriteFile(config, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	balancer := exec.Command(haproxy, "-db", "-f", config)
	part(t, balancer, nil)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "svc-run")
	if err := run("go", "build", "-o", program, "svckit/cmd/svc-run"); err != nil {
		t.Fatal(err)
	}
	events := exec.Command(program, "events", "shop/web", "--follow", "--kind", "instance,health")
	events.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+agent.URL(), "SVC_CONFIG=", "SVC_RUN_DIR="+dir, "SVC_STATE_DIR="+t.TempDir())
	part(t, exec.Command("python3", "haproxy-events/servers.py", socket, "shop-web"), part(t, events, nil))

	url := "http://" + front + "/"
	answerers(t, url, "at the start, by weight", map[string]int{"a": 5, "b": 15})
	tell(t, agent, "/v1/agent/check/fail/check:b", nil)
	answerers(t, url, "one failed", map[string]int{"a": 20})
	enroll(t, agent, "c", at["c"], 1)
	answerers(t, url, "one came", map[string]int{"a": 10, "c": 10})
	tell(t, agent, "/v1/agent/service/maintenance/shop-web-node1-a?enable=true", nil)
	answerers(t, url, "one is drained", map[string]int{"c": 20})
	tell(t, agent, "/v1/agent/check/pass/check:b", nil)
	tell(t, agent, "/v1/agent/service/deregister/shop-web-node1-c", nil)
	answerers(t, url, "one is well again, and one is gone", map[string]int{"b": 20})

	agent.Kill()
	answerers(t, url, "Consul is away", map[string]int{"b": 20})
	for _, cmd := range []*exec.Cmd{balancer, events} {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s has ended meanwhile: %v", cmd.Path, err)
		}
	}
}

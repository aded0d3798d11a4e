//go:build real

package main

import (
	"context"
	"fmt"
	"io"
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

// backends serve their own name, at one port of different addresses, and are
// registered with weights 1 and heavy.
func backends(t *testing.T, agent *lab.Agent, heavy int) (port int, kill func(n int)) {
	t.Helper()
	port = lab.FreePorts(t, 1)[0]
	var servers []*http.Server
	for n, weight := range []int{1, heavy} {
		address := fmt.Sprintf("127.0.3.%d", n+1)
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "web%d", n) })}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { s.Close() })
		servers = append(servers, s)
		register(t, agent.URL(), object{
			"ID": fmt.Sprintf("web%d", n), "Name": "web", "Address": address, "Port": port, "Weights": object{"Passing": weight, "Warning": 1},
			"Check": object{"TCP": fmt.Sprintf("%s:%d", address, port), "Interval": "1s", "Timeout": "10s", "Status": "passing"},
		})
	}
	return port, func(n int) { servers[n].Close() }
}

// example writes a file of examples/dns with the test's own addresses and returns its path.
func example(t *testing.T, name string, swap ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/dns", name))
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for i := 0; i < len(swap); i += 2 {
		if !strings.Contains(out, swap[i]) {
			t.Fatalf("%s has no %q", name, swap[i])
		}
		out = strings.ReplaceAll(out, swap[i], swap[i+1])
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// spread calls an address again and again and counts who answers.
func spread(t *testing.T, url string, times int) (map[string]int, int) {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	who, failed := map[string]int{}, 0
	for range times {
		res, err := client.Get(url)
		if err != nil {
			failed++
			continue
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			failed++
			continue
		}
		who[string(text)]++
	}
	return who, failed
}

func runBalancer(t *testing.T, argv ...string) {
	t.Helper()
	log := &syncBuffer{}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", argv[0], log.String())
		}
	})
}

func TestExampleOfHAProxyFollowsWeightsAndAKilledInstance(t *testing.T) {
	_, haproxy, err := setup.Balancers(context.Background(), setup.NewTeller(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	agent := lab.Consul(t)
	_, kill := backends(t, agent, 3)
	s := newServer(t, agent.URL(), "--srv-scale", "256")
	front := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	runBalancer(t, haproxy, "-db", "-f", example(t, "haproxy.cfg", "169.254.20.10:53", s.at, "127.0.0.1:8080", front))
	within(t, soon, "both answer, one three times as often", func() error {
		if who, failed := spread(t, "http://"+front+"/", 40); failed > 0 || who["web0"] != 10 || who["web1"] != 30 {
			return fmt.Errorf("%v, %d failed", who, failed)
		}
		return nil
	})
	kill(1)
	if who, failed := spread(t, "http://"+front+"/", 100); failed > 0 || who["web0"] != 100 {
		t.Errorf("after a kill: %v, %d failed", who, failed)
	}
	within(t, soon, "DNS has forgotten it", func() error { return whole(s, "web.service.consul", 1) })
}

func TestExampleOfNginxFollowsAKilledInstance(t *testing.T) {
	nginx, _, err := setup.Balancers(context.Background(), setup.NewTeller(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	agent := lab.Consul(t)
	port, kill := backends(t, agent, 3)
	s := newServer(t, agent.URL())
	front := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	config := example(t, "nginx.conf", "resolver 169.254.20.10", "resolver "+s.at, "127.0.0.1:8080", front, "$web:8000", fmt.Sprintf("$web:%d", port))
	runBalancer(t, nginx, "-p", t.TempDir(), "-c", config)
	within(t, soon, "both answer", func() error {
		if who, failed := spread(t, "http://"+front+"/", 40); failed > 0 || who["web0"] == 0 || who["web1"] == 0 {
			return fmt.Errorf("%v, %d failed", who, failed)
		}
		return nil
	})
	kill(1)
	within(t, soon, "only the other one answers", func() error {
		if who, failed := spread(t, "http://"+front+"/", 40); failed > 0 || who["web0"] != 40 {
			return fmt.Errorf("%v, %d failed", who, failed)
		}
		return nil
	})
	within(t, soon, "DNS has forgotten it", func() error { return whole(s, "web.service.consul", 1) })
}

// nginx asks once a second and spreads evenly over what it got: with one pick for
// each question, seconds follow the weights.
func TestExampleOfNginxFollowsWeightsWithOnePickForEachQuestion(t *testing.T) {
	t.Parallel()
	nginx, _, err := setup.Balancers(context.Background(), setup.NewTeller(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	agent := lab.Consul(t)
	port, _ := backends(t, agent, 19)
	s := newServer(t, agent.URL(), "--one")
	front := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	config := example(t, "nginx.conf", "resolver 169.254.20.10", "resolver "+s.at, "127.0.0.1:8080", front, "$web:8000", fmt.Sprintf("$web:%d", port))
	runBalancer(t, nginx, "-p", t.TempDir(), "-c", config)
	within(t, soon, "it answers", func() error {
		if _, failed := spread(t, "http://"+front+"/", 1); failed > 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	light, heavy := 0, 0
	second := time.NewTicker(1100 * time.Millisecond) // what nginx keeps is older than its `valid` then
	defer second.Stop()
	for range 40 {
		<-second.C
		who, failed := spread(t, "http://"+front+"/", 1)
		if failed > 0 {
			t.Error("a request failed")
		}
		light, heavy = light+who["web0"], heavy+who["web1"]
	}
	// 2 of 40 are expected. More than 11 come once in a million runs; without weights 20 would come, and 11 or fewer in one of 300.
	if light > 11 || light+heavy != 40 {
		t.Errorf("%d and %d of 40, want 2 and 38 or so", light, heavy)
	}
}

func TestExampleOfAGoClientFollowsWeightsAndAKilledInstance(t *testing.T) {
	agent := lab.Consul(t)
	_, kill := backends(t, agent, 3)
	s := newServer(t, agent.URL())
	bin := filepath.Join(t.TempDir(), "client")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../../examples/dns/client"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	call := func(times int) (web0, web1 int) {
		t.Helper()
		cmd := exec.Command(bin, "_web._tcp.service.consul", fmt.Sprint(times))
		cmd.Env = append(os.Environ(), "DNS_SERVER="+s.at)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for word := range strings.FieldsSeq(string(out)) {
			_, _ = fmt.Sscanf(word, "web0:%d", &web0)
			_, _ = fmt.Sscanf(word, "web1:%d", &web1)
		}
		return web0, web1
	}
	if a, b := call(400); a+b != 400 || a < 60 || a > 140 { // 100 ± 4.6 standard deviations
		t.Errorf("%d and %d of 400, want 100 and 300 or so", a, b)
	}
	kill(1)
	if a, b := call(50); a != 50 || b != 0 {
		t.Errorf("after a kill: %d and %d of 50", a, b)
	}
}

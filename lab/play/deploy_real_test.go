//go:build real

package play_test

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // what a version 5 UUID is made with
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/play"
)

// uuid5 is Ansible's to_uuid with a namespace (RFC 9562, version 5).
func uuid5(space, name string) string {
	raw, _ := hex.DecodeString(strings.ReplaceAll(space, "-", ""))
	sum := sha1.Sum(append(raw, name...)) //nolint:gosec // no secret depends on it
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// shop is an app on a fleet.
type shop struct {
	*play.Fleet
	t      *testing.T
	loader string // the program that puts load on it
}

func newShop(t *testing.T, f *play.Fleet) *shop {
	t.Helper()
	s := &shop{Fleet: f, t: t, loader: f.Dir + "/load"}
	cmd := exec.Command("go", "build", "-o", s.loader, "svckit/lab/cmd/load")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// ask calls the API of a host's agent, as its management token.
func (s *shop) ask(h *lab.Host, method, path string, body any) []byte {
	s.t.Helper()
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://127.0.0.1:8500/v1/"+path, &text)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", uuid5(play.Secret, "management"))
	res, err := h.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, out, err)
	}
	return out
}

const shopSpec = `app: shop
build: {image: %s}
deploy: {batch: 50%%}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 10s, drain: 500ms}
    smoke: {http: /smoke}
`

// release records a build by way of a host.
func (s *shop) release(h *lab.Host, name, manners string) {
	s.t.Helper()
	image := lab.AppImage(s.t, s.Registry, "shop", name, manners)
	repo, _, _ := strings.Cut(image, "@")
	s.ask(h, http.MethodPut, "kv/svc/apps/shop/releases/"+name, map[string]any{
		"schema": 1, "image": image, "tag": repo + ":" + name, "spec": fmt.Sprintf(shopSpec, repo), "built_by": "test", "built_at": time.Now().UTC(),
		"git": map[string]any{}, "test": map[string]any{"seconds": 0, "ran": false},
	})
}

// load puts load on the service from a host, until it is called; it is what the loader said.
func (s *shop) load(h *lab.Host) func() {
	s.t.Helper()
	file, err := os.Open(s.loader)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	bring := h.Command(s.t, "sh", "-c", "cat >/root/load && chmod 755 /root/load")
	bring.Stdin = file
	if out, err := bring.CombinedOutput(); err != nil {
		s.t.Fatalf("bring the loader to the host: %v\n%s", err, out)
	}
	// A signal would end nsenter alone, which waits for what it started in the machine's process table.
	cmd := h.Command(s.t, "sh", "-c", "/root/load -dns 127.0.0.1:53 -for 8m http://shop-web.service.consul/ & pid=$!; read end; kill -TERM $pid; wait $pid")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stop, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		_ = stop.Close()
		err := cmd.Wait()
		s.t.Logf("load: %s", out.String())
		m := regexp.MustCompile(`(\d+) requests answered, (\d+) failed`).FindStringSubmatch(out.String())
		if m == nil || err != nil {
			s.t.Errorf("load: %v\n%s", err, out.String())
			return
		}
		if n, _ := strconv.Atoi(m[1]); n < 1000 {
			s.t.Errorf("only %d requests", n)
		}
	}
}

// runs is which release passes on how many nodes.
func (s *shop) runs(h *lab.Host) map[string]int {
	s.t.Helper()
	var entries []struct {
		Service struct{ Meta map[string]string }
	}
	if err := json.Unmarshal(s.ask(h, http.MethodGet, "health/service/shop-web?passing", nil), &entries); err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for _, e := range entries {
		out[e.Service.Meta["release"]]++
	}
	return out
}

func (s *shop) wantRuns(h *lab.Host, release string, n int) {
	s.t.Helper()
	if got := s.runs(h); len(got) != 1 || got[release] != n {
		s.t.Errorf("runs %v, want %s on %d", got, release, n)
	}
}

func TestDeployPlaybooksGoOverTheFleetAndComeBack(t *testing.T) {
	f := play.Start(t, nil, lab.Datacenter{Hosts: 4, Zones: []string{"a", "b"}})
	f.Run(t, "site")
	s, h := newShop(t, f), f.Hosts[0]
	s.release(h, "r1", "good")
	s.release(h, "r2", "good")
	f.Run(t, "deploy", "-e", "app=shop", "-e", "release=r1", "-e", "nodes=svckit_nodes")
	s.wantRuns(h, "r1", 4)

	t.Run("a new release, under load", func(t *testing.T) {
		s.t = t
		end := s.load(f.Hosts[1])
		r := f.Run(t, "deploy", "-e", "app=shop", "-e", "release=r2")
		end()
		s.wantRuns(h, "r2", 4)
		if r.Total() == 0 {
			t.Error("nothing changed")
		}
		f.Same(t, "deploy", "-e", "app=shop", "-e", "release=r2")
	})
	t.Run("in check mode nothing is begun", func(t *testing.T) {
		s.t = t
		r := f.Run(t, "deploy", "--check", "-e", "app=shop", "-e", "release=r1")
		if !strings.Contains(r.Out, "bring node1 to r1") {
			t.Errorf("no plan:\n%s", r.Out)
		}
		s.wantRuns(h, "r2", 4)
	})
	t.Run("a failure in the second batch comes back", func(t *testing.T) {
		s.t = t
		s.release(h, "r3", "sour node3") // node1 is the canary, node3 is of its zone
		end := s.load(f.Hosts[1])
		r := f.Try(t, "deploy", "-e", "app=shop", "-e", "release=r3")
		end()
		if r.Err == nil || !strings.Contains(r.Out, "smoke of web on node3") || !strings.Contains(r.Out, "sour on node3") {
			t.Errorf("%v\n%s", r.Err, r.Out)
		}
		s.wantRuns(h, "r2", 4)
		if !strings.Contains(string(s.ask(h, http.MethodGet, "kv/svc/apps/shop/releases/r3?raw", nil)), `"failed"`) {
			t.Error("r3 is not marked failed")
		}
	})
	t.Run("killed in the middle and called again", func(t *testing.T) { killedPlay(t, s) })
	t.Run("refused while another one is at it", func(t *testing.T) { refusedPlay(t, s) })
	t.Run("rolled back, under load", func(t *testing.T) {
		s.t = t
		end := s.load(f.Hosts[1])
		f.Run(t, "rollback", "-e", "app=shop")
		end()
		s.wantRuns(h, "r4", 4)
	})
}

// killedPlay kills ansible-playbook while the second batch is at work, and calls it again.
func killedPlay(t *testing.T, s *shop) {
	s.t = t
	h := s.Hosts[0]
	s.release(h, "r4", "slow") // its gate takes three seconds
	args := []string{"-e", "app=shop", "-e", "release=r4"}
	first := s.Command(t, "deploy", args...)
	first.SysProcAttr.Setpgid = true
	var out bytes.Buffer
	first.Stdout, first.Stderr = &out, &out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	reached := func() bool { // the second batch is at work, or already done
		var pairs []struct{ Value []byte }
		var d struct {
			Release, Phase string
			At             int
			Nodes          map[string]struct{ Working bool }
		}
		if err := json.Unmarshal(s.ask(h, http.MethodGet, "kv/svc/deploy/shop", nil), &pairs); err == nil && len(pairs) == 1 {
			_ = json.Unmarshal(pairs[0].Value, &d)
		}
		return d.Release == "r4" && (d.Phase == "forward" && d.At >= 1 && d.Nodes["node3"].Working || d.At > 1 || d.Phase == "ended")
	}
	for deadline := time.Now().Add(3 * time.Minute); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(-first.Process.Pid, syscall.SIGKILL)
			_ = first.Wait()
			t.Fatalf("the second batch does not begin:\n%s", out.String())
		}
	}
	_ = syscall.Kill(-first.Process.Pid, syscall.SIGKILL)
	_ = first.Wait()
	// The step on the node outlives its playbook, and gives signs of life until it ends: until then the next one is refused.
	r := s.Try(t, "deploy", append(args, "-e", "patience=12s")...)
	for deadline := time.Now().Add(3 * time.Minute); r.Err != nil && strings.Contains(r.Out, "deploys r4 since") && time.Now().Before(deadline); {
		r = s.Try(t, "deploy", append(args, "-e", "patience=12s")...)
	}
	if r.Err != nil {
		t.Fatalf("%v\n%s", r.Err, r.Out)
	}
	s.wantRuns(h, "r4", 4)
}

// svcRun is svc-run on a host, as its daemons call it.
func (s *shop) svcRun(h *lab.Host, args ...string) *exec.Cmd {
	s.t.Helper()
	return h.Command(s.t, "env", append([]string{"-u", "SVC_CONFIG", "CONSUL_HTTP_TOKEN_FILE=/etc/svckit/consul.token", "svc-run"}, args...)...)
}

// refusedPlay plays a deploy while somebody else is at one by hand, and again when that one is known to be dead.
func refusedPlay(t *testing.T, s *shop) {
	s.t = t
	h := s.Hosts[0]
	s.release(h, "r5", "good")
	if out, err := s.svcRun(h, "deploy", "begin", "shop", "--release", "r5", "--run", "hand", "--holder", "bob@desk").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	var alive sync.WaitGroup
	alive.Go(func() {
		for ctx.Err() == nil {
			if out, err := s.svcRun(h, "deploy", "advance", "shop", "--run", "hand").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	args := []string{"-e", "app=shop", "-e", "release=r5"}
	r := s.Try(t, "deploy", append(args, "-e", "patience=60s")...)
	stop()
	alive.Wait()
	if r.Err == nil || !strings.Contains(r.Out, "bob@desk deploys r5 since") {
		t.Errorf("not refused: %v\n%s", r.Err, r.Out)
	}
	s.wantRuns(h, "r4", 4)
	s.Run(t, "deploy", append(args, "-e", "take_over=true")...)
	s.wantRuns(h, "r5", 4)
}

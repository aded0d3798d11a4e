//go:build real

package play

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // what a version 5 UUID is made with
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/inventory"
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

// store is an app on a fleet that is deployed over all of its nodes: a small Go server, which takes little time to answer.
type store struct {
	*Fleet
	t *testing.T
}

// ask calls the API of a host's agent, as its management token.
func (s *store) ask(h *lab.Host, method, path string, body any) []byte {
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
	req.Header.Set("X-Consul-Token", uuid5(inventory.Secret, "management"))
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

const storeSpec = `app: store
build: {image: %s}
deploy: {batch: 50%%}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 10s, drain: 500ms}
    smoke: {http: /smoke}
  fixed:
    port: 8000
    publish: 8002
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 500ms, deadline: 60s}
    stop: {timeout: 10s, drain: 500ms}
`

// release records a build by way of a host.
func (s *store) release(h *lab.Host, name, manners string) {
	s.t.Helper()
	image := lab.AppImage(s.t, s.Registry, "store", name, manners)
	repo, _, _ := strings.Cut(image, "@")
	s.ask(h, http.MethodPut, "kv/svc/apps/store/releases/"+name, map[string]any{
		"schema": 1, "image": image, "tag": repo + ":" + name, "spec": fmt.Sprintf(storeSpec, repo), "built_by": "test", "built_at": time.Now().UTC(),
		"git": map[string]any{}, "test": map[string]any{"seconds": 0, "ran": false},
	})
}

// runs is which release of a service passes on how many nodes.
func (s *store) runs(h *lab.Host, service string) map[string]int {
	s.t.Helper()
	var entries []struct {
		Service struct{ Meta map[string]string }
	}
	if err := json.Unmarshal(s.ask(h, http.MethodGet, "health/service/store-"+service+"?passing", nil), &entries); err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for _, e := range entries {
		out[e.Service.Meta["release"]]++
	}
	return out
}

// wantRuns wants both services on n nodes of the datacenter of h, with no other release.
func (s *store) wantRuns(h *lab.Host, release string, n int) {
	s.t.Helper()
	for _, service := range []string{"web", "fixed"} {
		if got := s.runs(h, service); len(got) != 1 || got[release] != n {
			s.t.Errorf("%s runs %v in %s, want %s on %d", service, got, h.DC(), release, n)
		}
	}
}

// recorded is what a datacenter knows of a release.
type recorded struct {
	Image          string
	Stable, Failed *struct{ Image string }
}

func (s *store) recorded(h *lab.Host, release string) (out recorded) {
	s.t.Helper()
	if err := json.Unmarshal(s.ask(h, http.MethodGet, "kv/svc/apps/store/releases/"+release+"?raw", nil), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// releasesGo takes releases over the fleet and back: two datacenters, the second a host that takes what has become stable in the first.
func releasesGo(t *testing.T, f *Fleet) {
	s, h, far := &store{Fleet: f, t: t}, f.host(t, "node1"), f.host(t, "dc2-node1")
	const both, one = "stages=dc1,dc2", "stages=dc1"
	s.release(h, "r1", "good")
	s.release(h, "r2", "good")
	f.Run(t, "deploy", "-e", "app=store", "-e", "release=r1", "-e", both, "-e", "nodes=svckit_nodes")
	s.wantRuns(h, "r1", 4)
	s.wantRuns(far, "r1", 1)
	for _, row := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"a new release, under load, and the same digest in the next datacenter", func(t *testing.T) {
			end := f.load(t, "store", 8002)
			r := f.Run(t, "deploy", "-e", "app=store", "-e", "release=r2", "-e", both)
			end.stop()
			if r.Total() == 0 {
				t.Error("nothing changed")
			}
			s.wantRuns(h, "r2", 4)
			s.wantRuns(far, "r2", 1)
			here, there := s.recorded(h, "r2"), s.recorded(far, "r2")
			if here.Stable == nil || there.Stable == nil || here.Image != there.Image || there.Stable.Image != here.Image {
				t.Errorf("dc1 has %+v, dc2 has %+v", here, there)
			}
			f.Same(t, "deploy", "-e", "app=store", "-e", "release=r2", "-e", both)
		}},
		{"in check mode nothing is begun", func(t *testing.T) {
			if r := f.Try(t, "deploy", "--check", "-e", "app=store", "-e", "release=r1"); r.Err == nil || !strings.Contains(r.Out, "several datacenters (dc1, dc2)") {
				t.Errorf("which datacenter: %v\n%s", r.Err, r.Out)
			}
			r := f.Run(t, "deploy", "--check", "-e", "app=store", "-e", "release=r1", "-e", one)
			if !strings.Contains(r.Out, "bring node1 to r1") {
				t.Errorf("no plan:\n%s", r.Out)
			}
			s.wantRuns(h, "r2", 4)
		}},
		{"a failure in the second batch comes back, and does not reach the next datacenter", func(t *testing.T) {
			s.release(h, "r3", "sour node3") // node1 is the canary, node3 is of its zone
			end := f.load(t, "store", 8002)
			r := f.Try(t, "deploy", "-e", "app=store", "-e", "release=r3", "-e", both)
			end.stop()
			if r.Err == nil || !strings.Contains(r.Out, "smoke of web on node3") || !strings.Contains(r.Out, "sour on node3") {
				t.Errorf("%v\n%s", r.Err, r.Out)
			}
			s.wantRuns(h, "r2", 4)
			s.wantRuns(far, "r2", 1)
			if s.recorded(h, "r3").Failed == nil {
				t.Error("r3 is not marked failed")
			}
			if keys := string(s.ask(far, http.MethodGet, "kv/svc/apps/store/releases/?keys", nil)); strings.Contains(keys, "r3") {
				t.Errorf("dc2 knows %s", keys)
			}
		}},
		{"killed in the middle and called again", func(t *testing.T) { killedPlay(t, s) }},
		{"refused while another one is at it", func(t *testing.T) { refusedPlay(t, s) }},
		{"rolled back, under load", func(t *testing.T) {
			end := f.load(t, "store", 8002)
			f.Run(t, "rollback", "-e", "app=store", "-e", one)
			end.stop()
			s.wantRuns(h, "r4", 4)
			f.Same(t, "rollback", "-e", "app=store", "-e", one)
			s.wantRuns(h, "r4", 4)
		}},
	} {
		if !t.Run(row.name, func(t *testing.T) { s.t = t; row.test(t) }) {
			return // what follows stands on it
		}
	}
}

// killedPlay kills ansible-playbook while the second batch is at work, and calls it again.
func killedPlay(t *testing.T, s *store) {
	s.t = t
	h := s.Hosts[0]
	s.release(h, "r4", "slow") // its gate takes three seconds
	args := []string{"-e", "app=store", "-e", "release=r4", "-e", "stages=dc1"}
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
		if err := json.Unmarshal(s.ask(h, http.MethodGet, "kv/svc/deploy/store", nil), &pairs); err == nil && len(pairs) == 1 {
			_ = json.Unmarshal(pairs[0].Value, &d)
		}
		return d.Release == "r4" && (d.Phase == "forward" && d.At >= 1 && d.Nodes["node3"].Working || d.At > 1 || d.Phase == "ended")
	}
	for deadline := time.Now().Add(10 * time.Minute); !reached(); time.Sleep(50 * time.Millisecond) {
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
	for deadline := time.Now().Add(10 * time.Minute); r.Err != nil && strings.Contains(r.Out, "deploys r4 since") && time.Now().Before(deadline); {
		r = s.Try(t, "deploy", append(args, "-e", "patience=12s")...)
	}
	if r.Err != nil {
		t.Fatalf("%v\n%s", r.Err, r.Out)
	}
	s.wantRuns(h, "r4", 4)
}

// svcRun is svc-run on a host, as its daemons call it.
func (s *store) svcRun(h *lab.Host, args ...string) *exec.Cmd {
	s.t.Helper()
	return h.Command(s.t, "env", append([]string{"-u", "SVC_CONFIG", "CONSUL_HTTP_TOKEN_FILE=/etc/svckit/consul.token", "svc-run"}, args...)...)
}

// refusedPlay plays a deploy while somebody else is at one by hand, and again when that one is known to be dead.
func refusedPlay(t *testing.T, s *store) {
	s.t = t
	h := s.Hosts[0]
	s.release(h, "r5", "good")
	if out, err := s.svcRun(h, "deploy", "begin", "store", "--release", "r5", "--run", "hand", "--holder", "bob@desk").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	var alive sync.WaitGroup
	alive.Go(func() {
		for ctx.Err() == nil {
			if out, err := s.svcRun(h, "deploy", "advance", "store", "--run", "hand").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	args := []string{"-e", "app=store", "-e", "release=r5", "-e", "stages=dc1"}
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

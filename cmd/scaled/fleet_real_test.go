//go:build real

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/fleet"
)

// wholeFleet is hosts with a node agent each, and planners on the servers.
type wholeFleet struct {
	*lab.Fleet
	t      *testing.T
	consul *consul.Client
	image  string
	env    []string
	nodes  map[string]*program
}

// markedApp is examples/scale for uwsgi, which has no hooks: the middleware marks.
const markedApp = `import app
import svckit_marks

application = svckit_marks.Marked(app.application)
`

// newWholeFleet starts hosts with their agents; the planner is the test's to start.
func newWholeFleet(t *testing.T, servers, hosts int, env ...string) *wholeFleet {
	t.Helper()
	f := &wholeFleet{t: t, Fleet: lab.NewFleet(t, lab.Datacenter{Servers: servers, Hosts: hosts, Zones: []string{"a", "b"}}), nodes: map[string]*program{}}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-of-this-test-only\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = []string{"SVCKIT_TEST_AS=scaled", "SVC_SCALED_TOKEN_FILE=" + token, "SVC_DNS_MARGIN=100ms"}
	f.env = append(f.env, env...)
	client, err := consul.OpenAt(f.Servers[0].Addr()+":8500", "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	f.consul = client
	f.image = f.build()
	for _, h := range f.Hosts {
		f.nodes[h.Name()] = f.on(h, "node")
	}
	return f
}

// on starts scaled on a host.
func (f *wholeFleet) on(h *lab.Host, args ...string) *program {
	f.t.Helper()
	said, err := os.CreateTemp(f.t.TempDir(), "said")
	if err != nil {
		f.t.Fatal(err)
	}
	p := &program{cmd: h.Command(f.t, os.Args[0], args...), said: said.Name(), done: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Env, f.env...)
	p.cmd.Stdout, p.cmd.Stderr = said, said
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	f.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if f.t.Failed() {
			f.t.Logf("%s on %s said:\n%s", args[0], h.Name(), p.says())
		}
	})
	return p
}

// build makes the image of the app, with the hook that marks busy workers.
func (f *wholeFleet) build() string {
	f.t.Helper()
	dir := f.t.TempDir()
	for _, name := range []string{"scale/app.py", "scale/consumer.py", "scale/gunicorn.conf.py", "marks/svckit_marks.py"} {
		text, err := os.ReadFile("../../examples/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"marked.py": markedApp, "Dockerfile": "FROM " + f.Base + "\nWORKDIR /srv/app\nCOPY *.py /srv/app/\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return f.pushed(dir, "marked")
}

// pushed builds the image of a folder, and pushes it where every host gets it.
func (f *wholeFleet) pushed(dir, name string) string {
	f.t.Helper()
	ref := f.Registry + "/" + name + ":1"
	out := ""
	for _, args := range [][]string{{"build", "--quiet", "--tag", ref, dir}, {"push", ref}, {"image", "rm", ref}} {
		text, err := exec.Command("docker", append([]string{"--host", f.Hosts[0].Docker()}, args...)...).CombinedOutput()
		if err != nil {
			f.t.Fatalf("docker %v: %v\n%s", args, err, text)
		}
		out += string(text)
	}
	return f.Registry + "/" + name + "@" + regexp.MustCompile(`sha256:[0-9a-f]{64} size`).FindString(out)[:71]
}

// release makes a spec current, with the image of the fleet.
func (f *wholeFleet) release(t *testing.T, app, service, body string) {
	t.Helper()
	f.releaseOf(t, f.image, app, service, body)
}

func (f *wholeFleet) releaseOf(t *testing.T, image, app, service, body string) {
	t.Helper()
	now := time.Now().UTC()
	err := f.consul.PutRelease(t.Context(), fleet.Release{
		App: app, Name: "r1", Image: image, Spec: fmt.Sprintf("app: %s\nbuild: {image: %s}\nservices:\n  %s:\n%s", app, strings.Split(image, "@")[0], service, body), BuiltBy: "test", BuiltAt: now,
	})
	if err == nil {
		err = f.consul.SetCurrent(t.Context(), app, fleet.Current{Services: map[string]fleet.Pointer{service: {Release: "r1", At: now, By: "test"}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ready is what serves of a service, as nodes say, by node.
func (f *wholeFleet) ready(service string) (total int, by map[string]int) {
	f.t.Helper()
	haves, _, err := f.consul.Haves(f.t.Context())
	for end := time.Now().Add(time.Minute); err != nil; haves, _, err = f.consul.Haves(f.t.Context()) {
		if time.Now().After(end) { // busy servers may be without a leader for a moment
			f.t.Fatal(err)
		}
		pause(f.t.Context(), 100*time.Millisecond)
	}
	by = map[string]int{}
	for _, h := range haves {
		for _, r := range h.Services {
			if r.Name == service {
				by[h.Node] += r.Ready
				total += r.Ready
			}
		}
	}
	return total, by
}

// traffic sends requests to the passing instances of a service, by their weights, as
// many a second as rate says, whatever the answers take.
type traffic struct {
	rate         atomic.Int64
	sent, failed atomic.Int64
	stop         func()
}

func (f *wholeFleet) load(t *testing.T, service string, rate int64) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	l := &traffic{}
	l.rate.Store(rate)
	var all sync.WaitGroup
	l.stop = func() { cancel(); all.Wait() }
	t.Cleanup(l.stop)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	all.Go(func() {
		var targets []string
		looked := time.Time{}
		next := time.Now()
		for ctx.Err() == nil {
			if time.Since(looked) > 300*time.Millisecond {
				if list := f.passing(ctx, service); len(list) > 0 {
					targets = list
				}
				looked = time.Now()
			}
			next = next.Add(time.Second / time.Duration(max(l.rate.Load(), 1)))
			if !pause(ctx, time.Until(next)) {
				return
			}
			if len(targets) == 0 || l.rate.Load() == 0 {
				continue
			}
			url := targets[rand.IntN(len(targets))]
			all.Go(func() {
				l.sent.Add(1)
				res, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				if (err != nil || res.StatusCode != http.StatusOK) && ctx.Err() == nil {
					l.failed.Add(1)
				}
			})
		}
	})
	return l
}

// passing are the addresses of passing instances, each as often as its weight.
func (f *wholeFleet) passing(ctx context.Context, service string) (out []string) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, f.Servers[0].Consul()+"/v1/health/service/"+service+"?passing", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list []struct {
		Service struct {
			Address string
			Port    int
			Weights struct{ Passing int }
		}
	}
	_ = json.NewDecoder(res.Body).Decode(&list)
	for _, e := range list {
		for range e.Service.Weights.Passing {
			out = append(out, fmt.Sprintf("http://%s:%d/", e.Service.Address, e.Service.Port))
		}
	}
	return out
}

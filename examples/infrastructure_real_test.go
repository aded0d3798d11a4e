//go:build real

package examples

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lab/setup"
	"svckit/lib/consul"
	"svckit/lib/dnsd"
	"svckit/lib/fleet"
)

// fleetOfTwo runs the examples as a team does: built into a registry, brought up by
// svc-run on hosts whose containers ask svc-dns.
type fleetOfTwo struct {
	*lab.Fleet
	t                 *testing.T
	programs, folders string
	bridge            map[*lab.Host]string // where svc-dns answers containers
}

func newFleetOfTwo(t *testing.T) *fleetOfTwo {
	f := &fleetOfTwo{t: t, Fleet: lab.NewFleet(t, lab.Datacenter{Servers: 1, Hosts: 2}), programs: t.TempDir(), folders: t.TempDir(), bridge: map[*lab.Host]string{}}
	if err := run("go", "build", "-o", f.programs, "svckit/cmd/svc-build", "svckit/cmd/svc-run", "svckit/cmd/svc-dns"); err != nil {
		t.Fatal(err)
	}
	for _, h := range f.Hosts {
		out, err := h.Command(t, "ip", "-4", "-o", "addr", "show", "docker0").Output()
		found := regexp.MustCompile(`inet ([0-9.]+)/`).FindSubmatch(out)
		if err != nil || found == nil {
			t.Fatalf("address of docker0: %v %q", err, out)
		}
		f.bridge[h] = string(found[1])
		cmd := h.Command(t, filepath.Join(f.programs, "svc-dns"), "serve", "--listen", f.bridge[h]+":53", "--metrics", "off", "--srv-scale", "256", "--upstream", "127.0.0.1:9")
		part(t, cmd, nil)
	}
	return f
}

// withProgram is an image that has a program of Debian's, with its libraries, as the images have that the examples name.
func withProgram(t *testing.T, name, program, libraries string) string {
	t.Helper()
	dir := t.TempDir()
	script := `cp "$1" "$2/program"
LD_LIBRARY_PATH="$3" ldd "$1" | awk '$2 == "=>" { print $3 }' | xargs -I{} cp -L {} "$2/"
printf '#!/bin/sh\nLD_LIBRARY_PATH=/opt/%s exec /opt/%s/program "$@"\n' "$4" "$4" >"$2/start"
chmod 0755 "$2/start"
printf 'FROM %s\nCOPY . /opt/%s/\nRUN mv /opt/%s/start /usr/local/bin/%s\n' "$5" "$4" "$4" "$4" >"$2/Dockerfile"`
	if err := run("sh", "-euc", script, "sh", program, dir, libraries, name, lab.BaseImage); err != nil {
		t.Fatal(err)
	}
	tag := "svckit-test/with-" + name
	docker(t, "build", "--quiet", "--tag", tag, dir)
	return tag
}

// release builds an example with this base image.
func (f *fleetOfTwo) release(app, base string) {
	f.t.Helper()
	dir := filepath.Join(f.folders, app)
	if err := os.CopyFS(dir, os.DirFS(app)); err != nil {
		f.t.Fatal(err)
	}
	spec := filepath.Join(dir, "app.yaml")
	text, err := os.ReadFile(spec)
	if err == nil {
		swap := strings.NewReplacer("registry.service.consul:5000", f.Registry,
			"interval: 1s, min_healthy: 2s, deadline: 30s", "interval: 1s, timeout: 10s, min_healthy: 2s, deadline: 2m") // for a busy machine
		err = os.WriteFile(spec, []byte(swap.Replace(string(text))), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(f.t.Context(), filepath.Join(f.programs, "svc-build"), "--push", "--quiet", "--tag", "one", "--file", spec, "--build-arg", "BASE="+base)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+lab.DockerHost(f.t), "CONSUL_HTTP_ADDR="+f.Hosts[0].Consul(), "SVC_CONFIG=")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("svc-build %s: %v\n%s", app, err, out)
	}
}

func (f *fleetOfTwo) up(h *lab.Host, args ...string) {
	f.t.Helper()
	cmd := h.Command(f.t, filepath.Join(f.programs, "svc-run"), append([]string{"up", "--release", "one"}, args...)...)
	cmd.Env = append(cmd.Env, "SVC_CONTAINER_DNS="+f.bridge[h], "SVC_DNS_MARGIN=100ms")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("svc-run up %s on %s: %v\n%s", strings.Join(args, " "), h.Name(), err, out)
	}
}

// app puts two instances of hello-go/web on the fleet, one on each host.
func (f *fleetOfTwo) app() {
	f.t.Helper()
	c, err := consul.OpenAt(f.Hosts[0].Addr()+":8500", "svc", hclog.NewNullLogger())
	if err != nil {
		f.t.Fatal(err)
	}
	image := lab.AppImage(f.t, f.Registry, "hello-go", "one", "good")
	repo, _, _ := strings.Cut(image, "@")
	text := fmt.Sprintf("app: hello-go\nbuild: {image: %s}\nservices:\n  web:\n    port: 8000\n    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}\n    stop: {timeout: 5s, drain: 0s}\n", repo)
	if err := c.PutRelease(f.t.Context(), fleet.Release{App: "hello-go", Name: "one", Image: image, Tag: repo + ":one", Spec: text, BuiltBy: "test", BuiltAt: time.Now().UTC()}); err != nil {
		f.t.Fatal(err)
	}
	for _, h := range f.Hosts {
		f.up(h, "hello-go/web")
	}
}

// TestInfrastructureIsFoundByNamesAlone is a request on its way: nginx, which is
// asked on one host, HAProxy on the other, an app on both; and Redis for whoever asks.
func TestInfrastructureIsFoundByNamesAlone(t *testing.T) {
	nginx, haproxy, err := setup.Balancers(context.Background(), setup.NewTeller(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	f := newFleetOfTwo(t)
	for name, start := range map[string]string{"nginx": nginx, "haproxy": haproxy} {
		root := filepath.Join(filepath.Dir(start), "usr")
		libraries, err := filepath.Glob(filepath.Join(root, "lib", "*-linux-gnu"))
		if err != nil || len(libraries) == 0 {
			t.Fatalf("libraries of %s: %v", name, err)
		}
		f.release(name, withProgram(t, name, filepath.Join(root, "sbin", name), libraries[0]))
	}
	f.release("redis", withProgram(t, "redis-server", lab.RedisServer(t), ""))
	a, b := f.Hosts[0], f.Hosts[1]
	f.app()
	f.up(a, "haproxy/shop")
	f.up(b, "nginx/front")
	for _, service := range []string{"redis/carts", "redis/sessions", "redis/pages"} {
		f.up(a, service)
	}
	front := "http://" + b.Addr() + "/"
	patiently(t, "the app answers through nginx and HAProxy", func() error { return answersOften(front, 20) })

	out, err := a.Command(t, "sh", "-c", "docker kill $(docker ps --quiet --filter label=svckit.app=hello-go)").CombinedOutput()
	if err != nil {
		t.Fatalf("kill an instance: %v %s", err, out)
	}
	patiently(t, "the other instance takes all requests", func() error { return answersOften(front, 50) })

	for _, service := range []string{"redis-carts", "redis-sessions", "redis-pages"} {
		patiently(t, service+" counts", func() error { return counts(t.Context(), b, service) })
	}
	limits, err := a.Command(t, "sh", "-c", "docker inspect --format '{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}' $(docker ps --quiet --filter label=svckit.app=redis) | sort").CombinedOutput()
	if got := strings.Fields(string(limits)); err != nil || len(got) != 9 || strings.Count(string(limits), strconv.Itoa(128<<20)) != 2 || strings.Count(string(limits), strconv.Itoa(64<<20)) != 1 {
		t.Errorf("limits of the instances: %v %s", err, limits)
	}
}

// patiently waits for what has to become true.
func patiently(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within a minute: %v", what, err)
}

// answersOften asks so many times, each time anew.
func answersOften(url string, times int) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for n := range times {
		res, err := client.Get(url)
		if err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, 100))
		res.Body.Close()
		if err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		if res.StatusCode != http.StatusOK || string(text) != "one\n" {
			return fmt.Errorf("request %d: %s %q", n, res.Status, text)
		}
	}
	return nil
}

// counts has a Redis that is found by SRV count, as an app on a host does.
func counts(ctx context.Context, h *lab.Host, service string) error {
	found, err := dnsd.Lookup(ctx, h.DNS(), service+".service.consul")
	if err != nil {
		return err
	}
	if len(found.Endpoints) != 1 {
		return fmt.Errorf("%s is found %d times", service, len(found.Endpoints))
	}
	at := net.JoinHostPort(found.Endpoints[0].Address, strconv.Itoa(found.Endpoints[0].Port))
	c, err := h.Dial(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "INCR hits\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, ":") {
		err = fmt.Errorf("%s answers %q", at, line)
	}
	return err
}

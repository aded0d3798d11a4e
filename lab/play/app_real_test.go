//go:build real

package play

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// least is how many requests are answered while a playbook works, before the load ends. `make test` has minutes for it,
// not hours; what was seen with more is in README.
const least = 10_000

const appSpec = `app: shop
build: {dockerfile: Dockerfile, image: "%s/shop"}
services:
  web:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --chdir, /srv/app, --worker-tmp-dir, /dev/shm, "app:application"]
    master: gunicorn
    port: 8000
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 500ms, deadline: 90s}
    stop: {timeout: 20s, drain: 500ms}
  fixed:
    command: [gunicorn, --workers, "2", --bind, "0.0.0.0:8000", --chdir, /srv/app, --worker-tmp-dir, /dev/shm, "app:application"]
    master: gunicorn
    port: 8000
    publish: 8001
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 500ms, deadline: 90s}
    stop: {timeout: 20s, drain: 500ms}
`

const appCode = `def application(environ, start_response):
    content = b"%s\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content))), ("Connection", "close")])
    return [content]
`

// code writes new code of the app into a folder of the control machine and returns it.
func (f *Fleet) code(t *testing.T, says string) string {
	t.Helper()
	dir := filepath.Join(f.Dir, "code")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/app.py", fmt.Appendf(nil, appCode, says), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// servicesRun builds an app on a node and brings it onto three, by SRV and by a fixed port.
func servicesRun(t *testing.T, f *Fleet) {
	f.on(t, "node1", "mkdir -p /root/shop && cd /root/shop && cat >app.yaml <<'EOF'\n"+fmt.Sprintf(appSpec, f.Registry)+"EOF\n"+
		"printf 'FROM "+f.Base+"\\n' >Dockerfile && svc-build --push")
	dir := f.code(t, "one")
	for _, service := range []string{"web", "fixed"} {
		f.Run(t, "reload", "-e", "nodes=node1:node2:node3", "-e", "batch=100%", "-e", "service=shop/"+service, "-e", "source="+dir)
	}
	book := filepath.Join(f.Dir, "services.yml")
	text := `- hosts: node1:node2:node3
  roles:
    - role: svckit.svckit.service
      vars: {service_list: [{service: shop/web}, {service: shop/fixed}]}
`
	if err := os.WriteFile(book, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Run(t, book)
	f.Same(t, book)
	for _, host := range []string{"node1", "node4"} { // one that runs it and one that does not
		f.eventually(t, host, "curl -fsS --max-time 3 http://shop-fixed.service.consul:8001/", func(out string) bool { return out == "one\n" })
	}
}

// load is requests on the services from a host that runs none of them, found by its svc-dns.
type load struct {
	t    *testing.T
	cmds []*exec.Cmd
	outs []*strings.Builder
}

func (f *Fleet) load(t *testing.T) *load {
	t.Helper()
	program := filepath.Join(f.Dir, "load")
	if out, err := exec.Command("go", "build", "-o", program, "svckit/lab/cmd/load").CombinedOutput(); err != nil {
		t.Fatalf("build load: %v\n%s", err, out)
	}
	h := f.host(t, "node4")
	text, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(h.File("/usr/local/bin/load"), text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &load{t: t}
	for _, args := range [][]string{{"http://shop-web.service.consul/"}, {"-plain", "http://shop-fixed.service.consul:8001/"}} {
		out := &strings.Builder{}
		cmd := h.Command(t, "load", append([]string{"-dns", "127.0.0.1:53", "-for", "9m", "-least", strconv.Itoa(least)}, args...)...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.cmds, l.outs = append(l.cmds, cmd), append(l.outs, out)
	}
	return l
}

// stop ends the load once it has its least, and fails the test when a request was lost.
func (l *load) stop() {
	l.t.Helper()
	for n, cmd := range l.cmds {
		// nsenter stands between: the load itself is its child.
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		pid := cmd.Process.Pid
		if err == nil {
			_, _ = fmt.Sscan(string(children), &pid)
		}
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
			l.t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("load: %v", err)
		}
		said := l.outs[n].String()
		found := regexp.MustCompile(`(\d+) requests answered, (\d+) failed`).FindStringSubmatch(said)
		if found == nil || found[2] != "0" {
			l.t.Errorf("load said\n%s", said)
			continue
		}
		if done, err := strconv.Atoi(found[1]); err != nil || done < least {
			l.t.Errorf("load said\n%s, want %d requests at least", said, least)
		}
		l.t.Logf("%s", strings.TrimSpace(said))
	}
}

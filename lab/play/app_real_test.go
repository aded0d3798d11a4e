//go:build real

package play

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

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

//go:build real

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/dnsd"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/source"
)

func TestANewPythonProjectRunsReloadsAndLeavesNothing(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.start()
	at := d.says(0, "found as "+d.app+"-web.service.consul: dig @127.0.0.1 -p ")
	url, agent := d.first(`web: (http://127\.0\.0\.1:\d+)`), d.first(`in memory: (http://127\.0\.0\.1:\d+)`)
	if got, want := d.get(url), "200 hello from "+d.app+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	dns := "127.0.0.1:" + d.first(`dig @127\.0\.0\.1 -p (\d+)`)
	d.until("be found as one endpoint", func() bool {
		answer, err := dnsd.Lookup(t.Context(), dns, d.app+"-web.service.consul")
		return err == nil && len(answer.Endpoints) == 1
	})
	first := d.containers()[0]

	d.edit("app.py", "hello from", "good day from")
	d.until("serve the change", func() bool { return strings.HasPrefix(d.get(url), "200 good day") })
	at = d.says(at, "web: reloaded in ")

	d.edit("app.py", "def hello", "def hello(:\n\ndef hello")
	at = d.says(at, "the new code does not load")
	d.says(at, "SyntaxError")
	if got := d.get(url); !strings.HasPrefix(got, "200 good day") {
		t.Errorf("after broken code: %q, want the old answer", got)
	}
	d.edit("app.py", "def hello(:\n\ndef hello", "def hello")
	d.edit("app.py", "good day", "good night")
	d.until("recover", func() bool { return strings.HasPrefix(d.get(url), "200 good night") })
	at = d.says(at, "web: reloaded in ")
	if now := d.containers(); len(now) != 1 || now[0].ID != first.ID {
		t.Errorf("reloads made another container: %+v", now)
	}

	// Config comes from dev.env, and is a change too.
	if err := os.WriteFile(filepath.Join(d.dir, "dev.env"), []byte("GREETING=ahoy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.says(at, "web: up in ")
	if now := d.containers(); len(now) != 1 || now[0].Env["GREETING"] != "ahoy" {
		t.Errorf("after a change of dev.env: %+v", now)
	}
	if got := d.get(url); !strings.HasPrefix(got, "200 good night") {
		t.Errorf("after the container was replaced the URL answers %q", got)
	}

	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
	if !strings.Contains(d.talk.String(), "web | [") { // gunicorn's own lines
		t.Error("the output of the container was not shown")
	}
}

func TestAGoProjectIsBuiltAgainOnChange(t *testing.T) {
	d := newDeveloper(t, "go", lab.GoImage(t))
	d.start()
	at := d.says(0, "found as ")
	url, agent := d.first(`web: (http://127\.0\.0\.1:\d+)`), d.first(`in memory: (http://127\.0\.0\.1:\d+)`)

	d.edit("main.go", "hello from", "good day from")
	d.until("serve the change", func() bool { return strings.HasPrefix(d.get(url), "200 good day") })
	at = d.says(at, "web: up in ")

	d.edit("main.go", "func routes()", "func routes(")
	at = d.says(at, "build image: step ")
	if got := d.get(url); !strings.HasPrefix(got, "200 good day") {
		t.Errorf("after a build that failed: %q, want the old answer", got)
	}
	d.edit("main.go", "func routes(", "func routes()")
	d.edit("main.go", "good day", "good night")
	d.until("recover", func() bool { return strings.HasPrefix(d.get(url), "200 good night") })
	d.says(at, "web: up in ")

	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
}

const plainServer = `
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"one\n")
http.server.ThreadingHTTPServer(("", int(os.environ["SVC_PORT"])), Handler).serve_forever()
`

func TestWithoutAMasterAChangeRestartsAndABrokenStartWaits(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.edit("app.yaml", `command: [gunicorn, -c, gunicorn.conf.py, "app:application"]`, "command: [python3, -u, serve.py]")
	d.edit("app.yaml", "master: gunicorn", "master: none")
	if code := d.fails("--dry-run"); code != 0 || !strings.Contains(d.talk.String(), "its source is mounted: a change restarts it") {
		t.Errorf("--dry-run: exit code %d, want 0 and what a change leads to", code)
	}
	d.nothingLeft("")

	d.start()
	at := d.says(0, "can't open file '/app/serve.py'")
	at = d.says(at, "waiting for a change")
	if left := d.containers(); len(left) != 0 {
		t.Errorf("a start that failed left %+v", left)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(d.dir, "serve.py"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(plainServer)
	at = d.says(at, "found as ")
	url, agent := d.first(`web: (http://127\.0\.0\.1:\d+)`), d.first(`in memory: (http://127\.0\.0\.1:\d+)`)
	if got := d.get(url); got != "200 one\n" {
		t.Errorf("got %q, want one", got)
	}
	write(strings.ReplaceAll(plainServer, "one", "two"))
	at = d.says(at, "web: restarted in ")
	if got := d.get(url); got != "200 two\n" {
		t.Errorf("got %q, want two", got)
	}

	write("raise SystemExit(3)")
	at = d.says(at, "web: it was restarted and is not well: ")
	write(plainServer)
	d.says(at, "web: up in ")
	if got := d.get(url); got != "200 one\n" {
		t.Errorf("after the fix: %q, want one", got)
	}
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
}

func TestWhatAKilledDevLeftIsTakenAwayByTheNext(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.start()
	d.says(0, "found as ")
	agent := d.first(`in memory: (http://127\.0\.0\.1:\d+)`)
	if code := d.end(syscall.SIGKILL); code != -1 {
		t.Fatalf("exit code %d, want a death by signal", code)
	}
	if left := d.containers(); len(left) != 1 || left[0].Restart != "no" {
		t.Errorf("after SIGKILL: %+v, want one container that is not started again", left)
	}
	before := len(d.talk.String())
	d.start()
	d.says(before, "was left by a run that is gone: removed")
	d.says(before, "found as ")
	if got := d.containers(); len(got) != 1 {
		t.Errorf("%d containers, want 1", len(got))
	}
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(agent)
}

// fails starts dev, waits for its end and returns the exit code.
func (d *developer) fails(args ...string) int {
	d.t.Helper()
	d.start(args...)
	_ = d.cmd.Wait()
	code := d.cmd.ProcessState.ExitCode()
	d.cmd = nil
	return code
}

func TestMissingConfigIsListedAndLeavesNothing(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	d.edit("app.yaml", "check: {http: /healthz}", "check: {http: /healthz}\n    config: {env: [DATABASE_URL], secrets: [TOKEN]}")
	if code := d.fails(); code != 11 {
		t.Errorf("exit code %d, want 11", code)
	}
	for _, want := range []string{"DATABASE_URL", "TOKEN", "hint: write what is missing as KEY=VALUE lines into"} {
		if !strings.Contains(d.talk.String(), want) {
			t.Errorf("with missing config it does not say %s", want)
		}
	}
	d.nothingLeft("")
}

func TestAnAgentThatAnswersIsUsedAndKeepsNothing(t *testing.T) {
	agent := lab.Consul(t)
	d := newDeveloper(t, "python", lab.BaseImage)
	d.env["CONSUL_HTTP_ADDR"] = agent.URL()
	name := d.app + "-web"
	d.start()
	d.says(0, "found as "+name+".service.consul: dig @127.0.0.1 -p "+strings.TrimPrefix(agent.DNS, "127.0.0.1:"))
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft("")
	if left := d.get(agent.URL() + "/v1/agent/services"); left != "200 {}" {
		t.Errorf("registrations are left: %s", left)
	}

	// A name that others serve is not joined.
	body := fmt.Sprintf(`{"Node":"node2","Address":"127.0.0.1","Service":{"Service":%q,"Address":"127.0.0.1","Port":1}}`, name)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, agent.URL()+"/v1/catalog/register", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if code := d.fails(); code != 17 || !strings.Contains(d.talk.String(), name+" is served by node node2") {
		t.Errorf("exit code %d, want 17 and who serves the name", code)
	}
	d.nothingLeft("")
}

func TestAServiceThatUpRunsIsLeftAlone(t *testing.T) {
	d := newDeveloper(t, "python", lab.BaseImage)
	id, err := d.engine.Create(t.Context(), fleet.Container{
		Name: d.app + "-web-000000", Image: lab.BaseImage, Command: []string{"sleep", "600"}, Network: "bridge", Restart: "no",
		StopSignal: "SIGKILL", StopWait: time.Second,
		Labels: map[string]string{fleet.LabelKind: "service", fleet.LabelApp: d.app, fleet.LabelService: "web", fleet.LabelRelease: "r1", fleet.LabelPrefix: "svc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if code := d.fails(); code != 17 || !strings.Contains(d.talk.String(), "svc-run down "+d.app+"/web ends it") {
		t.Errorf("exit code %d, want 17 and what ends it", code)
	}
	if i, err := d.engine.Instance(t.Context(), id); err != nil || i.State != fleet.Running {
		t.Errorf("the container of `up` is %s, %v", i.State, err)
	}
}

func TestWithoutAProgramTheAgentComesFromAnImageOrNotAtAll(t *testing.T) {
	program := lab.ConsulBinary(t)
	d := newDeveloper(t, "python", lab.BaseImage)
	d.env["SVC_CONSUL"], d.env["PATH"] = "", "/nonexistent"
	d.start()
	at := d.says(0, "nothing is found by name")
	d.says(at, "web: http://127.0.0.1:")
	if got := d.get(d.first(`web: (http://127\.0\.0\.1:\d+)`)); !strings.HasPrefix(got, "200 hello") {
		t.Errorf("without names it answers %q", got)
	}
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft("")

	consulImage(t, d, program)
	mark := len(d.talk.String())
	d.start()
	d.says(mark, "from image hashicorp/consul")
	d.says(mark, "found as ")
	if code := d.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.nothingLeft(d.first(`from image hashicorp/consul: (http://127\.0\.0\.1:\d+)`))
}

// consulImage gives the engine the image that a developer may have pulled.
func consulImage(t *testing.T, d *developer, program string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("/bin/cp", program, filepath.Join(dir, "consul")).CombinedOutput(); err != nil {
		t.Fatalf("copy consul: %v\n%s", err, out)
	}
	text := "FROM " + lab.BaseImage + "\nCOPY consul /bin/consul\nENTRYPOINT [\"/bin/consul\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Scan(t.Context(), dir, "Dockerfile", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.engine.Build(t.Context(), docker.BuildRequest{Context: tree.Files(), Dockerfile: "Dockerfile", Tags: []string{"hashicorp/consul:latest"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the developer's engine is closed
		if _, err := d.engine.Prune(context.Background(), "hashicorp/consul", nil, 0); err != nil {
			t.Error(err)
		}
	})
}

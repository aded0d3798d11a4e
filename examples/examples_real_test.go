//go:build real

package examples

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/ground"
)

// Each row is built by svc-build, which runs the app's own tests in the image.
func TestServersAnswerAndLeaveWithoutFailingARequest(t *testing.T) {
	for _, row := range []struct {
		app, port, arg, slow string
	}{
		{app: "hello-go", port: "8080", arg: "BASE=" + lab.GoImage(t), slow: "/"},
		{app: "wsgi-gunicorn", port: "8000", arg: "BASE=" + lab.BaseImage, slow: "/slow?s=5"},
		{app: "wsgi-uwsgi", port: "8000", arg: "BASE=" + lab.BaseImage, slow: "/slow?s=5"},
	} {
		t.Run(row.app, func(t *testing.T) {
			image := build(t, row.app, row.arg)
			url := fmt.Sprintf("http://127.0.0.1:%d", lab.FreePorts(t, 1)[0])
			id := start(t, image, "--publish", strings.TrimPrefix(url, "http://")+":"+row.port)
			await(t, id, func() error { return get(url + "/healthz") })
			if err := get(url + "/"); err != nil {
				t.Error(err)
			}

			sent, slow := make(chan struct{}), make(chan error, 1)
			go func() { slow <- getTold(url+row.slow, sent) }()
			<-sent
			if row.slow != "/" {
				await(t, id, func() error { return taken(t, id, row.port) })
			}
			docker(t, "stop", "--time", "30", id)

			if err := <-slow; err != nil {
				t.Errorf("the request that ran while the server left: %v", err)
			}
			if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
				t.Errorf("exit code %s, want 0", code)
			}
		})
	}
}

// taken is nil when the server in a container has read a request of a connection that is open.
func taken(t *testing.T, id, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	at := fmt.Sprintf(":%04X", n)
	for _, file := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile("/proc/" + docker(t, "inspect", "--format", "{{.State.Pid}}", id) + "/net/" + file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			const established, nothing = "01", "00000000"
			if f := strings.Fields(line); len(f) > 4 && strings.HasSuffix(f[1], at) && f[3] == established && strings.HasSuffix(f[4], ":"+nothing) {
				return nil
			}
		}
	}
	return errors.New("no request is at work")
}

func TestWorkerDoesItsJobAndLeaves(t *testing.T) {
	image := build(t, "worker", "BASE="+lab.BaseImage)
	id := start(t, image, "--volume", "/var/lib/worker")
	await(t, id, func() error {
		return run("docker", "exec", id, "sh", "-c", "echo two words > /var/lib/worker/job1 && mv /var/lib/worker/job1 /var/lib/worker/new/")
	})
	await(t, id, func() error { return run("docker", "exec", id, "test", "-f", "/var/lib/worker/done/job1") })

	docker(t, "stop", "--time", "30", id)

	if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
		t.Errorf("exit code %s, want 0", code)
	}
	if log := docker(t, "logs", id); !strings.Contains(log, "2 words") || !strings.Contains(log, "leaving, no job at hand") {
		t.Errorf("log:\n%s", log)
	}
}

// build returns the id of the app's image.
func build(t *testing.T, app, arg string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "svc-build")
	if err := run("go", "build", "-o", program, "svckit/cmd/svc-build"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--quiet", "--file", filepath.Join(app, "app.yaml"), "--build-arg", arg)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+lab.DockerHost(t))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("svc-build: %v\n%s", err, stderr.String())
	}
	_, id, ok := strings.Cut(strings.TrimSpace(stdout.String()), "@")
	if !ok {
		t.Fatalf("svc-build printed %q, want REPOSITORY@ID", stdout.String())
	}
	return id
}

func start(t *testing.T, image string, args ...string) string {
	t.Helper()
	id := docker(t, append(append([]string{"run", "--detach", "--init"}, args...), image)...)
	t.Cleanup(func() { docker(t, "rm", "--force", "--volumes", id) })
	return id
}

func await(t *testing.T, id string, ready func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ready(); err == nil {
			return
		}
	}
	t.Fatalf("not ready in 2 minutes: %v\n%s", err, docker(t, "logs", id))
}

func get(url string) error { return getTold(url, make(chan struct{})) }

// getTold closes sent when the request is on its way.
func getTold(url string, sent chan struct{}) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"--host", os.Getenv(ground.EngineVar)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func run(command string, args ...string) error {
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", command, strings.Join(args, " "), err, out)
	}
	return nil
}

//go:build real

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// realNode is a node with an engine, a Consul agent and one instance of an app.
type realNode struct {
	agent  *lab.Agent
	engine *docker.Engine
	client *consul.Client
	prefix string
	app    string
	id     string // of the instance's container
}

// newRealNode starts an instance that prints "hello N" and is registered as passing.
func newRealNode(t *testing.T) *realNode {
	t.Helper()
	n := &realNode{agent: lab.Consul(t), prefix: fmt.Sprintf("tool%d", os.Getpid()), app: fmt.Sprintf("tool%d", os.Getpid())}
	var err error
	if n.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if n.client, err = consul.OpenAt(n.agent.HTTP, n.prefix, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	n.id = n.start(t, 1)
	said := func() bool {
		lines, err := n.engine.Tail(t.Context(), n.id, 10)
		return err == nil && len(lines) == 2
	}
	for end := time.Now().Add(time.Minute); !said(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the instance says nothing in a minute")
		}
	}
	return n
}

// start runs the nth instance.
func (n *realNode) start(t *testing.T, nth int) string {
	t.Helper()
	script := fmt.Sprintf(`import sys,time
print("hello %d",flush=True); print("oops %d",file=sys.stderr,flush=True)
time.sleep(600)`, nth, nth)
	id, err := n.engine.Create(t.Context(), fleet.Container{
		Name: fmt.Sprintf("%s-%d", n.app, nth), Image: lab.BaseImage, Command: []string{"python3", "-c", script}, Network: "bridge", Restart: "always",
		StopSignal: "SIGTERM", StopWait: time.Second, CPU: 0.5, Memory: 64 << 20,
		Labels: map[string]string{
			fleet.LabelKind: "service", fleet.LabelApp: n.app, fleet.LabelService: "web", fleet.LabelRelease: "r1", fleet.LabelPrefix: n.prefix,
			fleet.LabelAddress: "127.0.0.1", fleet.LabelPort: "20001", fleet.LabelCPU: "0.5",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.engine.Remove(context.Background(), id) })
	if err := n.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func (n *realNode) register(t *testing.T, id string) {
	t.Helper()
	r := fleet.Registration{
		ID: n.app + "-web-node1-" + id[:8], Name: n.app + "-web", Address: "127.0.0.1", Port: 20001, Weight: 4,
		Meta: map[string]string{fleet.MetaApp: n.app, fleet.MetaService: "web", fleet.MetaRelease: "r1", fleet.MetaNode: "node1", fleet.MetaContainer: id, fleet.MetaWorkers: "4"},
	}
	if err := n.client.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Await(t.Context(), r.ID, r.Name, fleet.Passing); err != nil {
		t.Fatal(err)
	}
}

// keys writes what a team would have in Consul.
func (n *realNode) keys(t *testing.T) {
	t.Helper()
	text := "app: " + n.app + "\nbuild: {dockerfile: Dockerfile, image: r.example/shop}\nservices:\n  web:\n    port: 8000\n    config: {env: [DATABASE_URL, REDIS], secrets: [SESSION_KEY]}\n"
	for i, name := range []string{"r1", "r2", "r3"} {
		r := fleet.Release{
			App: n.app, Name: name, Image: "r.example/shop@sha256:" + strings.Repeat(fmt.Sprint(i+1), 64), Spec: text,
			BuiltBy: "ann@ci", BuiltAt: time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC), Git: fleet.Git{Commit: strings.Repeat("ab", 20), Dirty: i == 1},
		}
		if err := n.client.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.client.MarkFailed(t.Context(), n.app, "r3", fleet.Mark{Image: "r.example/shop@sha256:" + strings.Repeat("3", 64), By: "bob", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"shared/config/REDIS": "redis://shared", "apps/" + n.app + "/config/REDIS": "redis://app", "shared/config/sub/x": "nested",
		"apps/" + n.app + "/secrets/SESSION_KEY": "very-secret-value", "apps/" + n.app + "/releases/r0": "no JSON",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, n.agent.URL()+"/v1/kv/"+n.prefix+"/"+key, bytes.NewReader([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("put %s: %s", key, res.Status)
		}
	}
}

// Each script is a session of a user on a node with Docker and Consul.
func TestRealScripts(t *testing.T) {
	n := newRealNode(t)
	n.register(t, n.id)
	n.keys(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/real", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			for k, v := range map[string]string{
				"GORACE": "atexit_sleep_ms=0", "CONSUL_HTTP_ADDR": n.agent.HTTP, "DOCKER_HOST": lab.DockerHost(t),
				"SVC_PREFIX": n.prefix, "SVC_RUN_DIR": lab.RunDir(t), "SVC_STATE_DIR": e.WorkDir, "APP": n.app, "SHORT": n.id[:8],
			} {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func TestLogsGoOnWithARealReplacement(t *testing.T) {
	n := newRealNode(t)
	var out lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	j := logsJob{
		engine: n.engine, prefix: n.prefix, target: here.Target{App: n.app, Service: "web"}, stdout: &out, stderr: io.Discard,
		options: docker.LogOptions{Tail: 10}, every: 200 * time.Millisecond, say: t.Logf,
	}
	done := make(chan error)
	go func() { done <- j.follow(ctx) }()
	out.await(t, "hello 1\n")
	second := n.start(t, 2)
	out.await(t, "hello 1\nweb/"+second[:8]+" | hello 2\n")
	if err := n.engine.Remove(ctx, n.id); err != nil {
		t.Fatal(err)
	}
	third := n.start(t, 3)
	out.await(t, "hello 1\nweb/"+second[:8]+" | hello 2\nweb/"+third[:8]+" | hello 3\n")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

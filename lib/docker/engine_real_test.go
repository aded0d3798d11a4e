//go:build real

package docker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/fleet"
)

// serial makes names of containers different within one run.
var serial atomic.Int64

// testEngine connects to the test engine and, at the end, removes what the test made.
func testEngine(t *testing.T) (*Engine, string) {
	t.Helper()
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	e, err := Open(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("svckit-dockertest-%d-%d", os.Getpid(), serial.Add(1))
	t.Cleanup(func() {
		clearAway(t, e, name)
		_ = e.Close()
	})
	return e, name
}

func clearAway(t *testing.T, e *Engine, name string) {
	ctx := context.Background()
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", "^/"+name))})
	if err != nil {
		t.Errorf("list what the test left: %v", err)
	}
	for _, c := range list {
		if err := e.Remove(ctx, c.ID); err != nil {
			t.Errorf("remove %s: %v", c.Names, err)
		}
	}
}

// plain is a container that sleeps and ends at once on TERM.
func plain(name string, command ...string) fleet.Container {
	if len(command) == 0 {
		command = []string{"sleep", "600"}
	}
	return fleet.Container{
		Name: name, Image: lab.BaseImage, Command: command, Network: "bridge",
		StopSignal: "SIGTERM", StopWait: 5 * time.Second, Restart: "no",
		Labels: map[string]string{fleet.LabelKind: "service", fleet.LabelApp: "dockertest", fleet.LabelService: "web"},
	}
}

func startNew(t *testing.T, e *Engine, c fleet.Container) string {
	t.Helper()
	id, err := e.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// execIn runs a command in a running container and returns its output.
func execIn(t *testing.T, e *Engine, id, user string, command ...string) (string, int) {
	t.Helper()
	made, err := e.api.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: command, User: user, AttachStdout: true, AttachStderr: true, Tty: true})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := e.api.ContainerExecAttach(t.Context(), made.ID, container.ExecAttachOptions{Tty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream.Reader)
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.api.ContainerExecInspect(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\r\n", "\n"), done.ExitCode
}

// eventually polls f until it is true.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// onHost runs a command on this machine.
func onHost(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

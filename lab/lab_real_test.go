//go:build real

package lab_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"svckit/lab"
)

func TestEngineOfATestIsApartFromTheSharedOneAndComesBack(t *testing.T) {
	shared := docker(t, lab.DockerHost(t), "run", "--detach", "--init", lab.BaseImage, "sleep", "600")
	t.Cleanup(func() { docker(t, lab.DockerHost(t), "rm", "--force", shared) })

	engine := lab.NewEngine(t)
	if seen := docker(t, engine.Host, "ps", "--quiet"); seen != "" {
		t.Errorf("a new engine runs containers: %s", seen)
	}
	own := docker(t, engine.Host, "run", "--detach", "--init", "--restart=always", lab.BaseImage, "sleep", "600")

	engine.Kill(t)
	engine.Restart(t)

	if seen := docker(t, engine.Host, "ps", "--quiet", "--no-trunc"); seen != own {
		t.Errorf("after a crash of the engine: containers %q, want %q", seen, own)
	}
	if seen := docker(t, lab.DockerHost(t), "ps", "--quiet", "--no-trunc", "--filter=id="+shared); seen != shared {
		t.Errorf("the shared engine lost its container: %q, want %q", seen, shared)
	}
}

func TestConsulBesideAnEngineAnswersThereAndNotHere(t *testing.T) {
	engine := lab.NewEngine(t)
	agent := lab.ConsulIn(t, engine)

	res, err := engine.Client().Get(agent.URL() + "/v1/status/leader")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || len(text) < 5 {
		t.Errorf("leader there: %s %q", res.Status, text)
	}
	if res, err := http.Get(agent.URL() + "/v1/status/leader"); err == nil {
		res.Body.Close()
		t.Error("the agent answers in the test's own network too")
	}
}

func TestRunDirIsEmptyAndOnMemory(t *testing.T) {
	dir := lab.RunDir(t)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("entries %v, error %v", entries, err)
	}
	out, err := exec.Command("stat", "--file-system", "--format=%T", dir).Output()
	if kind := strings.TrimSpace(string(out)); err != nil || kind != "tmpfs" {
		t.Errorf("file system %q, error %v; want tmpfs", kind, err)
	}
}

func TestGoImageBuildsAProgram(t *testing.T) {
	image := lab.GoImage(t)
	out := docker(t, lab.DockerHost(t), "run", "--rm", image, "go", "version")
	if !strings.HasPrefix(out, "go version go1.") {
		t.Errorf("go version: %q", out)
	}
}

func docker(t *testing.T, host string, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"--host", host}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

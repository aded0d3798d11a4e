package lab

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// AppImage puts the test app into an image, pushes it to the registry and returns
// repo@sha256:…. The tag is the release; manners says how the app behaves (see testapp).
func AppImage(t testing.TB, registry, app, release, manners string) string {
	t.Helper()
	ref := registry + "/" + app + ":" + release
	image := archive(t, map[string][]byte{
		"testapp": testapp(t), "release": []byte(release + "\n"), "manners": []byte(manners + "\n"),
	})
	docker(t, bytes.NewReader(image), "import", "-c", `ENTRYPOINT ["/testapp"]`, "-", ref)
	out := docker(t, nil, "push", ref)
	docker(t, nil, "image", "rm", ref) // a node that runs it has to pull it
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(out)
	if digest == "" {
		t.Fatalf("push %s: no digest in %s", ref, out)
	}
	return registry + "/" + app + "@" + digest
}

// testapp builds the test app, static, once per test process at most as the build cache allows.
func testapp(t testing.TB) []byte {
	t.Helper()
	return static(t, "testapp")
}

// Consumer is a static program that works off a queue of RabbitMQ: see lab/consumer.
func Consumer(t testing.TB) []byte {
	t.Helper()
	return static(t, "consumer")
}

func static(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "svckit/lab/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, text)
	}
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func archive(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func docker(t testing.TB, stdin *bytes.Reader, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"-H", DockerHost(t)}, args...)...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

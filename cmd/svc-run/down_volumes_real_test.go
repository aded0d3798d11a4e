//go:build real

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func dockerCLI(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestDownSavesVolumesBeforeItRemovesThem(t *testing.T) {
	r := newRig(t)
	volume := r.app + "-data"
	r.release("r1", "good", plainSpec+"    volumes: [\""+volume+":/data\"]\n")
	r.must("up", r.service())
	t.Cleanup(func() { _, _ = dockerCLI(t, "volume", "rm", "-f", volume) })
	// A second container puts something there, with an owner and a link.
	if out, err := dockerCLI(t, "run", "--name="+r.app+"-writer", "-v", volume+":/data", "svckit/base:bookworm", "sh", "-c",
		"echo precious >/data/file && chown 1234:5678 /data/file && ln -s file /data/link"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _, _ = dockerCLI(t, "rm", "-f", r.app+"-writer") })
	dir := t.TempDir()
	used := r.run("down", r.service(), "--volumes", "--to", dir)
	if used.code != 17 || !strings.Contains(used.stderr, r.app+"-writer uses it too") || len(r.of("web")) != 1 {
		t.Fatalf("exit %d, %d containers left: %s", used.code, len(r.of("web")), used.stderr)
	}
	if out, err := dockerCLI(t, "rm", r.app+"-writer"); err != nil {
		t.Fatal(out)
	}
	if would := r.must("down", r.service(), "--volumes", "--to", dir, "--dry-run"); !strings.Contains(would.stdout, "would save volume "+volume) || len(r.of("web")) != 1 {
		t.Errorf("a dry run says %s", would.stdout)
	}
	got := decode[downResult](t, r.must("down", r.service(), "--volumes", "--to", dir, "--json").stdout)
	if len(got.Saved) != 1 || !got.Changed || filepath.Dir(got.Saved[0].File) != dir {
		t.Fatalf("%+v", got)
	}
	if out, err := dockerCLI(t, "volume", "inspect", volume); err == nil {
		t.Errorf("the volume is there: %s", out)
	}
	if out, err := exec.Command("sh", "-c", "cd "+dir+" && sha256sum -c *.sha256").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	list, err := exec.Command("tar", "--numeric-owner", "-tvzf", got.Saved[0].File).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "1234/5678") || !strings.Contains(string(list), "link -> file") {
		t.Errorf("%v\n%s", err, list)
	}
	text, err := exec.Command("tar", "-xzOf", got.Saved[0].File, "./file").CombinedOutput()
	if err != nil || string(text) != "precious\n" {
		t.Errorf("%v: %q", err, text)
	}
	if again := decode[downResult](t, r.must("down", r.service(), "--volumes", "--to", dir, "--json").stdout); again.Changed {
		t.Errorf("again: %+v", again)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}

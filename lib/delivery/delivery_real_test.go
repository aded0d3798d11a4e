//go:build real

package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"svckit/lab"
	"svckit/lib/delivery"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// runFolder opens a store in a folder that is on a disk, and unmounts it after the test.
func runFolder(t *testing.T) *delivery.Store {
	t.Helper()
	run := filepath.Join(t.TempDir(), "run")
	s, err := delivery.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(run, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", run, err)
		}
	})
	return s
}

func TestTheRunFolderIsMountedOnceAndBounded(t *testing.T) {
	s := runFolder(t)
	run := filepath.Dir(s.Dir("x"))
	if _, err := delivery.Open(run); err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if f := strings.Fields(line); len(f) > 3 && f[1] == run {
			found = append(found, line)
		}
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], "svckit ") || !strings.Contains(found[0], "size=262144k") || !strings.Contains(found[0], "nosuid,nodev,noexec") || !strings.Contains(found[0], "mode=711") {
		t.Errorf("mounts %q", found)
	}
	t.Log(found)
}

func TestADeliveryThatDoesNotFitChangesNothing(t *testing.T) {
	run := t.TempDir()
	if err := unix.Mount("svckit-test", run, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(run, unix.MNT_DETACH) })
	s, err := delivery.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	small := spec.Values{Secrets: map[string]string{"A": "1", "B": "2"}}
	if _, err := s.Deliver("web-1", small, delivery.Owner{}); err != nil {
		t.Fatal(err)
	}
	big := spec.Values{Secrets: map[string]string{"A": "new", "B": strings.Repeat("x", 1<<20)}}
	if _, err := s.Deliver("web-1", big, delivery.Owner{}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v, want no space left", err)
	}
	have, err := s.Current("web-1")
	if err != nil || have.Secrets["A"] != "1" || have.Secrets["B"] != "2" {
		t.Errorf("%v, %v, want the old secrets", have.Secrets, err)
	}
	if entries, _ := os.ReadDir(filepath.Join(s.Dir("web-1"), "secrets")); len(entries) != 2 {
		t.Errorf("left %v", entries)
	}
}

// server prints the mode and owner of what was delivered, and answers with the file's content.
const server = `
import hashlib, http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/user":
            body = b"%d:%d" % (os.getuid(), os.getgid())
        elif self.path.startswith("/sum"):
            body = hashlib.sha256(open(self.path[4:], "rb").read()).hexdigest().encode()
        elif self.path.startswith("/stat"):
            s = os.stat(self.path[5:]); body = b"%o %d:%d" % (s.st_mode & 0o777, s.st_uid, s.st_gid)
        else:
            body = open(self.path, "rb").read()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), H).serve_forever()
`

// asUser gives the base image a USER, which a container of ours takes from its image.
func asUser(t *testing.T, name, user string) string {
	t.Helper()
	ref := "svckit-dockertest/" + name + ":1"
	docker := func(args ...string) string {
		out, err := exec.Command("docker", append([]string{"-H", lab.DockerHost(t)}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	id := docker("create", "--name", name+"-base", lab.BaseImage, "true")
	docker("commit", "--change", "USER "+user, id, ref)
	docker("rm", id)
	t.Cleanup(func() { docker("rmi", ref) })
	return ref
}

func TestAContainerReadsWhatWasDeliveredToIt(t *testing.T) {
	s := runFolder(t)
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	e, err := docker.Open(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	name := fmt.Sprintf("svckit-dockertest-delivery-%d", os.Getpid())
	image := asUser(t, name, "www-data")
	files := []spec.File{{Template: "t", To: "/etc/app/settings.json"}}
	port := lab.FreePorts(t, 1)[0]
	if err := s.Prepare(name); err != nil {
		t.Fatal(err)
	}
	id, err := e.Create(t.Context(), fleet.Container{
		Name: name, Image: image, Command: []string{"python3", "-c", server}, Network: "bridge", StopSignal: "SIGKILL", Restart: "no",
		Ports:  []fleet.PortMap{{Host: "127.0.0.1", HostPort: port, Container: 8000}},
		Mounts: s.Mounts(name), Links: delivery.Links(files),
		Labels: map[string]string{fleet.LabelKind: "test", fleet.LabelDir: s.Dir(name)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Remove(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	uid, gid, err := e.User(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("line $HOME \"quoted\" 'too' \\ \xff\x00\n", 3300) // 100 KB
	v := spec.Values{Secrets: map[string]string{"BIG": big, "KEY": "one"}, Files: []spec.Rendered{{To: files[0].To, Content: []byte("old")}}}
	deliver := func() {
		t.Helper()
		if _, err := s.Deliver(name, v, delivery.Owner{UID: uid, GID: gid}); err != nil {
			t.Fatal(err)
		}
	}
	deliver()
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ask := func(path string) string { return get(t, port, path) }

	for path, want := range map[string]string{
		"/user": "33:33", "/run/secrets/BIG": big, "/run/secrets/KEY": "one", "/stat/run/secrets/KEY": "400 33:33",
		"/etc/app/settings.json": "old", "/stat/etc/app/settings.json": "444 33:33",
	} {
		if got := ask(path); got != want {
			t.Errorf("%s: %.80q, want %.80q", path, got, want)
		}
	}
	v.Files[0].Content, v.Secrets = []byte("new"), map[string]string{"KEY": "two", "ADDED": "three"}
	deliver()
	for path, want := range map[string]string{"/etc/app/settings.json": "new", "/run/secrets/KEY": "two", "/run/secrets/ADDED": "three"} {
		if got := ask(path); got != want {
			t.Errorf("after rendering again %s: %q, want %q", path, got, want)
		}
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := ask("/etc/app/settings.json"); got != "new" {
		t.Errorf("after a restart: %q, want new", got)
	}
}

// get asks until there is an answer.
func get(t *testing.T, port int, path string) string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		out, err := fetch("http://127.0.0.1:" + strconv.Itoa(port) + path)
		if err == nil {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func fetch(url string) (string, error) {
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var text strings.Builder
	_, err = io.Copy(&text, res.Body)
	return text.String(), err
}

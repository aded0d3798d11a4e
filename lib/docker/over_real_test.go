//go:build real

package docker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// imageWith is the base image in which a command was run, with changes in its config.
func imageWith(t *testing.T, e *Engine, name, command string, changes ...string) string {
	t.Helper()
	id := startNew(t, e, plain(name+"-made", "sh", "-c", command))
	eventually(t, time.Minute, "end", func() bool { return state(t, e, id) == fleet.Exited })
	ref := "svckit-dockertest/" + name + ":1"
	if _, err := e.api.ContainerCommit(t.Context(), id, container.CommitOptions{Reference: ref, Changes: changes}); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return ref
}

// version makes a version of code and points current to it, as package code does.
func version(t *testing.T, dir, name string) {
	t.Helper()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "versions", name), 0o755),
		os.WriteFile(filepath.Join(dir, "versions", name, "GENERATION"), []byte(name+"\n"), 0o644),
		os.Symlink("versions/"+name, filepath.Join(dir, ".new-link")),
		os.Rename(filepath.Join(dir, ".new-link"), filepath.Join(dir, "current")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestALinkTakesThePlaceOfTheImagesWorkingFolder(t *testing.T) {
	e, name := testEngine(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	version(t, dir, "one")
	c := plain(name, "sh", "-c", "pwd -P; cat GENERATION; exec sleep 600")
	c.Image = imageWith(t, e, name, "mkdir -p /srv/app/deep && echo image | tee /srv/app/GENERATION /srv/app/deep/x && chown -R 33:33 /srv/app", "WORKDIR /srv/app", "USER www-data")
	t.Cleanup(func() {
		_ = e.Remove(context.Background(), name) // an image of a container would only lose its name
		forget(e, c.Image)
	})
	c.Mounts = []fleet.Mount{{Source: dir, Target: "/run/svckit/code", ReadOnly: true}}
	c.Links = map[string]string{"/srv/app": "/run/svckit/code/current", "/etc/app/settings": "/run/svckit/files/b"}
	c.Over = "/srv/app"
	id := startNew(t, e, c)

	look := func(want string) {
		t.Helper()
		got, code := execIn(t, e, id, "", "sh", "-c", "id -un; readlink /srv/app; pwd -P; cat GENERATION /srv/app/GENERATION; ls -A; touch x 2>&1 | grep -o 'Read-only file system'")
		if code != 0 || got != want {
			t.Errorf("exit %d, got\n%s\nwant\n%s", code, got, want)
		}
	}
	look("www-data\n/run/svckit/code/current\n/run/svckit/code/versions/one\none\none\nGENERATION\nRead-only file system")
	version(t, dir, "two")
	look("www-data\n/run/svckit/code/current\n/run/svckit/code/versions/two\ntwo\ntwo\nGENERATION\nRead-only file system")
	if got, _ := execIn(t, e, id, "", "readlink", "/proc/1/cwd"); got != "/run/svckit/code/versions/one" {
		t.Errorf("a process that is in the old version was moved to %s", got)
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "second start", func() bool {
		lines, err := e.Tail(t.Context(), id, 2)
		return err == nil && strings.Join(lines, " ") == "/run/svckit/code/versions/two two"
	})
}

func TestAVolumeOfTheImageInThePlaceOfALinkIsRefused(t *testing.T) {
	e, name := testEngine(t)
	for n, volume := range []string{"/srv/app", "/srv", "/srv/app/data"} {
		c := plain(name)
		c.Image = imageWith(t, e, name+"-"+string(rune('a'+n)), "mkdir -p /srv/app/data", "VOLUME "+volume)
		t.Cleanup(func() { forget(e, c.Image) })
		c.Links, c.Over = map[string]string{"/srv/app": "/run/svckit/code/current"}, "/srv/app"
		_, err := e.Create(t.Context(), c)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "a volume is mounted at "+volume) {
			t.Errorf("VOLUME %s: %s %v", volume, fault.KindOf(err), err)
		}
	}
}

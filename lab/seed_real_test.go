//go:build real

package lab_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"svckit/lab"
	"svckit/lab/ground"
)

// The base image comes out of a folder that all engines share. Nothing that one of them does reaches the others.
func TestBaseImageThatIsRemovedStaysWithTheOtherEngines(t *testing.T) {
	f := lab.NewFleet(t, lab.Datacenter{Hosts: 2})
	one, two := f.Hosts[0], f.Hosts[1]
	docker(t, one.Docker(), "run", "--rm", lab.BaseImage, "rm", "-rf", "/usr/lib/python3")
	docker(t, one.Docker(), "image", "rm", "--force", lab.BaseImage, f.Base)
	if left := docker(t, one.Docker(), "images", "--quiet"); left != "" {
		t.Fatalf("images are there still: %s", left)
	}

	for _, engine := range []string{two.Docker(), lab.NewEngine(t).Host} {
		if out := docker(t, engine, "run", "--rm", lab.BaseImage, "gunicorn", "--version"); !strings.HasPrefix(out, "gunicorn") {
			t.Errorf("another engine says %q", out)
		}
	}
	if out := docker(t, one.Docker(), "pull", "--quiet", f.Base); out != f.Base {
		t.Errorf("pulled again: %q, want %q", out, f.Base)
	}
}

// Another kind of engine than the one that made that folder unpacks the image itself, and has the same.
func TestFleetWithoutASeedHoldsTheSameImage(t *testing.T) {
	with := lab.NewFleet(t, lab.Datacenter{Hosts: 1})
	place, err := ground.NewPlace(os.Getenv(ground.NameVar))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := lab.FleetParts()
	if err != nil {
		t.Fatal(err)
	}
	parts.Seed = ""
	without, err := ground.StartFleet(t.Context(), place, parts, lab.Datacenter{Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { without.Stop() })

	inspect := func(host, name string) string {
		out, err := exec.Command("docker", "--host", host, "image", "inspect", "--format={{.Id}} {{.Config.Env}} {{.RepoTags}}", name).CombinedOutput()
		if err != nil {
			t.Fatalf("inspect %s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	a, b := inspect(with.Hosts[0].Docker(), with.Base), inspect(without.Hosts[0].Host(), without.Base)
	if a != b || !strings.Contains(a, lab.BaseImage) {
		t.Errorf("with a seed %swithout %s", a, b)
	}
}

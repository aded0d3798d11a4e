//go:build real

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svckit/lab"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

func TestLocalModeResolvesATagToItsDigest(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "app.yaml")
	writeFile(t, file, strings.Replace(strings.Replace(plainSpec, "%s", r.app, 1), "%s", r.registry+"/"+r.app, 1))
	tag := r.registry + "/" + r.app + ":latest"
	up := func(args ...string) here.Outcome {
		t.Helper()
		return decode[here.Outcome](t, r.must(append([]string{"up", "web", "--local", "--file", file, "--image", tag, "--json"}, args...)...).stdout)
	}
	one := lab.AppImage(t, r.registry, r.app, "latest", "good")
	if plan := up("--dry-run"); plan.Image != one || len(r.of("web")) != 0 {
		t.Errorf("dry run: image %s, want %s; %d containers", plan.Image, one, len(r.of("web")))
	}
	if got := up(); got.Image != one || r.of("web")[0].Image != one {
		t.Errorf("image %s, want %s", got.Image, one)
	}
	if again := up(); again.Changed {
		t.Errorf("a second up: %+v", again.Steps)
	}
	// The tag moves: the plan names both digests.
	two := lab.AppImage(t, r.registry, r.app, "latest", "slow")
	plan := up("--dry-run")
	i := slices.IndexFunc(plan.Steps, func(s rollout.Step) bool { return s.Action == "create" })
	if plan.Image != two || i < 0 || !strings.HasPrefix(strings.Join(plan.Steps[i].Fields, " "), "image (") {
		t.Fatalf("the tag has moved to %s: %+v", two, plan)
	}
	if got := up(); !got.Changed || r.of("web")[0].Image != two {
		t.Errorf("image %s, want %s", r.of("web")[0].Image, two)
	}
	// What was built here and never pushed has no digest but its ID.
	r.docker("tag", two, r.app+"-built-here:x")
	id := r.docker("inspect", "--format", "{{.Id}}", r.app+"-built-here:x")
	t.Cleanup(func() { r.docker("image", "rm", r.app+"-built-here:x") })
	for _, tag = range []string{id, r.registry + "/" + r.app + "@" + id} {
		if got := up(); got.Image != id {
			t.Errorf("%s: image %s, want %s", tag, got.Image, id)
		}
	}
}

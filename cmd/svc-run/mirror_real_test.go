//go:build real

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// TestAMirrorStandsInForARegistryThatIsAway takes an image from the second of two
// mirrors, when the first and the image's own registry are away.
func TestAMirrorStandsInForARegistryThatIsAway(t *testing.T) {
	r := newRig(t)
	image := lab.AppImage(t, r.registry, r.app, "r1", "good")
	_, digest, _ := strings.Cut(image, "@")
	away := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	repo := away + "/" + r.app
	err := r.consul.PutRelease(t.Context(), fleet.Release{
		App: r.app, Name: "r1", Image: repo + "@" + digest, Tag: repo + ":r1", Spec: fmt.Sprintf(plainSpec, r.app, repo),
		BuiltBy: "test", BuiltAt: time.Now().UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.run("up", r.service()); got.code != 13 {
		t.Errorf("without a mirror: exit %d, want 13\n%s", got.code, got.stderr)
	}
	r.set("SVC_REGISTRIES", away+","+r.registry)
	r.must("up", r.service())
	if got := r.get("/"); got != "r1\n" {
		t.Errorf("answers %q", got)
	}
	if o := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout); o.Changed || o.Image != repo+"@"+digest {
		t.Errorf("a second up: %+v", o)
	}
}

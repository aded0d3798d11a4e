package rollout_test

import (
	"reflect"
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

func TestCodeOnAVolumeIsALinkIntoAReadOnlyMount(t *testing.T) {
	w := wanted(1)
	w.Service.Code.Mount = "/srv/app"
	w.Files = []string{"/etc/a"}
	files := map[string]string{"/etc/a": "/run/svckit/files/a"}
	c := rollout.Container(w, rollout.Node{CodeDir: "/var/lib/svckit/code"}, "new-1", rollout.Seat{Dir: "/run/svckit/new-1"}, files)
	if want := map[string]string{"/etc/a": "/run/svckit/files/a", "/srv/app": "/run/svckit/code/current"}; !reflect.DeepEqual(c.Links, want) || c.Over != "/srv/app" {
		t.Errorf("links %v, over %q, want %v", c.Links, c.Over, want)
	}
	want := fleet.Mount{Source: "/var/lib/svckit/code/app/web", Target: "/run/svckit/code", ReadOnly: true}
	if got := c.Mounts[len(c.Mounts)-1]; got != want {
		t.Errorf("mount %+v, want %+v", got, want)
	}
	if len(files) != 1 {
		t.Errorf("the caller's links were changed: %v", files)
	}
	w.Service.Code.Mount, w.Files = "", nil
	if c := rollout.Container(w, rollout.Node{CodeDir: "/var/lib/svckit/code"}, "new-1", rollout.Seat{}, nil); len(c.Mounts)+len(c.Links) > 0 || c.Over != "" {
		t.Errorf("code in the image: %+v", c)
	}
}

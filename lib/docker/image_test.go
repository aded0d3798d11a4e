package docker

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
)

func TestAnImagesConfigIsRead(t *testing.T) {
	got := imageOf(image.InspectResponse{
		ID: "sha256:1", RepoDigests: []string{"r/a@sha256:2"}, Size: 7,
		Config: &dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{
			User: "app:app", WorkingDir: "/app", Entrypoint: []string{"/init"}, Cmd: []string{"serve"},
			Labels:       map[string]string{"a": "b"},
			ExposedPorts: map[string]struct{}{"9000/tcp": {}, "53/udp": {}, "80": {}, "x/tcp": {}, "70000/tcp": {}},
		}},
	})
	want := fleet.Image{
		ID: "sha256:1", Digests: []string{"r/a@sha256:2"}, Size: 7, User: "app:app", WorkDir: "/app",
		Entrypoint: []string{"/init"}, Command: []string{"serve"}, Labels: map[string]string{"a": "b"}, Ports: []int{80, 9000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := imageOf(image.InspectResponse{ID: "x"}); got.ID != "x" {
		t.Errorf("an image without config: %+v", got)
	}
}

func TestOldImagesOfARepositoryArePruned(t *testing.T) {
	const repo = "registry:5000/shortener"
	im := func(id string, day int, names ...string) localImage {
		out := localImage{ID: id, Created: time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)}
		for _, n := range names {
			if len(n) > 3 && n[:3] == "dig" {
				out.Digests = append(out.Digests, repo+"@sha256:"+n[3:])
			} else {
				out.Tags = append(out.Tags, n)
			}
		}
		return out
	}
	none := map[string]bool{}
	five := []localImage{
		im("e", 5, repo+":5"), im("a", 1, repo+":1"), im("c", 3, repo+":3"), im("b", 2, repo+":2"), im("d", 4, repo+":4"),
	}
	rows := []struct {
		name       string
		all        []localImage
		used, keep map[string]bool
		count      int
		want       []string
	}{
		{"oldest first beyond the count", five, none, none, 3, []string{"a", "b"}},
		{"enough room", five, none, none, 5, nil},
		{"count of nothing", five, none, none, 0, []string{"a", "b", "c", "d", "e"}},
		{"negative count is none", five, none, none, -1, []string{"a", "b", "c", "d", "e"}},
		{"used stays and counts", five, map[string]bool{"a": true}, none, 3, []string{"b", "c"}},
		{"kept by tag stays", five, none, map[string]bool{repo + ":1": true, repo + ":2": true}, 1, []string{"c", "d", "e"}},
		{"kept by id stays", five, none, map[string]bool{"a": true}, 4, []string{"b"}},
		{"kept by digest stays", []localImage{im("a", 1, "dig"+digits), im("b", 2, repo+":2")}, none, map[string]bool{repo + "@sha256:" + digits: true}, 0, []string{"b"}},
		{"other repositories are not ours", []localImage{im("a", 1, "registry:5000/other:1"), im("b", 2, "shortener:1")}, none, none, 0, nil},
		{"a longer name is another repository", []localImage{im("a", 1, repo+"-db:1")}, none, none, 0, nil},
		{"an image with another name too stays", []localImage{im("a", 1, repo+":1", "base:1")}, none, none, 0, nil},
		{"an image without names stays", []localImage{im("a", 1)}, none, none, 0, nil},
		{"the same day: by id", []localImage{im("z", 1, repo+":z"), im("y", 1, repo+":y")}, none, none, 1, []string{"y"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, im := range prunable(row.all, repo, row.used, row.keep, row.count) {
				got = append(got, im.ID)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

const digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

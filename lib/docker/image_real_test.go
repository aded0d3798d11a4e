//go:build real

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// createAs makes a container of the base image that runs as another user.
func createAs(t *testing.T, e *Engine, name, user string) string {
	t.Helper()
	made, err := e.api.ContainerCreate(t.Context(), &container.Config{Image: lab.BaseImage, User: user, Cmd: []string{"true"}}, nil, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// importImage makes a small image with random content, which the test removes.
func importImage(t *testing.T, e *Engine, ref string, size int, seed uint64, changes ...string) string {
	t.Helper()
	content := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(content)
	_ = w.Close()
	stream, err := e.api.ImageImport(t.Context(), image.ImportSource{Source: &archive, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stream)
	_ = stream.Close()
	got, err := e.Image(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(e, got.ID) })
	return got.ID
}

func forget(e *Engine, id string) {
	_, _ = e.api.ImageRemove(context.Background(), id, image.RemoveOptions{Force: true, PruneChildren: true})
}

// pushed pushes a small image, forgets it here and returns its digest.
func pushed(t *testing.T, e *Engine, repo string) string {
	t.Helper()
	id := importImage(t, e, repo+":1", 1<<20, 1, "USER 1000:1000", "EXPOSE 8000", "CMD [\"x\"]")
	auth, err := registryAuth(repo)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := e.api.ImagePush(t.Context(), repo+":1", image.PushOptions{RegistryAuth: auth})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := readTransfer(stream, repo, nil); err != nil {
		t.Fatal(err)
	}
	got, err := e.Image(t.Context(), repo+":1")
	if err != nil || len(got.Digests) != 1 {
		t.Fatalf("digests %v, %v", got.Digests, err)
	}
	forget(e, id)
	return strings.TrimPrefix(got.Digests[0], repo)
}

func TestAnImageIsPulledByItsDigest(t *testing.T) {
	e, _ := testEngine(t)
	repo := lab.Registry(t) + "/svckit-dockertest/pull"
	digest := pushed(t, e, repo)
	if _, err := e.Image(t.Context(), repo+digest); !errors.Is(err, fleet.ErrNotFound) {
		t.Fatalf("before the pull: %v, want not found", err)
	}
	var done, total int64
	if err := e.Pull(t.Context(), repo+digest, func(_ string, d, n int64) { done, total = d, n }); err != nil {
		t.Fatal(err)
	}
	got, err := e.Image(t.Context(), repo+digest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(e, got.ID) })
	if got.User != "1000:1000" || !slices.Equal(got.Ports, []int{8000}) || !slices.Equal(got.Command, []string{"x"}) || got.Size < 1<<20 {
		t.Errorf("%+v", got)
	}
	if total < 1<<20 || done != total {
		t.Errorf("progress ended at %d of %d bytes, want all of at least 1 MiB", done, total)
	}
	if err := e.Pull(t.Context(), repo+digest, nil); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestAPullThatCannotBeSaysWhy(t *testing.T) {
	e, _ := testEngine(t)
	registry := lab.Registry(t)
	rows := []struct {
		name, ref string
		kind      fault.Kind
	}{
		{"no such tag", registry + "/svckit-dockertest/none:1", fault.NotFound},
		{"no such digest", registry + "/svckit-dockertest/none@sha256:" + digits, fault.NotFound},
		{"no registry", fmt.Sprintf("127.0.0.1:%d/svckit-dockertest/none:1", lab.FreePorts(t, 1)[0]), fault.Unreachable},
		{"no reference", "UPPER/case", fault.Failed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := e.Pull(t.Context(), row.ref, nil)
			if fault.KindOf(err) != row.kind || errors.Is(err, fleet.ErrNotFound) != (row.kind == fault.NotFound) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %v, want %s", fault.KindOf(err), err, row.kind)
			}
			t.Log(err)
		})
	}
}

func TestAMirrorIsAskedFirstAndTheRegistryAfterAll(t *testing.T) {
	e, _ := testEngine(t)
	registry, mirror := lab.Registry(t), lab.Registry(t)
	dead := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	digest := pushed(t, e, mirror+"/svckit-dockertest/mirrored")
	got, err := e.PullFrom(t.Context(), registry+"/svckit-dockertest/mirrored"+digest, []string{dead, mirror}, nil)
	if err != nil || got != mirror+"/svckit-dockertest/mirrored"+digest {
		t.Fatalf("%s, %v, want it from %s", got, err, mirror)
	}
	im, err := e.Image(t.Context(), got)
	if err != nil {
		t.Fatal(err)
	}
	forget(e, im.ID)
	digest = pushed(t, e, registry+"/svckit-dockertest/own")
	own := registry + "/svckit-dockertest/own" + digest
	if got, err := e.PullFrom(t.Context(), own, []string{dead, mirror}, nil); err != nil || got != own {
		t.Errorf("%s, %v, want %s", got, err, own)
	}
}

func TestImagesThatNobodyUsesArePruned(t *testing.T) {
	e, name := testEngine(t)
	const repo = "svckit-dockertest/prune"
	ids := map[string]string{}
	for i, tag := range []string{"1", "2", "3", "4"} {
		ids[tag] = importImage(t, e, repo+":"+tag, 100, uint64(100+i))
	}
	if err := e.api.ImageTag(t.Context(), repo+":2", repo+":also"); err != nil {
		t.Fatal(err)
	}
	other := importImage(t, e, "svckit-dockertest/other:1", 100, 200)
	if _, err := e.api.ContainerCreate(t.Context(), &container.Config{Image: repo + ":1", Cmd: []string{"x"}}, nil, nil, nil, name); err != nil {
		t.Fatal(err)
	}
	gone, err := e.Prune(t.Context(), repo, map[string]bool{repo + ":3": true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(gone)
	want := []string{ids["2"], ids["4"]}
	slices.Sort(want)
	if !slices.Equal(gone, want) {
		t.Errorf("gone %v, want %v", gone, want)
	}
	for _, id := range []string{ids["1"], ids["3"], other} {
		if _, err := e.Image(t.Context(), id); err != nil {
			t.Errorf("used, kept or another's: %v", err)
		}
	}
	for _, id := range want {
		if _, err := e.Image(t.Context(), id); !errors.Is(err, fleet.ErrNotFound) {
			t.Errorf("image %s: %v, want not found", id, err)
		}
	}
	if _, err := e.Prune(t.Context(), "repo:tag", nil, 1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a tag: %v, want invalid", err)
	}
}

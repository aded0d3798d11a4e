package docker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Image reads the config of an image that is on this node, by reference or id.
// Without one it is fleet.ErrNotFound.
func (e *Engine) Image(ctx context.Context, ref string) (fleet.Image, error) {
	raw, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return fleet.Image{}, e.wrap(err, "inspect image %s", oneLine(ref))
	}
	return imageOf(raw), nil
}

func imageOf(raw image.InspectResponse) fleet.Image {
	out := fleet.Image{ID: raw.ID, Digests: raw.RepoDigests, Size: raw.Size}
	c := raw.Config
	if c == nil {
		return out
	}
	out.User, out.WorkDir, out.Labels = c.User, c.WorkingDir, c.Labels
	out.Entrypoint, out.Command = c.Entrypoint, c.Cmd
	for port := range c.ExposedPorts {
		number, protocol, _ := strings.Cut(port, "/")
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n <= 65535 && (protocol == "tcp" || protocol == "") {
			out.Ports = append(out.Ports, n)
		}
	}
	slices.Sort(out.Ports)
	return out
}

// Prune removes images of a repository (without tag or digest) that no container
// uses, oldest first, until count of them are left. An image whose id, tag or
// digest is in keep is never removed. It returns the ids that are gone.
func (e *Engine) Prune(ctx context.Context, repo string, keep map[string]bool, count int) ([]string, error) {
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil || !reference.IsNameOnly(named) {
		return nil, fault.New(fault.Invalid, "prune images: %q is not a repository", oneLine(repo))
	}
	list, err := e.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, e.wrap(err, "list images")
	}
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, e.wrap(err, "list containers")
	}
	used := map[string]bool{}
	for _, c := range containers {
		used[c.ImageID] = true
	}
	var gone []string
	for _, im := range prunable(localImages(list), named.Name(), used, keep, count) {
		if err := e.removeImage(ctx, im); err != nil {
			return gone, err
		}
		gone = append(gone, im.ID)
	}
	return gone, nil
}

// removeImage takes away every name of an image and then the image. An image that
// came into use since it was listed stays.
func (e *Engine) removeImage(ctx context.Context, im localImage) error {
	refs := append(slices.Clone(im.Tags[:max(len(im.Tags)-1, 0)]), im.ID)
	for _, ref := range refs {
		_, err := e.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
		switch {
		case cerrdefs.IsConflict(err):
			e.log.Info("image is in use, stays", "image", ref)
			return nil
		case err != nil && !cerrdefs.IsNotFound(err):
			return e.wrap(err, "remove image %s", ref)
		}
	}
	return nil
}

// localImage is an image on this node.
type localImage struct {
	ID      string
	Tags    []string // repo:tag
	Digests []string // repo@sha256:…
	Created time.Time
}

func localImages(list []image.Summary) []localImage {
	out := make([]localImage, 0, len(list))
	for _, s := range list {
		named := func(r string) bool { return !strings.Contains(r, "<none>") }
		im := localImage{ID: s.ID, Created: time.Unix(s.Created, 0)}
		for _, t := range s.RepoTags {
			if named(t) {
				im.Tags = append(im.Tags, t)
			}
		}
		for _, d := range s.RepoDigests {
			if named(d) {
				im.Digests = append(im.Digests, d)
			}
		}
		out = append(out, im)
	}
	return out
}

// prunable is which images to remove so that at most count of the repository are
// left: oldest first, ties by id; never one that is used, kept, or also known
// under another repository.
func prunable(all []localImage, repo string, used, keep map[string]bool, count int) []localImage {
	var ours, free []localImage
	for _, im := range all {
		names := slices.Concat(im.Tags, im.Digests)
		if len(names) == 0 || !slices.ContainsFunc(names, func(r string) bool { return repository(r) == repo }) {
			continue
		}
		ours = append(ours, im)
		kept := keep[im.ID] || used[im.ID] || slices.ContainsFunc(names, func(r string) bool { return keep[r] || repository(r) != repo })
		if !kept {
			free = append(free, im)
		}
	}
	slices.SortFunc(free, func(a, b localImage) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	surplus := len(ours) - max(count, 0)
	return free[:max(0, min(surplus, len(free)))]
}

// repository is the normalized name of a reference without tag and digest, "" for none.
func repository(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	return named.Name()
}

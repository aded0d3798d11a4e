package here

import (
	"context"
	"errors"

	"svckit/lib/docker"
	"svckit/lib/fleet"
)

// Mirrored is an engine that asks this node's mirrors for images before their own
// registry. Such an image is known here by the mirror's name; its digest, which
// is what counts, is the same.
type Mirrored struct {
	*docker.Engine
	mirrors []string
}

func (m Mirrored) Pull(ctx context.Context, ref string, p fleet.Progress) error {
	_, err := m.PullFrom(ctx, ref, m.mirrors, p)
	return err
}

func (m Mirrored) Image(ctx context.Context, ref string) (fleet.Image, error) {
	image, _, err := m.find(ctx, ref)
	return image, err
}

func (m Mirrored) Create(ctx context.Context, c fleet.Container) (string, error) {
	if _, here, err := m.find(ctx, c.Image); err == nil {
		c.Image = here
	}
	return m.Engine.Create(ctx, c)
}

// find looks for an image under each name that it may have here.
func (m Mirrored) find(ctx context.Context, ref string) (image fleet.Image, here string, err error) {
	for _, here = range m.names(ref) {
		image, err = m.Engine.Image(ctx, here)
		if !errors.Is(err, fleet.ErrNotFound) {
			return image, here, err
		}
	}
	return image, ref, err
}

// names are an image's own name and those of the mirrors.
func (m Mirrored) names(ref string) []string {
	out := []string{ref}
	for _, mirror := range m.mirrors {
		if at, ok := docker.Mirrored(ref, mirror); ok {
			out = append(out, at)
		}
	}
	return out
}

package apply

import (
	"context"
	"errors"
	"fmt"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// Observe takes the snapshot that a plan is made from. It changes nothing.
func Observe(ctx context.Context, world World, job Job) (rollout.Seen, error) {
	all, err := world.Views.Instances(ctx, "", "")
	if err != nil {
		return rollout.Seen{}, fmt.Errorf("list containers: %w", err)
	}
	regs, err := world.Registrar.Registrations(ctx)
	if err != nil {
		return rollout.Seen{}, fmt.Errorf("list registrations: %w", err)
	}
	seen := rollout.Seen{Registrations: regs, Outdated: map[string][]string{}}
	for _, i := range all {
		if i.App != job.Wanted.App || i.Service != job.Wanted.Service.Key {
			seen.Others = append(seen.Others, i)
			continue
		}
		seen.Instances = append(seen.Instances, i)
		if i.Dir == "" {
			continue
		}
		stale, err := world.Files.Differ(i.Dir, job.Values)
		if err != nil {
			return rollout.Seen{}, fmt.Errorf("compare files of %s: %w", i.Name, err)
		}
		if len(stale) > 0 {
			seen.Outdated[i.Name] = stale
		}
	}
	if job.Wanted.Image == "" {
		return seen, nil
	}
	_, err = world.Images.Image(ctx, job.Wanted.Image)
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return rollout.Seen{}, fmt.Errorf("look for image: %w", err)
	}
	seen.ImageHere = err == nil
	return seen, nil
}

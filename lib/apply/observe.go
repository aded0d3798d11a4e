package apply

import (
	"context"
	"errors"
	"fmt"
	"path"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// Observe takes the snapshot that a plan is made from. It changes nothing.
func Observe(ctx context.Context, world World, job Job) (rollout.Seen, error) {
	// First the registrations: what another run registers afterwards must not look like one without a container.
	regs, err := world.Registrar.Registrations(ctx)
	if err != nil {
		return rollout.Seen{}, fmt.Errorf("list registrations: %w", err)
	}
	all, err := world.Views.Instances(ctx, "", "")
	if err != nil {
		return rollout.Seen{}, fmt.Errorf("list containers: %w", err)
	}
	seen := rollout.Seen{Registrations: regs, Outdated: map[string][]string{}, Stale: map[string][]string{}, Masters: map[string]fleet.Master{}}
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
	if err := observeLoads(ctx, world, job, &seen); err != nil {
		return rollout.Seen{}, err
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

// observeLoads finds what running instances have not loaded, and looks closer at
// the masters of those that have something to load.
func observeLoads(ctx context.Context, world World, job Job, seen *rollout.Seen) error {
	code, err := codeOf(world, job)
	if err != nil {
		return err
	}
	for _, i := range seen.Instances {
		if i.State != fleet.Running || job.Wanted.Count == 0 {
			continue
		}
		stale, err := world.Loads.Stale(i, code)
		if err != nil {
			return err
		}
		if len(stale) > 0 {
			seen.Stale[i.Name] = stale
		}
		if job.Wanted.Service.Master == spec.NoMaster || len(rollout.News(job.Wanted, *seen, i.Name)) == 0 {
			continue
		}
		m, err := world.Masters.Examine(ctx, i, job.Wanted.Service, codeAt(job))
		if err != nil {
			return fmt.Errorf("look at the master of %s: %w", i.Name, err)
		}
		seen.Masters[i.Name] = m
	}
	if job.Wanted.Reload != nil && world.Asides != nil {
		if seen.Fleet, err = world.Asides.Service(ctx, job.Wanted.Service.Name); err != nil {
			return fmt.Errorf("list instances of %s: %w", job.Wanted.Service.Name, err)
		}
	}
	return nil
}

// codeOf is the code of the job's service on this node's volume; the zero value
// where its image holds the code, or where nobody has put any there.
func codeOf(world World, job Job) (fleet.Code, error) {
	if job.Wanted.Service.Code.Mount == "" {
		return fleet.Code{}, nil
	}
	code, err := world.Volume.State(job.Wanted.App, job.Wanted.Service.Key)
	if errors.Is(err, fleet.ErrNotFound) {
		return fleet.Code{}, nil
	}
	if err != nil {
		return fleet.Code{}, fmt.Errorf("look at the code of %s/%s: %w", job.Wanted.App, job.Wanted.Service.Key, err)
	}
	return code, nil
}

// codeAt is where containers of the job's service see their code.
func codeAt(job Job) fleet.CodeAt {
	mount := job.Wanted.Service.Code.Mount
	if mount == "" {
		return fleet.CodeAt{}
	}
	at := fleet.CodeAt{Mount: mount, Versions: path.Join(rollout.CodeTarget, "versions")}
	if job.Staged != "" {
		at.At = path.Join(at.Versions, job.Staged)
	}
	return at
}

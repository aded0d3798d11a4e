package main

import (
	"context"
	"slices"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// release is what is to be deployed.
func (b *beginning) release(ctx context.Context, list []fleet.Release, current fleet.Current) (fleet.Release, error) {
	name, from := b.c.String("release"), b.c.String("from")
	if b.c.Bool("rollback") && name == "" {
		return b.before(ctx, list, current)
	}
	if from == "" {
		return b.client.Release(ctx, b.app, name)
	}
	there, err := b.client.ReleaseIn(ctx, from, b.app, name)
	switch {
	case err != nil:
		return there, err
	case there.Stable == nil || there.Stable.Image != there.Image:
		return there, fault.WithHint(fault.New(fault.Refused, "deploy %s of %s: it is not stable in %s", name, b.app, from), "deploy it there first")
	}
	there.Stable, there.Failed = nil, nil
	i := slices.IndexFunc(list, func(r fleet.Release) bool { return r.Name == name })
	if i >= 0 && list[i].Image == there.Image {
		return list[i], nil
	}
	if b.s.DryRun {
		b.notes = append(b.notes, "the record would be copied from "+from)
		return there, nil
	}
	b.copied = true
	return there, b.client.PutRelease(ctx, there)
}

// before is what a rollback without a name means: the release that was stable before the current one. While the fleet runs
// what a rollback has brought it to, it is meant again: the second call changes nothing, and brings back nothing that the first one left.
func (b *beginning) before(ctx context.Context, list []fleet.Release, current fleet.Current) (fleet.Release, error) {
	old, err := b.old(ctx)
	if err != nil {
		return fleet.Release{}, err
	}
	if old != nil && old.WentBack(b.only, current) {
		if i := slices.IndexFunc(list, func(r fleet.Release) bool { return r.Name == old.Release && r.Image == old.Image }); i >= 0 {
			return list[i], nil
		}
	}
	var now []string
	for key, p := range current.Services {
		if b.only != "" && key != b.only {
			continue
		}
		for _, r := range list {
			if r.Name == p.Release {
				now = append(now, r.Image, p.Image)
			}
		}
	}
	r, ok := apply.LastStable(list, now)
	if !ok {
		return r, fault.WithHint(fault.New(fault.NotFound, "app %s has no stable release other than the current one", b.app), "svc-run releases %s", b.app)
	}
	return r, nil
}

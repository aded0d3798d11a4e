package main

import (
	"context"
	"maps"
	"strings"
	"time"

	"svckit/lib/apply"
	"svckit/lib/delivery"
)

// tidy does what may fail without the deployment having failed.
func (d *deploy) tidy(ctx context.Context, job apply.Job, changed bool) {
	if d.consul == nil || job.Wanted.Image == "" { // local mode; a service that goes
		return
	}
	if err := delivery.SaveLast(d.settings.StateDir, d.app, d.service, job.Values, time.Now()); err != nil {
		d.s.Log.Warn("last good config not kept: `up --local` will not find it", "error", err)
	}
	if !changed {
		return
	}
	if err := d.prune(ctx, job); err != nil {
		d.s.Log.Warn("old images not removed", "error", err)
	}
}

// prune removes old images of the app, never one that is current, stable or in use.
func (d *deploy) prune(ctx context.Context, job apply.Job) error {
	keep := map[string]bool{job.Wanted.Image: true}
	list, _, err := d.consul.Releases(ctx, d.app)
	if err != nil {
		return err
	}
	current, err := d.consul.Current(ctx, d.app)
	if err != nil {
		return err
	}
	for _, r := range list {
		p := current.Services[d.service]
		if r.Name == p.Release || r.Name == p.Previous {
			keep[r.Image] = true
		}
		if r.Stable != nil {
			keep[r.Stable.Image] = true
		}
	}
	images := d.images()
	for ref := range maps.Clone(keep) {
		for _, name := range images.names(ref) {
			keep[name] = true
		}
	}
	for _, name := range images.names(job.Wanted.Image) {
		repo, _, _ := strings.Cut(name, "@")
		gone, err := d.engine.Prune(ctx, repo, keep, d.settings.Keep)
		if err != nil {
			return err
		}
		for _, ref := range gone {
			d.s.Log.Debug("old image removed", "image", ref)
		}
	}
	return nil
}

package here

import (
	"context"
	"maps"
	"strings"
	"time"

	"svckit/lib/apply"
	"svckit/lib/delivery"
)

// tidy does what may fail without the deployment having failed.
func (d *Deploy) tidy(ctx context.Context, job apply.Job, changed bool) {
	if d.Consul == nil || job.Wanted.Image == "" { // local mode; a service that goes
		return
	}
	if err := delivery.SaveLast(d.Settings.StateDir, d.App, d.Service, job.Values, time.Now()); err != nil {
		d.Session.Log.Warn("last good config not kept: `up --local` will not find it", "error", err)
	}
	if !changed {
		return
	}
	if err := d.prune(ctx, job); err != nil {
		d.Session.Log.Warn("old images not removed", "error", err)
	}
}

// prune removes old images of the app, never one that is current, stable or in use.
func (d *Deploy) prune(ctx context.Context, job apply.Job) error {
	keep := map[string]bool{job.Wanted.Image: true}
	list, _, err := d.Consul.Releases(ctx, d.App)
	if err != nil {
		return err
	}
	current, err := d.Consul.Current(ctx, d.App)
	if err != nil {
		return err
	}
	for _, r := range list {
		p := current.Services[d.Service]
		if r.Name == p.Release || r.Name == p.Previous {
			keep[r.Image] = true
		}
		if r.Stable != nil {
			keep[r.Stable.Image] = true
		}
	}
	images := d.Images()
	for ref := range maps.Clone(keep) {
		for _, name := range images.names(ref) {
			keep[name] = true
		}
	}
	for _, name := range images.names(job.Wanted.Image) {
		repo, _, _ := strings.Cut(name, "@")
		gone, err := d.Engine.Prune(ctx, repo, keep, d.Settings.Keep)
		if err != nil {
			return err
		}
		for _, ref := range gone {
			d.Session.Log.Debug("old image removed", "image", ref)
		}
	}
	return nil
}

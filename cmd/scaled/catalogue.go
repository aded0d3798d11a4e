package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fleet"
	"svckit/lib/spec"
	"svckit/lib/survey"
)

// records are the parts of Consul that say which services there are.
type records interface {
	Apps(ctx context.Context) ([]string, error)
	Current(ctx context.Context, app string) (fleet.Current, error)
	Release(ctx context.Context, app, name string) (fleet.Release, error)
}

// catalogue knows the services that are scaled, as their current releases say
// it. Releases do not change, so each is read once.
type catalogue struct {
	records records
	now     func() time.Time
	specs   map[string]*spec.App // by app and release

	read   time.Time // when it was read last
	last   []survey.Service
	broken map[string]string
}

// readEach is how often it is read which releases are current: a release that is
// promoted changes what a service wants a few seconds later.
const readEach = 15 * time.Second

// askAtOnce is how many apps are read at the same time.
const askAtOnce = 16

// list reads which release each service should run. What cannot be read is
// broken, and never missing: a service that is missing would be taken away.
func (c *catalogue) list(ctx context.Context) ([]survey.Service, map[string]string, error) {
	if !c.read.IsZero() && c.now().Sub(c.read) < readEach {
		return c.last, c.broken, nil
	}
	apps, err := c.records.Apps(ctx)
	if err != nil {
		return nil, nil, err
	}
	type found struct {
		current fleet.Current
		err     error
	}
	all := make([]found, len(apps))
	slots := make(chan struct{}, askAtOnce)
	var asking sync.WaitGroup
	for i, app := range apps {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i].current, all[i].err = c.records.Current(ctx, app)
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	var out []survey.Service
	broken := map[string]string{}
	used := map[string]*spec.App{}
	for i, app := range apps {
		if all[i].err != nil {
			broken[app] = all[i].err.Error() // all services of it
			continue
		}
		for service, p := range all[i].current.Services {
			name := app + "/" + service
			read, err := c.spec(ctx, app, p.Release, used)
			if err != nil {
				broken[name] = err.Error()
				continue
			}
			s, ok := read.Service(service)
			if ok && s.Scale.Set && s.Kind != spec.Cron {
				out = append(out, survey.Service{Name: name, Release: p.Release, Spec: s, Notify: read.Notify})
			}
		}
	}
	slices.SortFunc(out, func(a, b survey.Service) int { return cmp.Compare(a.Name, b.Name) })
	c.specs, c.read, c.last, c.broken = used, c.now(), out, broken
	return out, broken, nil
}

// spec reads the spec of a release, once.
func (c *catalogue) spec(ctx context.Context, app, release string, used map[string]*spec.App) (*spec.App, error) {
	key := app + " " + release
	if known := c.specs[key]; known != nil {
		used[key] = known
		return known, nil
	}
	r, err := c.records.Release(ctx, app, release)
	if err != nil {
		return nil, err
	}
	read, err := apply.SpecOf(r)
	if err != nil {
		return nil, err
	}
	used[key] = &read
	return &read, nil
}

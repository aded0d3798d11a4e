package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// Request is what a caller asks of one service on this node.
type Request struct {
	App, Service string
	Release      string // "" takes the app's current, else the newest
	Count        int    // instances on this node
	Run          string // id of a run of a cron service; "" for what runs all the time
}

// Resolve turns a request into a job: the release by digest, its spec, config
// from all three levels, rendered templates. Everything that is wrong with spec
// and config is reported at once, before anything is touched.
func Resolve(ctx context.Context, book Book, site Site, q Request) (Job, error) {
	release, err := Choose(ctx, book, q.App, q.Service, q.Release)
	if err != nil {
		return Job{}, err
	}
	return resolve(ctx, book, site, release, q)
}

// ResolveRelease is Resolve for a release that was chosen already. Once its spec
// could be read, the job says whom to tell also when there is an error.
func ResolveRelease(ctx context.Context, book Book, site Site, release fleet.Release, key string, count int) (Job, error) {
	return resolve(ctx, book, site, release, Request{Service: key, Count: count})
}

func resolve(ctx context.Context, book Book, site Site, release fleet.Release, q Request) (Job, error) {
	app, err := SpecOf(release)
	if err != nil {
		return Job{}, err
	}
	none := Job{Notify: app.Notify}
	service, ok := app.Service(q.Service)
	if !ok {
		return none, noService(app, q.Service, release.Name)
	}
	layers, err := book.Layers(ctx, app.Name, q.Service)
	if err != nil {
		return none, err
	}
	job, err := NewJob(site, Source{App: app.Name, Service: service, Release: release, Layers: layers, Run: q.Run}, q.Count)
	job.Notify = app.Notify
	return job, err
}

// Source is everything a job is made of, whether it came out of KV or from a folder.
type Source struct {
	App     string
	Service spec.Service
	Release fleet.Release
	Layers  spec.Layers
	Run     string // as in Request
}

// NewJob merges config, renders templates and checks what the node allows.
// Names of new containers are added by Plan.
func NewJob(site Site, src Source, count int) (Job, error) {
	s := src.Service
	switch {
	case s.Kind == spec.Cron && src.Run == "":
		return Job{}, fault.WithHint(fault.New(fault.Usage, "run %s/%s: kind cron is started by its schedule, not by up", src.App, s.Key),
			"svc-run run %s/%s starts it once, by hand", src.App, s.Key)
	case s.Kind != spec.Cron && src.Run != "":
		return Job{}, fault.WithHint(fault.New(fault.Usage, "run %s/%s: kind %s runs all the time: only kind cron has runs", src.App, s.Key, s.Kind),
			"svc-run up %s/%s", src.App, s.Key)
	}
	if !site.Trusted {
		if err := rollout.Mountable(s, site.HostPaths); err != nil {
			return Job{}, err
		}
	}
	values, problems := spec.MergeConfig(s, src.Layers)
	about := spec.About{App: src.App, Service: s.Key, Release: src.Release.Name, Node: site.Name, Zone: site.Zone}
	problems = append(problems, spec.RenderFiles(s, src.Release.Templates, &values, about)...)
	if err := spec.Invalid(fmt.Sprintf("config of %s/%s", src.App, s.Key), problems); err != nil {
		return Job{}, err
	}
	env := maps.Clone(values.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, rollout.Identity(src.App, s, src.Release.Name, site.Node))
	if src.Run != "" {
		env["SVC_RUN"] = src.Run
	}
	files := make([]string, 0, len(values.Files))
	for _, f := range values.Files {
		files = append(files, f.To)
	}
	return Job{Site: site, Values: values, Wanted: rollout.Wanted{
		App: src.App, Service: s, Release: src.Release.Name, Image: src.Release.Image,
		Env: env, Secrets: len(values.Secrets) > 0, Files: files, Count: count, Run: src.Run,
	}}, nil
}

// Choose names the release to run: the asked one, else the service's current one,
// else, when nothing was promoted yet, the newest that is not marked failed.
func Choose(ctx context.Context, book Book, app, service, asked string) (fleet.Release, error) {
	if asked != "" {
		return book.Release(ctx, app, asked)
	}
	current, err := book.Current(ctx, app)
	if err != nil {
		return fleet.Release{}, err
	}
	if p, ok := current.Services[service]; ok && p.Release != "" {
		release, err := book.Release(ctx, app, p.Release)
		if err == nil && p.Image != "" {
			release.Image = p.Image
		}
		return release, err
	}
	list, bad, err := book.Releases(ctx, app)
	if err != nil {
		return fleet.Release{}, err
	}
	for _, r := range list {
		if r.Failed == nil {
			return r, nil
		}
	}
	e := fault.New(fault.NotFound, "app %s has no release that can be run", app)
	e.Detail = bad
	return fleet.Release{}, fault.WithHint(e, "svc-build --push in the folder of %s makes one", app)
}

// LastStable is the release that `rollback` goes to: the one marked stable most
// recently whose image is not one of those that run now. The image of the mark
// counts: a release that was pushed again keeps the image that was stable.
func LastStable(list []fleet.Release, running []string) (fleet.Release, bool) {
	var best fleet.Release
	for _, r := range list {
		if r.Stable == nil || r.Stable.Image == "" || slices.Contains(running, r.Stable.Image) {
			continue
		}
		if best.Stable == nil || r.Stable.At.After(best.Stable.At) {
			best = r
		}
	}
	if best.Stable == nil {
		return fleet.Release{}, false
	}
	best.Image = best.Stable.Image
	return best, true
}

// SpecOf decodes the spec that a release was built with.
func SpecOf(r fleet.Release) (spec.App, error) {
	app, problems := spec.Decode("release "+r.Name, []byte(r.Spec))
	if err := spec.Invalid(fmt.Sprintf("spec of release %s of %s", r.Name, r.App), problems); err != nil {
		return spec.App{}, err
	}
	if app.Name != r.App {
		return spec.App{}, fault.New(fault.Invalid, "release %s of %s holds the spec of app %s", r.Name, r.App, app.Name)
	}
	if !strings.Contains(r.Image, "@sha256:") {
		return spec.App{}, fault.New(fault.Invalid, "release %s of %s names image %q: expected repo@sha256:…", r.Name, r.App, r.Image)
	}
	return app, nil
}

func noService(app spec.App, key, release string) error {
	keys := make([]string, 0, len(app.Services))
	for _, s := range app.Services {
		keys = append(keys, s.Key)
	}
	return fault.WithHint(fault.New(fault.NotFound, "service %s is not in release %s of %s", key, release, app.Name),
		"it has: %s", strings.Join(keys, ", "))
}

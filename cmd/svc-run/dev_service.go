package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// devService is one service under dev.
type devService struct {
	d       *dev
	key     string
	spec    spec.Service // adapted to a developer
	image   fleet.Image
	mounted string // where its container sees the source; "" when it does not
	told    told
	id      string // of the container that serves; "" when none does
	name    string // of that container
	front   *front
	shown   string // the address that was printed
}

// told is what was said already.
type told struct {
	copied string // why the source is not mounted
	where  string // the address
}

func (v *devService) say(format string, args ...any) { v.d.s.Say(v.key+": "+format, args...) }

// bring makes a container of the content run and serve, as `up` does, and
// retires the one before.
func (v *devService) bring(ctx context.Context, image fleet.Image) error {
	began := time.Now()
	if err := v.adapt(image); err != nil {
		return err
	}
	dep := v.d.deployOf(v.key)
	job, err := v.job(ctx, &dep)
	if err != nil {
		return err
	}
	err = dep.Locked(ctx, devLock, func(ctx context.Context) error {
		if err := v.mine(ctx); err != nil {
			return err
		}
		if err := v.clear(ctx, &dep); err != nil {
			return err
		}
		job, plan, err := apply.Plan(ctx, dep.World, job)
		if err != nil {
			return err
		}
		return v.walk(ctx, &dep, job, plan)
	})
	if err != nil {
		return err
	}
	if err := v.serve(ctx, &dep); err != nil {
		return err
	}
	v.say("up in %s", time.Since(began).Round(100*time.Millisecond))
	v.announce(dep.Site.Domain)
	return nil
}

// adapt takes the service from the spec of now.
func (v *devService) adapt(image fleet.Image) error {
	s, ok := v.d.now.app.Service(v.key)
	if !ok {
		return fault.New(fault.NotFound, "%s is not in %s any more", v.key, v.d.file)
	}
	v.spec, v.image = developers(s), image
	target, why := mountAt(v.d.now.app, s, image)
	if target != "" && !readable(v.d.now.dir, image) {
		target, why = "", fmt.Sprintf("user %s of the image cannot read %s: chmod o+rx", image.User, v.d.now.dir)
	}
	if why != v.told.copied {
		if v.told.copied = why; why != "" {
			v.say("changes are built into a new image, not mounted: %s", why)
		}
	}
	if v.mounted = target; target != "" {
		v.spec.Volumes = append(slices.Clone(v.spec.Volumes), spec.Volume{Source: v.d.now.dir, Target: target, ReadOnly: true})
	}
	return nil
}

// job merges config: Consul's, and over it the file of this machine.
func (v *devService) job(ctx context.Context, dep *here.Deploy) (apply.Job, error) {
	app := v.d.app
	layers := spec.Layers{Prefix: dep.Settings.Prefix}
	if v.d.names.client != nil {
		var err error
		if layers, err = v.d.names.client.Layers(ctx, app, v.key); err != nil {
			return apply.Job{}, err
		}
	}
	if v.d.hasEnv() {
		over, err := fileConfig(v.d.envFile, v.spec)
		if err != nil {
			return apply.Job{}, err
		}
		layers.Service, layers.Secrets = merged(layers.Service, over.Service), merged(layers.Secrets, over.Secrets)
	}
	release := fleet.Release{App: app, Name: devRelease, Image: v.image.ID, Templates: v.d.now.templates}
	job, err := apply.NewJob(dep.Site, apply.Source{App: app, Service: v.spec, Release: release, Layers: layers}, 1)
	if err != nil {
		return job, fault.WithHint(err, "write what is missing as KEY=VALUE lines into %s, or into Consul", v.d.envFile)
	}
	dep.Hide(job.Values)
	return job, nil
}

func merged(under, over map[string]string) map[string]string {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, over)
	return out
}

// mine refuses a service that somebody else runs on this engine.
func (v *devService) mine(ctx context.Context) error {
	all, err := v.d.base.Engine.Instances(ctx, v.d.app, v.key)
	if err != nil {
		return err
	}
	for _, i := range all {
		switch {
		case belongs(i, v.d.owner):
		case i.Owner != nil:
			return fault.New(fault.Conflict, "%s/%s runs for process %d already (%s)", i.App, i.Service, i.Owner.PID, i.Owner.Command)
		default:
			return fault.WithHint(fault.New(fault.Refused, "%s/%s runs on this node already: release %s in %s", i.App, i.Service, i.Release, i.Name),
				"svc-run down %s/%s ends it", i.App, i.Service)
		}
	}
	return nil
}

// clear removes our own containers of the service that do not run: nothing goes back to one of them.
func (v *devService) clear(ctx context.Context, dep *here.Deploy) error {
	list, err := dep.World.Views.Instances(ctx, v.d.app, v.key)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.State == fleet.Running {
			continue
		}
		if err := discard(ctx, dep, i); err != nil {
			return err
		}
	}
	return nil
}

// discard takes one container away with all that knows of it.
func discard(ctx context.Context, dep *here.Deploy, i fleet.Instance) error {
	if err := dep.World.Registrar.Deregister(ctx, rollout.ID(i, dep.Site.Node)); err != nil {
		return err
	}
	if err := dep.World.Containers.Remove(ctx, i.ID); err != nil {
		return err
	}
	if i.Dir == "" {
		return nil
	}
	return dep.World.Files.Remove(i.Dir)
}

func (v *devService) walk(ctx context.Context, dep *here.Deploy, job apply.Job, plan rollout.Plan) error {
	w := apply.Walker{World: dep.World, Job: job, Tell: func(_, _ int, s rollout.Step) {
		v.d.s.Log.Debug("step", "action", s.Action, "target", s.Target, "reason", s.Reason)
	}}
	return w.Walk(ctx, plan)
}

// serve finds the container that serves now and leads the front to it.
func (v *devService) serve(ctx context.Context, dep *here.Deploy) error {
	list, err := dep.World.Views.Instances(ctx, v.d.app, v.key)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(i fleet.Instance) bool { return i.State == fleet.Running })
	if at < 0 {
		return errors.New("its container ended")
	}
	i := list[at]
	v.id, v.name = i.ID, i.Name
	if i.Port == 0 {
		return nil
	}
	if v.front == nil && v.spec.Network.Mode == spec.Bridge && v.spec.Publish.Auto() {
		if v.front, err = openFront(first0(v.d.port, v.spec.Port)); err != nil {
			return err
		}
	}
	to := net.JoinHostPort(i.Address, strconv.Itoa(i.Port))
	if v.front == nil {
		v.shown = to
		return nil
	}
	v.front.To(to)
	v.shown = v.front.Address()
	return nil
}

// first0 is the first number that is not 0.
func first0(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// announce prints where the service is found, when that is new.
func (v *devService) announce(domain string) {
	where := v.shown
	if v.spec.Kind == spec.Web && where != "" {
		where = "http://" + where
	}
	if where == v.told.where {
		return
	}
	v.told.where = where
	if where != "" {
		v.say("%s", where)
	}
	if v.d.names.client == nil || where == "" {
		return
	}
	name := fmt.Sprintf("%s.service.%s", v.spec.Name, domain)
	v.say("found as %s: %s", name, v.d.names.question(name))
}

// down takes the service away: registrations, container, files.
func (v *devService) down(ctx context.Context) error {
	if v.front != nil {
		v.front.Close()
		v.front = nil
	}
	dep := v.d.deployOf(v.key)
	list, err := dep.World.Views.Instances(ctx, v.d.app, v.key)
	if err != nil {
		return err
	}
	for _, i := range list {
		if !belongs(i, v.d.owner) {
			continue
		}
		err = errors.Join(err, discard(ctx, &dep, i))
	}
	v.id = ""
	return err
}

package apply

import (
	"context"
	"errors"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// Once is the container of one run: of a job that ends by itself.
type Once struct {
	World World
	Job   Job // its Wanted.Run is the id of the run
	// Progress reports the pull; nil is allowed.
	Progress func(s rollout.Step) (p fleet.Progress, done func())
}

// Make brings the image here and makes the container, with its files and its cores,
// and does not start it. What it has made when it fails is removed.
func (o Once) Make(ctx context.Context) (id string, err error) {
	w := o.Job.Wanted
	if _, err := o.World.Images.Image(ctx, w.Image); errors.Is(err, fleet.ErrNotFound) {
		walker := o.walker("")
		if err := walker.pull(ctx, rollout.Step{Action: rollout.ActPull, Target: w.Image}); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	if m := w.Service.Resources.Memory; o.Job.Site.Memory > 0 && m > o.Job.Site.Memory {
		return "", fault.New(fault.Refused, "make a container of %s/%s: memory %d MiB: the node has %d MiB", w.App, w.Service.Key, m>>20, o.Job.Site.Memory>>20)
	}
	all, err := o.World.Views.Instances(ctx, "", "")
	if err != nil {
		return "", err
	}
	name := rollout.FreshNames(w.App, w.Service.Key, 1, all, o.World.Random)[0]
	if err := hasCode(o.World, o.Job, rollout.Plan{Steps: []rollout.Step{{Action: rollout.ActCreate, Target: name}}}); err != nil {
		return "", err
	}
	walker := o.walker(name)
	if err := walker.create(ctx, rollout.Step{Action: rollout.ActCreate, Target: name}); err != nil {
		end, cancel := detached(ctx, removeLimit)
		defer cancel()
		if walker.ids[name] != "" {
			return "", errors.Join(err, walker.remove(end, rollout.Step{Action: rollout.ActRemove, Target: name}))
		}
		if dir := walker.dir(name); dir != "" {
			err = errors.Join(err, o.World.Files.Remove(dir))
		}
		return "", err
	}
	return walker.ids[name], nil
}

// removeLimit bounds the removal of what a run leaves.
const removeLimit = 30 * time.Second

// Remove removes the container of a run, whatever it does, with its files. It is nil
// when there is none.
func (o Once) Remove(ctx context.Context, id string) error {
	walker := o.walker(id)
	walker.ids[id] = id
	return walker.remove(ctx, rollout.Step{Action: rollout.ActRemove, Target: id})
}

func (o Once) walker(name string) *Walker {
	w := &Walker{World: o.World, Job: o.Job, Progress: o.Progress}
	w.begin(rollout.Plan{Steps: []rollout.Step{{Target: name}}})
	return w
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/watch"
)

// begin starts everything for the first time. What a change of a file cannot mend
// ends it; code that does not build or run waits for a change.
func (d *dev) begin(ctx context.Context) error {
	for _, v := range d.services {
		s, _ := d.now.app.Service(v.key)
		if err := d.names.free(ctx, s.Name); err != nil {
			return err
		}
		if err := v.mine(ctx); err != nil {
			return err
		}
	}
	d.s.Say("%s: Ctrl-C ends it", d.app)
	if err := d.react(ctx, []string{watch.Everything}); err != nil {
		switch fault.KindOf(err) {
		case fault.Failed, fault.Unhealthy, fault.Timeout, fault.Partial:
			d.complain(err)
			d.s.Say("waiting for a change")
		default:
			return err
		}
	}
	return nil
}

// follow reacts to changes and ends until ctx ends.
func (d *dev) follow(ctx context.Context) error {
	agent := d.names.ended
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-agent:
			agent = nil
			d.s.Say("consul: the agent has ended: nothing is found by name any more")
		case id := <-d.exits:
			d.ended(ctx, id)
		case changed, ok := <-d.watcher.Batches():
			if !ok {
				return fault.New(fault.NotFound, "watch %s: it is gone", d.now.dir)
			}
			if err := d.react(ctx, changed); err != nil && ctx.Err() == nil {
				d.complain(err)
			}
		}
	}
}

// react does what a change asks for. A further change meanwhile breaks it off:
// nobody waits for a version that is not wanted any more.
func (d *dev) react(ctx context.Context, changed []string) error {
	for {
		work, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- d.apply(work, changed) }()
		select {
		case err := <-done:
			cancel()
			return err
		case more, ok := <-d.watcher.Batches():
			cancel()
			d.s.Log.Debug("broken off", "outcome", <-done)
			if !ok || ctx.Err() != nil {
				return ctx.Err()
			}
			d.s.Say("changed again: %s", named(more))
			changed = append(changed, more...)
			slices.Sort(changed)
			changed = slices.Compact(changed)
		}
	}
}

// apply brings every service to what the folder holds now.
func (d *dev) apply(ctx context.Context, changed []string) error {
	quick, slow := map[*devService]reaction{}, false
	var why string
	for _, v := range d.services {
		r, reason := react(changed, standing{mounted: v.mounted != "", running: v.id != "", master: v.spec.Master, inputs: d.inputs()})
		quick[v], why = r, reason
		slow = slow || r == doBring
	}
	if !slices.Contains(changed, watch.Everything) {
		d.s.Say("%s", why)
	}
	var image fleet.Image
	if slow {
		var err error
		if image, err = d.renew(ctx); err != nil {
			return err
		}
	}
	var all error
	for _, v := range d.services {
		var err error
		switch quick[v] {
		case doReload:
			err = v.reload(ctx)
		case doRestart:
			err = v.restart(ctx)
		default:
			err = v.bring(ctx, image)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err == nil:
		case len(d.services) == 1:
			all = fmt.Errorf("%s: %w", v.key, err)
		default:
			d.complain(fmt.Errorf("%s: %w", v.key, err))
			all = errors.New("not every service is up")
		}
		v.look(ctx)
	}
	if slow && all == nil {
		d.forget(ctx)
	}
	return all
}

// renew reads the folder again and returns its image.
func (d *dev) renew(ctx context.Context) (fleet.Image, error) {
	next, err := d.read(ctx)
	if err != nil {
		return fleet.Image{}, err
	}
	if next.app.Name != d.app {
		return fleet.Image{}, fault.WithHint(fault.New(fault.Invalid, "the app was called %s and is called %s now", d.app, next.app.Name), "end svc-run dev and start it again")
	}
	image, err := d.image(ctx, next)
	if err != nil {
		return fleet.Image{}, err
	}
	before := d.services
	d.now = next
	if err := d.choose(); err != nil {
		return fleet.Image{}, err
	}
	for _, v := range before {
		if !slices.Contains(d.services, v) {
			v.say("is not in the spec any more")
			if err := v.down(ctx); err != nil {
				return fleet.Image{}, err
			}
		}
	}
	return image, nil
}

// look forgets a container that does not run any more.
func (v *devService) look(ctx context.Context) {
	if v.id == "" {
		return
	}
	if i, err := v.d.base.Engine.Instance(ctx, v.id); errors.Is(err, fleet.ErrNotFound) || err == nil && i.State != fleet.Running {
		v.id = ""
	}
}

// ended tells of a container that served and does not run any more.
func (d *dev) ended(ctx context.Context, id string) {
	for _, v := range d.services {
		if v.id != id {
			continue
		}
		i, err := d.base.Engine.Instance(ctx, id)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			v.id = ""
			v.say("its container was removed by somebody else; waiting for a change")
		case err == nil && i.State != fleet.Running:
			v.id = ""
			v.say("ended with exit code %d; waiting for a change", i.ExitCode)
		}
	}
}

// end takes everything down, also when ctx has ended.
func (d *dev) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devEnd)
	defer cancel()
	d.s.Say("%s: ending", d.app)
	began := time.Now()
	var all error
	for _, v := range d.services {
		if err := v.down(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("take %s down: %w", v.key, err))
		}
	}
	if all == nil {
		d.s.Say("%s: gone in %s", d.app, time.Since(began).Round(100*time.Millisecond))
	}
	return all
}

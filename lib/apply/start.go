package apply

import (
	"context"
	"errors"
	"fmt"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// create chooses the seat of a new container and makes it. The node's guard is
// held meanwhile: a choice stands in the container's labels before it is let go.
func (w *Walker) create(ctx context.Context, s rollout.Step) error {
	return w.createAvoiding(ctx, s, map[int]bool{})
}

func (w *Walker) createAvoiding(ctx context.Context, s rollout.Step, bad map[int]bool) error {
	free, err := w.World.Guard(ctx)
	if err != nil {
		return fmt.Errorf("wait for the node's guard: %w", err)
	}
	defer free()
	all, err := w.World.Views.Instances(ctx, "", "")
	if err != nil {
		return err
	}
	seat, err := w.seat(s.Target, all, bad)
	if err != nil {
		return err
	}
	var links map[string]string
	if seat.Dir != "" {
		if links, err = w.World.Files.Prepare(seat.Dir, w.Job.Values); err != nil {
			return err
		}
	}
	c := rollout.Container(w.Job.Wanted, w.Job.Site.Node, s.Target, seat, links)
	id, err := w.World.Containers.Create(ctx, c)
	if err != nil {
		return err
	}
	w.ids[s.Target] = id
	if err := w.put(ctx, id, seat.Dir); err != nil {
		return err
	}
	if seat.Exclusive > 0 {
		return w.remap(ctx)
	}
	return nil
}

// maxSeats is how many ports or addresses are tried when others take them in between.
const maxSeats = 5

// start starts a container. A port or address that something else took since it was
// chosen is fixed in the container, so another container is made with another one.
func (w *Walker) start(ctx context.Context, s rollout.Step) error {
	bad := map[int]bool{}
	for try := 1; ; try++ {
		id := w.ids[s.Target]
		err := w.World.Containers.Start(ctx, id)
		if err == nil && s.ID != "" {
			return w.remapGuarded(ctx) // what did not run was left out when cores changed hands
		}
		if !errors.Is(err, fleet.ErrPortTaken) || s.ID != "" || !w.Job.Wanted.Service.Publish.Auto() || try == maxSeats {
			return err
		}
		i, ierr := w.World.Views.Instance(ctx, id)
		if ierr != nil {
			return err
		}
		bad[i.Port] = true
		w.World.Log.Info("port or address was taken by something else, choosing another", "container", s.Target, "port", i.Port)
		if err := w.World.Containers.Remove(ctx, id); err != nil {
			return err
		}
		if err := w.createAvoiding(ctx, s, bad); err != nil {
			return err
		}
	}
}

func isGone(err error) bool { return errors.Is(err, fleet.ErrNotFound) }

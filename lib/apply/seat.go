package apply

import (
	"context"
	"maps"

	"svckit/lib/cpuset"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// seat chooses what a new container gets of the node, from the books that the
// labels of all containers of ours are. bad are ports that were found taken.
func (w *Walker) seat(name string, all []fleet.Instance, bad map[int]bool) (rollout.Seat, error) {
	s := w.Job.Wanted.Service
	seat := rollout.Seat{Dir: w.dir(name)}
	if s.Network.Mode == spec.Bridge && s.Port > 0 {
		port, err := w.port(name, all, bad)
		if err != nil {
			return rollout.Seat{}, err
		}
		seat.Port = port
	}
	return w.cores(seat, all)
}

// port is the spec's own port, or one of the node's range that can be bound now.
func (w *Walker) port(name string, all []fleet.Instance, bad map[int]bool) (int, error) {
	if fixed := w.Job.Wanted.Service.Publish.Port; fixed > 0 {
		return fixed, nil
	}
	used := rollout.Used(all)
	maps.Copy(used, bad)
	for {
		port, err := rollout.ChoosePort(w.Job.Site.Ports[0], w.Job.Site.Ports[1], used, name)
		if err != nil || w.World.PortFree(w.Job.Site.Address, port) {
			return port, err
		}
		used[port] = true
	}
}

// granularity of a core, in hundredths: a container may ask for 0.01 of one.
const granularity = 1

// cores gives a container cores of its own when it asks for them, else a share of
// those that nobody owns.
func (w *Walker) cores(seat rollout.Seat, all []fleet.Instance) (rollout.Seat, error) {
	r := w.Job.Wanted.Service.Resources
	got, err := cpuset.Allocate(w.Job.Site.cores(), granularity, cpuset.Books(all), cpuset.Request{CPU: r.CPU, Binding: r.CPUBinding})
	if err != nil {
		return seat, err
	}
	w.World.Log.Debug("cores chosen", "cores", got.Cores, "reason", got.Reason)
	seat.Cores, seat.Bound, seat.Exclusive, seat.Quota = got.Cores, got.Bound, got.Exclusive, got.Quota
	return seat, nil
}

// cores lists the machine's cores.
func (s Site) cores() []int {
	out := make([]int, s.Cores)
	for i := range out {
		out[i] = i
	}
	return out
}

// remap moves unbound containers to the cores that nobody owns. It is done before
// a container on exclusive cores starts, and after one is gone.
func (w *Walker) remap(ctx context.Context) error {
	all, err := w.World.Views.Instances(ctx, "", "")
	if err != nil {
		return err
	}
	for _, c := range cpuset.Remap(w.Job.Site.cores(), cpuset.Books(all)) {
		if err := w.World.Tuner.UpdateCores(ctx, c.ID, c.Cores); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

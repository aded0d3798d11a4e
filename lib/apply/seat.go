package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"svckit/lib/cpuset"
	"svckit/lib/fault"
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
	got, err := allocate(w.Job, all)
	if err != nil {
		return seat, err
	}
	w.World.Log.Debug("cores chosen", "cores", got.Cores, "reason", got.Reason)
	seat.Cores, seat.Bound, seat.Exclusive, seat.Quota = got.Cores, got.Bound, got.Exclusive, got.Quota
	return seat, nil
}

// allocate finds cores for one more container of the job. One of the same service
// that does not run does not count: a plan removes it, or starts it again only
// when what came in its place is gone.
func allocate(job Job, all []fleet.Instance) (cpuset.Allocation, error) {
	r := job.Wanted.Service.Resources
	books := cpuset.Books(slices.DeleteFunc(slices.Clone(all), func(i fleet.Instance) bool {
		return i.State == fleet.Exited && i.App == job.Wanted.App && i.Service == job.Wanted.Service.Key
	}))
	got, err := cpuset.Allocate(job.Site.cores(), granularity, books, cpuset.Request{CPU: r.CPU, Binding: r.CPUBinding})
	if fault.KindOf(err) == fault.Refused {
		err = fault.WithHint(err, "svc-run ps lists what has cores of this node; less cpu, or cpu_binding: false, needs no cores of its own")
	}
	return got, err
}

// fits plays a plan on the books of the node and refuses it, while nothing is
// touched, when a container that it makes would find no cores or too little memory.
func fits(job Job, seen rollout.Seen, p rollout.Plan) error {
	r := job.Wanted.Service.Resources
	all := append(slices.Clone(seen.Others), seen.Instances...)
	for _, s := range p.Steps {
		at := slices.IndexFunc(all, func(i fleet.Instance) bool { return i.Name == s.Target })
		switch {
		case s.Action == rollout.ActStop && at >= 0:
			all[at].State = fleet.Exited
		case s.Action == rollout.ActRemove && at >= 0:
			all = slices.Delete(all, at, at+1)
		case s.Action == rollout.ActCreate:
			if job.Site.Memory > 0 && r.Memory > job.Site.Memory {
				return fault.New(fault.Refused, "create %s: memory %d MiB: the node has %d MiB", s.Target, r.Memory>>20, job.Site.Memory>>20)
			}
			got, err := allocate(job, all)
			if err != nil {
				return fmt.Errorf("create %s: %w", s.Target, replaceable(err, job, all))
			}
			i := fleet.Instance{Name: s.Target, App: job.Wanted.App, Service: job.Wanted.Service.Key, State: fleet.Running, CPU: r.CPU, Exclusive: got.Exclusive}
			if got.Bound {
				i.Cores = got.Cores
			}
			all = append(all, i)
		}
	}
	return nil
}

// replaceable adds the way out when the cores that lack are those of the instance to be replaced.
func replaceable(err error, job Job, all []fleet.Instance) error {
	own := slices.ContainsFunc(all, func(i fleet.Instance) bool {
		return i.State != fleet.Exited && len(i.Cores) > 0 && i.App == job.Wanted.App && i.Service == job.Wanted.Service.Key
	})
	if own && job.Wanted.Service.Overlap && fault.KindOf(err) == fault.Refused {
		return fault.WithHint(err, "the instance that runs has its cores until the new one serves; with overlap: false it leaves them first")
	}
	return err
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
// a container on exclusive cores starts, and after one is gone. The caller holds
// the node's guard: an older view must not win over a newer one.
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

// remapGuarded is remap for callers that do not hold the guard.
func (w *Walker) remapGuarded(ctx context.Context) error {
	free, err := w.World.Guard(ctx)
	if err != nil {
		return fmt.Errorf("wait for the node's guard: %w", err)
	}
	defer free()
	return w.remap(ctx)
}

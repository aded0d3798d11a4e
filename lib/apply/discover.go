package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// How long Consul and DNS are given to show a change.
const (
	discoveryLimit = 30 * time.Second
	discoveryPoll  = 100 * time.Millisecond
)

func (w *Walker) register(ctx context.Context, s rollout.Step) error {
	i, err := w.World.Views.Instance(ctx, w.ids[s.Target])
	if err != nil {
		return err
	}
	r := w.entry(i, w.workers(ctx, i))
	if r.Health, r.Reason = "", s.Hold; s.Hold != "" {
		r.Health = fleet.Maintenance
	}
	w.regs[s.Target] = r
	delete(w.withdrawn, s.Target)
	return w.World.Registrar.Register(ctx, r)
}

// entry is how a container is to be registered: as it was, when this walk took
// it out and brings it back; else from the spec, under the release it was made for.
func (w *Walker) entry(i fleet.Instance, workers int) fleet.Registration {
	if r, ok := w.withdrawn[i.Name]; ok {
		return r
	}
	wanted := w.Job.Wanted
	if i.Image != wanted.Image {
		wanted.Release = i.Release
	}
	return rollout.Registration(wanted, i, w.Job.Site.Node, workers)
}

// workers counts the workers in a container; 1 where they cannot be counted.
func (w *Walker) workers(ctx context.Context, i fleet.Instance) int {
	list, err := w.World.Views.Processes(ctx, i.ID)
	if err != nil {
		w.World.Log.Warn("workers not counted, weight is 1", "container", i.Name, "error", err)
		return 1
	}
	return rollout.Workers(list, w.Job.Wanted.Service.Master)
}

// registration returns the registration of a container: the one made in this
// walk, else the one Consul has, else none.
func (w *Walker) registration(ctx context.Context, name string) (fleet.Registration, bool, error) {
	if r, ok := w.regs[name]; ok {
		return r, true, nil
	}
	all, err := w.World.Registrar.Registrations(ctx)
	if err != nil {
		return fleet.Registration{}, false, err
	}
	for _, r := range all {
		if r.Meta[fleet.MetaContainer] == w.ids[name] {
			w.regs[name] = r
			return r, true, nil
		}
	}
	return fleet.Registration{}, false, nil
}

// await waits until Consul shows the registration passing and DNS answers with it;
// where the step holds it, until Consul has it in maintenance.
func (w *Walker) await(ctx context.Context, s rollout.Step) error {
	r, ok, err := w.registration(ctx, s.Target)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Failed, "it is not registered")
	}
	limit, cancel := context.WithTimeout(ctx, discoveryLimit)
	defer cancel()
	if s.Hold != "" {
		return w.World.Registrar.Await(limit, r.ID, r.Name, fleet.Maintenance)
	}
	if err := w.World.Registrar.Await(limit, r.ID, r.Name, fleet.Passing); err != nil {
		return err
	}
	return w.untilDNS(limit, r, true)
}

func (w *Walker) withdraw(ctx context.Context, s rollout.Step) error {
	r, ok, err := w.registration(ctx, s.Target)
	if err != nil || !ok {
		return err
	}
	w.withdrawn[s.Target] = r
	if w.World.Resolve != nil {
		// Clients may keep this answer; once the last instance is gone nobody tells for how long.
		_, ttl, err := w.World.Resolve(ctx, w.dnsName(r))
		if err != nil {
			w.World.Log.Warn("DNS not asked for its TTL", "error", err)
		}
		w.ttl = max(w.ttl, ttl)
	}
	return w.World.Registrar.Deregister(ctx, r.ID)
}

// drain waits until DNS has forgotten a container, then for the answers that
// clients hold (TTL and margin), then for the service's own drain time.
func (w *Walker) drain(ctx context.Context, s rollout.Step) error {
	i, err := w.World.Views.Instance(ctx, w.ids[s.Target])
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r := w.entry(i, 1)
	limit, cancel := context.WithTimeout(ctx, discoveryLimit)
	defer cancel()
	if err := w.untilDNS(limit, r, false); err != nil {
		return err
	}
	return sleep(ctx, w.ttl+w.Job.Site.Margin+w.Job.Wanted.Service.Stop.Drain)
}

func (w *Walker) dnsName(r fleet.Registration) string {
	return fmt.Sprintf("%s.service.%s", r.Name, w.Job.Site.Domain)
}

// untilDNS polls until DNS shows the registration's endpoint (want) or no longer
// shows it (!want), and remembers the TTL of the answers.
func (w *Walker) untilDNS(ctx context.Context, r fleet.Registration, want bool) error {
	if w.World.Resolve == nil || !want && r.Port == 0 {
		return nil // without a port nobody connects, and instances of one node look the same in DNS
	}
	name := w.dnsName(r)
	for {
		endpoints, ttl, err := w.World.Resolve(ctx, name)
		w.ttl = max(w.ttl, ttl)
		if err == nil && shows(endpoints, r) == want {
			return nil
		}
		if sleep(ctx, discoveryPoll) != nil {
			return undiscovered(ctx, name, r, want, err)
		}
	}
}

func undiscovered(ctx context.Context, name string, r fleet.Registration, want bool, last error) error {
	verb := "still answers with"
	if want {
		verb = "does not answer with"
	}
	err := fault.New(fault.Timeout, "DNS %s %s %s:%d after %s", name, verb, r.Address, r.Port, discoveryLimit)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if last != nil {
		err = fault.New(fault.Timeout, "ask DNS for %s: %w", name, last)
	}
	return fault.WithHint(err, "svc-run doctor; the node's setting dns (SVC_DNS) names the server that is asked, `off` asks none")
}

func shows(endpoints []fleet.Endpoint, r fleet.Registration) bool {
	return slices.ContainsFunc(endpoints, func(e fleet.Endpoint) bool {
		return e.Address == r.Address && (e.Port == r.Port || e.Port == 0)
	})
}

// sleep waits, or returns why it was ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

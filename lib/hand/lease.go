package hand

import (
	"context"
	"errors"
	"slices"
	"time"

	"svckit/lib/fleet"
)

// leaseSeen is what the loop knows of this node's lease.
type leaseSeen struct {
	asked bool      // it is being held, or tried to
	held  bool      // with the wish of since then in force
	blank bool      // there was no wish at all: what is remembered may be of another Consul
	until time.Time // without it, what may only run under it goes on until then
}

// leased is that the lease was taken, with the wish of since then, or lost.
type leased struct {
	held bool
	want wanted
}

// holdLease keeps the lease for as long as the hand works.
func (h *Hand) holdLease(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.cfg.Source.HoldLease(ctx, h.cfg.Name, func(held bool, w fleet.Want, err error) {
			send(ctx, h.lease, leased{held, wanted{w, err}})
		})
		if err != nil && ctx.Err() == nil {
			h.cfg.Log.Warn("lease cannot be held: tried again", "error", err)
		}
		sleep(ctx, againAfter)
	}
}

// leased takes in that the lease was taken or lost.
func (b *book) leased(got leased, now time.Time) {
	if got.held {
		b.wished(got.want) // an older wish must not be what the lease is used for
		b.lease.blank = errors.Is(got.want.err, fleet.ErrNotFound)
	}
	if b.lease.held != got.held {
		b.cfg.Log.Info("lease of this node", "held", got.held)
	}
	b.lease.held = got.held
	if !got.held {
		b.lease.until = now
	}
}

// unleased says why a service may not run here now; "": it may. Only what never runs
// more than so often needs the lease: all else goes on without Consul.
func (b *book) unleased(s *service) string {
	switch {
	case !s.ask.Exact:
		return ""
	case b.lease.held && b.lease.blank:
		return "Consul has no wish for this node"
	case b.lease.held:
		return ""
	}
	return "this node does not hold its lease, so another one may run it"
}

// watchLease sees to it that the lease is held where it is needed, and says what must
// be stopped without it.
func (b *book) watchLease(now time.Time) {
	var yields []string
	for name, s := range b.services {
		if !s.ask.Exact {
			continue
		}
		if !b.lease.asked {
			b.lease.asked, b.lease.until = true, now.Add(fleet.LeaseFence)
			b.holdLease()
		}
		if b.unleased(s) != "" && !now.Before(b.lease.until) {
			yields = append(yields, name)
		}
	}
	slices.Sort(yields)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.yields = yields
}

// How often what may not run is looked for, while the lease is not held: often at
// first, since a step that is being taken back may have started something.
const (
	yieldEach = 500 * time.Millisecond
	yieldStop = fleet.YieldLimit + 5*time.Second
)

// yieldOn stops what may not run here, whatever else is being done, until it may again.
func (h *Hand) yieldOn(ctx context.Context) {
	busy := make(map[string]chan struct{})
	for ctx.Err() == nil {
		h.mu.Lock()
		list := h.yields
		h.mu.Unlock()
		for _, name := range list {
			if done := busy[name]; done != nil {
				select {
				case <-done:
				default:
					continue
				}
			}
			done := make(chan struct{})
			busy[name] = done
			go func() {
				defer close(done)
				limited, cancel := context.WithTimeout(ctx, yieldStop)
				defer cancel()
				n, err := h.cfg.Node.Yield(limited, name)
				switch {
				case err != nil && ctx.Err() == nil:
					h.cfg.Log.Error("a service that may not run here now is not stopped", "service", name, "error", err)
				case n > 0:
					h.cfg.Log.Warn("stopped, since this node does not hold its lease: another one may run it", "service", name, "containers", n)
				}
			}()
		}
		sleep(ctx, yieldEach)
	}
	for _, done := range busy {
		<-done
	}
}

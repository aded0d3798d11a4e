package nodeagent

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
)

// How Consul is told.
const (
	tellEvery  = 5 * time.Second
	tellTTL    = 20 * time.Second
	tellLimit  = 5 * time.Second
	leaveLimit = 3 * time.Second
)

// Registrar is the local Consul agent.
type Registrar interface {
	Register(ctx context.Context, r fleet.Registration) error
	UpdateTTL(ctx context.Context, id string, health fleet.Health, output string) error
}

// Registration is what Consul is told of this agent, and by whom.
type Registration struct {
	Registrar Registrar
	As        fleet.Registration
}

// NewRegistration is the registration of a node's agent that serves at an address.
func NewRegistration(r Registrar, node string, at netip.AddrPort, scheme string) *Registration {
	return &Registration{Registrar: r, As: fleet.Registration{
		ID: fleet.MonitorService + "-" + node, Name: fleet.MonitorService, Address: at.Addr().String(), Port: int(at.Port()), Weight: 1,
		Meta:  map[string]string{"schema": "1", "scheme": scheme, fleet.MetaNode: node},
		Check: fleet.Check{Type: "ttl", Interval: tellTTL},
	}}
}

// keep registers the agent, says how it is, registers it again when Consul has
// lost it, and says so at the end.
func (b *Registration) keep(ctx context.Context, log hclog.Logger, health func() (fleet.Health, string)) {
	registered, away := false, ""
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		err := b.tell(ctx, &registered, health)
		switch {
		case ctx.Err() != nil:
		case err == nil && away != "":
			away = ""
			log.Info("consul knows this agent again", "id", b.As.ID)
		case err != nil && away != err.Error():
			away = err.Error()
			log.Warn("consul not told: tried again", "id", b.As.ID, "error", err)
		}
		select {
		case <-ctx.Done():
			b.leave(ctx, log)
			return
		case <-tick.C:
		}
	}
}

func (b *Registration) tell(ctx context.Context, registered *bool, health func() (fleet.Health, string)) error {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	state, why := health()
	if *registered {
		err := b.Registrar.UpdateTTL(ctx, b.As.ID, state, why)
		if !errors.Is(err, fleet.ErrNotFound) {
			return err
		}
		*registered = false
	}
	if err := b.Registrar.Register(ctx, b.As); err != nil {
		return err
	}
	*registered = true
	return b.Registrar.UpdateTTL(ctx, b.As.ID, state, why)
}

// leave says that nobody watches here now. The registration stays: by it the
// planner tells a node whose agent is stopped, as for an upgrade, from one that
// is gone and whose services belong elsewhere.
func (b *Registration) leave(ctx context.Context, log hclog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer cancel()
	if err := b.Registrar.UpdateTTL(ctx, b.As.ID, fleet.Critical, "stopped"); err != nil {
		log.Warn("consul not told of the end: the check turns critical by itself", "id", b.As.ID, "error", err)
	}
}

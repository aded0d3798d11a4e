package here

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/node"
)

// Yield stops the containers of a service that run here, at once and side by side.
func (t *Tender) Yield(ctx context.Context, service string) (int, error) {
	app, key, _ := strings.Cut(service, "/")
	list, err := t.engine.Instances(ctx, app, key)
	if err != nil {
		return 0, err
	}
	var stops errgroup.Group
	n := 0
	for _, i := range list {
		if i.Owner != nil || i.State != fleet.Running && i.State != fleet.Restarting && i.State != fleet.Paused {
			continue
		}
		n++
		stops.Go(func() error {
			return t.engine.StopWithin(ctx, i.ID, fleet.YieldLimit-2*time.Second)
		})
	}
	return n, stops.Wait()
}

// leasing is Consul for the hand, which holds the node's lease in the name of this process.
type leasing struct {
	*consul.Client
	tender *Tender
}

// HoldLease holds the lease of a node.
func (l leasing) HoldLease(ctx context.Context, name string, tell func(bool, fleet.Want, error)) error {
	t := l.tender
	h, err := node.Holder(node.Who(t.node.Getenv), t.name, t.session.Program+" node", time.Now())
	if err != nil {
		return err
	}
	return l.Client.HoldLease(ctx, name, h, tell)
}

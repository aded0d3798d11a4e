package apply

import (
	"context"
	"slices"

	"svckit/lib/fleet"
)

// Listed are views that list the containers of the node once: for a plan that is
// only looked at, of many services one after the other. A plan that is walked is
// made from views that look again.
type Listed struct {
	Views
	all  []fleet.Instance
	seen bool
}

// Instances is as Views has it, at the time of the first call.
func (l *Listed) Instances(ctx context.Context, app, service string) ([]fleet.Instance, error) {
	if !l.seen {
		all, err := l.Views.Instances(ctx, "", "")
		if err != nil {
			return nil, err
		}
		l.all, l.seen = all, true
	}
	return slices.DeleteFunc(slices.Clone(l.all), func(i fleet.Instance) bool {
		return app != "" && i.App != app || service != "" && i.Service != service
	}), nil
}

package docker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"svckit/lib/fleet"
)

// LabelOwner holds the process that a test container belongs to, as a fleet.Holder in JSON.
const LabelOwner = fleet.LabelOwner

// sweepAge is how old a test container must be that belongs to nobody we can ask after.
const sweepAge = 24 * time.Hour

// sweepTests removes test containers that killed runs left behind.
func (e *Engine) sweepTests(ctx context.Context, now time.Time, alive func(fleet.Holder) bool) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelKind+"=test"))})
	if err != nil {
		e.log.Debug("list test containers", "error", err)
		return
	}
	for _, c := range list {
		if leftBehind(c.Labels[LabelOwner], time.Unix(c.Created, 0), now, alive) {
			e.log.Info("remove test container of a run that is gone", "id", c.ID[:min(12, len(c.ID))])
			e.removeTest(ctx, c.ID)
		}
	}
}

// leftBehind decides whether a test container has lost its owner: its process is
// certainly dead, or nobody knows and it is older than a day.
func leftBehind(label string, created, now time.Time, alive func(fleet.Holder) bool) bool {
	if now.Sub(created) > sweepAge {
		return true
	}
	var owner fleet.Holder
	return len(label) < 4096 && json.Unmarshal([]byte(label), &owner) == nil && owner.PID > 0 && !alive(owner)
}

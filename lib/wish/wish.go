// Package wish decides how one node gets to what the planner wants of it. It is
// pure: a plan is a function of the wish, of what is here and of what is
// forbidden now, and each step carries its reason. Package hand carries it out.
package wish

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

// The units of an allotment.
const (
	Workers   = "workers"   // in one container
	Instances = "instances" // containers
)

// Accept returns the wish that is in force once got was read. One that is not
// newer changes nothing: it was read late, or by a leader that leads no longer.
// The reason is "" when got is in force now.
func Accept(now, got fleet.Want) (fleet.Want, string) {
	if !got.Newer(now.Epoch, now.Gen) {
		return now, fmt.Sprintf("epoch %d generation %d is not newer than %d/%d, which is in force", got.Epoch, got.Gen, now.Epoch, now.Gen)
	}
	return got, ""
}

// Sight is what is on this node at one moment.
type Sight struct {
	At       time.Time          // when the look began
	Services map[string]Service // by app/service, of those that have a container
	Books    Books              // without what the hand remembers
}

// Service is what is here of one service.
type Service struct {
	Containers []Container // oldest first, without those of a developer
	VIP        bool        // scale.priority of the release that runs here
	Pool       string      // scale.pool of that release; "": not known
}

// Container is one container of a service.
type Container struct {
	Name    string
	ID      string
	State   fleet.State
	Workers int          // that serve in it; 1 for a service without a master
	Young   int          // how many of them were added too recently to count as ready
	Fixed   string       // why the number of its workers cannot be changed; "": it can
	Entry   string       // ID of its registration; "": it has none
	Weight  int          // of its registration
	Health  fleet.Health // of its registration
}

// runs reports whether the engine keeps the container going.
func (c Container) runs() bool { return c.State == fleet.Running || c.State == fleet.Restarting }

// ready is how many workers of a container serve.
func (c Container) ready() int {
	if c.State != fleet.Running || c.Entry == "" {
		return 0
	}
	return max(c.Workers-c.Young, 0)
}

// Mode is what the freezes forbid for a service now, the strictest of those that
// apply, and who says so. pool is that of the service, "" when it is not known. now
// is in unix seconds.
func Mode(freezes []planner.Freeze, service, pool string, now int64) (scale.FreezeMode, string) {
	rank := []scale.FreezeMode{scale.NotFrozen, scale.NoDown, scale.NoChange, scale.Observe}
	mode, why := scale.NotFrozen, ""
	for _, z := range freezes {
		applies := z.Scope == "all" || z.Scope == "service" && z.Name == service || z.Scope == "pool" && z.Name == pool
		if !applies || z.Until > 0 && z.Until <= now || slices.Index(rank, z.Mode) <= slices.Index(rank, mode) {
			continue
		}
		mode, why = z.Mode, frozenBy(z)
	}
	return mode, why
}

func frozenBy(z planner.Freeze) string {
	words := []string{"frozen"}
	if z.Name != "" {
		words = append(words, z.Scope, z.Name)
	}
	words = append(words, "("+string(z.Mode)+")")
	if z.Who != "" {
		words = append(words, "by", z.Who)
	}
	out := strings.Join(words, " ")
	if z.Why != "" {
		out += ": " + z.Why
	}
	return out
}

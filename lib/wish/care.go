package wish

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// Care is one thing that keeps registrations of this node true, whatever is wished.
type Care struct {
	Do     Chore
	ID     string // of the registration
	Name   string // app/service
	Reason string
}

// Chore is what a Care does.
type Chore string

// The chores.
const (
	Renew  Chore = "renew"  // tell the TTL check that all is well
	Return Chore = "return" // end a maintenance whose time is over
	Sweep  Chore = "sweep"  // take away a registration without a container
)

// Books is what the chores of one moment follow from.
type Books struct {
	Registrations []fleet.Registration // ours, with the local agent; read before Containers
	Containers    []fleet.Instance     // of every app on this node
	Engine        string               // ID of the engine
	Suspects      map[string]bool      // registrations that had no container at the look before
	Renewed       map[string]time.Time // when each TTL check was last renewed
}

// Cares lists the chores that are due, by registration, and the suspects of the
// next look: one look is not enough to call a registration a ghost.
func Cares(b Books, now time.Time) (list []Care, suspects map[string]bool) {
	by := map[string]fleet.Instance{}
	for _, i := range b.Containers {
		by[i.ID] = i
	}
	suspects = map[string]bool{}
	for _, r := range b.Registrations {
		c := Care{ID: r.ID, Name: r.Meta[fleet.MetaApp] + "/" + r.Meta[fleet.MetaService]}
		i, here := by[r.Meta[fleet.MetaContainer]]
		until, aside := rollout.HeldUntil(r)
		switch {
		case !here:
			// As in package rollout: another engine on this machine cannot be looked into.
			if r.Meta[fleet.MetaEngine] != b.Engine && r.Health != fleet.Critical {
				continue
			}
			suspects[r.ID] = true
			if b.Suspects[r.ID] {
				c.Do, c.Reason = Sweep, "its container is gone"
				list = append(list, c)
			}
		case aside && now.After(until):
			c.Do, c.Reason = Return, "its maintenance was to end at "+until.Format(time.RFC3339)
			list = append(list, c)
		case renews(r, i) && now.Sub(b.Renewed[r.ID]) >= r.Check.Interval/3:
			c.Do, c.Reason = Renew, wellSince+i.StartedAt.UTC().Format(time.RFC3339)
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Care) int { return cmp.Compare(a.ID, b.ID) })
	return list, suspects
}

// renews reports whether a TTL check is one to renew: its container is well, and
// nobody else said that the instance is not. What Consul itself says of a check
// that was not renewed begins with "TTL expired" (agent/checks/check.go). It is
// renewed in a maintenance too: when that ends, the instance is to serve.
func renews(r fleet.Registration, i fleet.Instance) bool {
	if r.Check.Type != "ttl" || i.State != fleet.Running || i.Owner != nil {
		return false
	}
	ours := slices.ContainsFunc([]string{wellSince, "registered", "TTL expired"}, func(begin string) bool { return strings.HasPrefix(r.Output, begin) })
	return r.Health == fleet.Passing || ours && (r.Health == fleet.Critical || r.Health == fleet.Maintenance)
}

// wellSince begins what is told to a TTL check; its registration says "registered".
const wellSince = "its container runs since "

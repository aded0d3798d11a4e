package fleet

import "time"

// The times of leases, in one place. A node that runs some of a service that must
// never run more than so often holds a lease in Consul, and stops its share when it
// cannot show that it still does. The planner gives the share to another node only
// when the lease has been free for GiveAway, which is longer than all that the node
// may take; so nobody needs to hear of the other.
const (
	LeaseTTL   = 10 * time.Second // of its session: Consul ends it between one and two of them after the last renewal
	LeaseFence = 8 * time.Second  // after the last renewal began, by the node's own clock that cannot be set: it stops its share
	YieldLimit = 10 * time.Second // from then until KILL, whatever stop.timeout says
	// leaseMargin is for the engine to do so, and for a daemon that is being restarted.
	leaseMargin = 12 * time.Second
	GiveAway    = LeaseFence + YieldLimit + leaseMargin
)

// Lease is what Consul shows of the lease of a node.
type Lease struct {
	Held  bool
	Count uint64 // how often it was taken: another number, another lease
}

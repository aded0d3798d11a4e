package answer

import (
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
)

// Evidence is what is known beside the catalog's state of a service.
type Evidence struct {
	NodeGone map[string]bool      // nodes that the catalog does not hold any more
	Answers  map[string]bool      // by Place: does the instance's port accept connections; absent: not tried yet
	Since    map[string]time.Time // by ID: since when an instance is held
	Limit    time.Duration        // how long one is held at most; 0: never
}

// Place is where an instance is tried: address and port.
func (i Instance) Place() string { return i.Reached() + " " + itoa(i.Port) }

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n%10))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// Hold decides which instances stay that the catalog shows as gone or critical,
// although nothing says that they are ill: their agent restarts, and with it all
// of its node's instances leave at once. Each is held as it was before:
//
//   - critical, and no check of it has run since its agent started (Unchecked);
//   - critical, and only because its node's agent is silent (NodeDown);
//   - gone, together with its whole node (an agent that is stopped leaves), until
//     it is back: a returning agent registers its instances one by one.
//
// An instance in maintenance, with a check that failed, or deregistered while its
// node stays is let go at once. One that can be tried and does not accept
// connections is let go too; one without a port is held only for the first
// reason. before is the last result of Hold; now is sorted by node and ID, and
// so is the result. try lists places whose Answers would matter.
func Hold(before, now []Instance, e Evidence, at time.Time) (result []Instance, try []Instance) {
	byID := make(map[string]Instance, len(before))
	for _, i := range before {
		if serving(i) {
			byID[i.Node+"\x00"+i.ID] = i
		}
	}
	for _, i := range now {
		was, known := byID[i.Node+"\x00"+i.ID]
		delete(byID, i.Node+"\x00"+i.ID)
		if known && !serving(i) && (i.Unchecked || i.NodeDown) && e.holds(was, i.Unchecked, at, &try) {
			why := "its checks have not run since its agent started"
			if i.NodeDown {
				why = "its node's agent does not answer, it does"
			}
			i.Health, i.Held, i.Why = was.Health, true, why
		}
		result = append(result, i)
	}
	for _, was := range byID {
		if (e.NodeGone[was.Node] || was.NodeGone) && e.holds(was, false, at, &try) {
			was.Held, was.NodeGone, was.Why = true, true, "its node has left Consul, it answers"
			result = append(result, was)
		}
	}
	slices.SortFunc(result, compareInstances)
	slices.SortFunc(try, compareInstances)
	return result, try
}

func (e Evidence) holds(i Instance, unchecked bool, at time.Time, try *[]Instance) bool {
	if since, held := e.Since[i.ID]; e.Limit <= 0 || held && at.Sub(since) >= e.Limit {
		return false
	}
	if i.Port == 0 {
		return unchecked
	}
	*try = append(*try, i)
	answers, tried := e.Answers[i.Place()]
	return answers || !tried
}

func serving(i Instance) bool { return i.Health == fleet.Passing || i.Health == fleet.Warning }

func compareInstances(a, b Instance) int {
	if c := strings.Compare(a.Node, b.Node); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

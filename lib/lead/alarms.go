package lead

import (
	"cmp"
	"fmt"
	"slices"

	"svckit/lib/scale"
)

// Alarm is something that a person should know now.
type Alarm struct {
	Service string          `json:"service,omitempty"` // app/service; "": the whole fleet
	Code    scale.AlarmCode `json:"code"`
	Of      string          `json:"of,omitempty"` // key, where one code is on for several of them
	Since   int64           `json:"since,omitempty"`
	Words   string          `json:"words"`
}

// The alarms of the fleet, beside those of services.
const (
	AlarmUnreadable scale.AlarmCode = "unreadable"      // something in Consul cannot be read
	AlarmFleet      scale.AlarmCode = "fleet-collapse"  // many services collapsed, or many nodes are silent
	AlarmShort      scale.AlarmCode = "not-enough-room" // who goes short
)

// alarms are all that are on after a cycle, by service and code.
func alarms(c Cycle) []Alarm {
	var out []Alarm
	for _, s := range c.Plan.Services {
		for _, a := range s.Decision.Alarms {
			words := string(a.Code)
			if a.Missing > 0 {
				words = fmt.Sprintf("%s: %d missing", a.Code, a.Missing)
			}
			out = append(out, Alarm{Service: s.Name, Code: a.Code, Since: a.Since, Words: words + ": " + s.Decision.Words()})
		}
	}
	for _, x := range c.Plan.Place.Short {
		out = append(out, Alarm{Service: x.Name, Code: AlarmShort, Words: fmt.Sprintf("gets %d of %d: %s", x.Gets, x.Wanted, x.Reason)})
	}
	for _, v := range c.Plan.Fleet {
		if v.Page {
			out = append(out, Alarm{Code: AlarmFleet, Words: v.Freeze.Why})
		}
	}
	for key, why := range c.Bad {
		out = append(out, Alarm{Code: AlarmUnreadable, Of: key, Words: key + ": " + why})
	}
	slices.SortFunc(out, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Words, b.Words))
	})
	return out
}

// Changed tells which alarms began and which ended between two cycles.
func Changed(before, now []Alarm) (began, ended []Alarm) {
	key := func(a Alarm) string { return a.Service + " " + string(a.Code) + " " + a.Of }
	missing := func(a Alarm, in []Alarm) bool {
		return !slices.ContainsFunc(in, func(b Alarm) bool { return key(a) == key(b) })
	}
	for _, a := range now {
		if missing(a, before) {
			began = append(began, a)
		}
	}
	for _, a := range before {
		if missing(a, now) {
			ended = append(ended, a)
		}
	}
	return began, ended
}

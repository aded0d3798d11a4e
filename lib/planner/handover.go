package planner

import "svckit/lib/scale"

// Learned is what a planner saw of the demand of one service, for the next one:
// svc/scale/demand/<app>/<service>.
type Learned struct {
	Name  string            `json:"name"` // app/service
	At    int64             `json:"at"`   // unix seconds when it was written
	Days  []scale.PackedDay `json:"days"` // oldest first; the last one may go on
	Index uint64            `json:"-"`    // of its key, for check-and-set
	Gone  bool              `json:"-"`    // the service is not there any more: its document is taken away
}

// Check says what is wrong with what was read at a moment.
func (l Learned) Check(at int64) error {
	return first(checkServiceName(l.Name), within("at", l.At, 0, 1<<40), scale.CheckDays(l.Days, at))
}

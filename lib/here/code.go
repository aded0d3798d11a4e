package here

import (
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// noVolume is the code of a node that has none on volumes.
type noVolume struct{}

func (noVolume) State(string, string) (fleet.Code, error) { return fleet.Code{}, fleet.ErrNotFound }

func (noVolume) Switch(app, service, _ string) error {
	return fault.New(fault.NotFound, "switch code of %s/%s: %w", app, service, fleet.ErrNotFound)
}

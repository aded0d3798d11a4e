package here

import (
	"context"

	"svckit/lib/code"
	"svckit/lib/fleet"
)

// volume is the code folder of this node, in the words of package apply.
type volume struct{ *code.Store }

func (v volume) State(app, service string) (fleet.Code, error) {
	s, err := v.Store.State(app, service)
	return fleet.Code{Generation: s.Generation, Previous: s.Previous, Changed: s.Changed}, err
}

func (v volume) Restore(ctx context.Context, app, service string, was fleet.Code) error {
	return v.Store.Restore(ctx, app, service, code.State{Generation: was.Generation, Previous: was.Previous, Changed: was.Changed})
}

package here

import (
	"context"
	"testing"

	"svckit/lib/apply"
	"svckit/lib/fleet"
)

// containers is an engine with these containers.
type containers struct {
	apply.Views
	list []fleet.Instance
}

func (k containers) Instances(context.Context, string, string) ([]fleet.Instance, error) {
	return k.list, nil
}

func TestWithoutAnAgentTheNodeIsCalledAsItsServicesKnowIt(t *testing.T) {
	called := func(name, network string, owner *fleet.Holder) fleet.Instance {
		return fleet.Instance{Env: map[string]string{"SVC_NODE": name}, Address: "10.0.0." + name[len(name)-1:], Network: network, Owner: owner}
	}
	got, err := LastAgent(t.Context(), containers{list: []fleet.Instance{
		{Address: "10.0.0.9", Network: "bridge"},
		called("dev1", "bridge", &fleet.Holder{}),
		called("own2", "lan", nil),
		called("node3", "host", nil),
		called("node4", "bridge", nil),
	}})
	if want := (fleet.Agent{Node: "node3", Address: "10.0.0.3"}); err != nil || got.Node != want.Node || got.Address != want.Address {
		t.Errorf("%+v, %v, want %+v: not by a developer's server, nor by an address of a container's own", got, err, want)
	}
}

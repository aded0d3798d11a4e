package apply_test

import (
	"context"
	"testing"

	"svckit/lib/apply"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// meanwhile lists containers; right afterwards a run for another app has one more.
type meanwhile struct {
	apply.Views
	then func()
}

func (m meanwhile) Instances(ctx context.Context, app, service string) ([]fleet.Instance, error) {
	defer m.then()
	return m.Views.Instances(ctx, app, service)
}

func TestWhatAnotherRunRegistersMeanwhileIsNoGhost(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		if _, err := up(t.Context(), node, job("good-1", 1, nil), nil); err != nil {
			t.Fatal(err)
		}
		world := node.world()
		world.Views = meanwhile{world.Views, func() {
			id, err := node.Create(t.Context(), fleet.Container{Name: "other-web-1", Image: release("good-1"), Labels: map[string]string{fleet.LabelApp: "other", fleet.LabelService: "web"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := node.Register(t.Context(), fleet.Registration{ID: "other-web-node-a-1", Meta: map[string]string{fleet.MetaContainer: id}}); err != nil {
				t.Fatal(err)
			}
		}}
		_, plan, err := apply.Plan(t.Context(), world, job("good-1", 1, nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range plan.Steps {
			if s.Action == rollout.ActUnregister {
				t.Errorf("a run for another app loses its registration: %s", s)
			}
		}
	})
}

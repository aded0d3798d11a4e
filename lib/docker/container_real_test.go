//go:build real

package docker

import (
	"errors"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func TestAContainerIsCreatedStartedStoppedAndRemoved(t *testing.T) {
	e, name := testEngine(t)
	id, err := e.Create(t.Context(), plain(name))
	if err != nil {
		t.Fatal(err)
	}
	states := []fleet.State{state(t, e, id)}
	for _, step := range []func() error{
		func() error { return e.Start(t.Context(), id) },
		func() error { return e.Stop(t.Context(), id) },
		func() error { return e.Stop(t.Context(), id) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		states = append(states, state(t, e, id))
	}
	want := []fleet.State{fleet.Created, fleet.Running, fleet.Exited, fleet.Exited}
	for i := range want {
		if states[i] != want[i] {
			t.Errorf("states %v, want %v", states, want)
			break
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := e.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Stop(t.Context(), id); err != nil {
		t.Errorf("stop of a container that is gone: %v", err)
	}
	if _, err := e.Instance(t.Context(), id); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("instance after remove: %v, want not found", err)
	}
}

func state(t *testing.T, e *Engine, id string) fleet.State {
	t.Helper()
	in, err := e.Instance(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return in.State
}

func TestAContainerThatExitsAtOnceIsSeenWithItsCode(t *testing.T) {
	e, name := testEngine(t)
	began := time.Now()
	id := startNew(t, e, plain(name, "sh", "-c", "exit 7"))
	eventually(t, 2*time.Second, "exit seen", func() bool { return state(t, e, id) == fleet.Exited })
	in, err := e.Instance(t.Context(), id)
	if err != nil || in.ExitCode != 7 {
		t.Errorf("exit code %d, %v, want 7", in.ExitCode, err)
	}
	t.Logf("seen %s after create", time.Since(began))
}

package apply

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"svckit/lib/fleet"
)

// counted counts how often it is asked for all containers.
type counted struct {
	Views
	asked int
	err   error
}

func (c *counted) Instances(_ context.Context, app, service string) ([]fleet.Instance, error) {
	c.asked++
	if app != "" || service != "" {
		return nil, errors.New("asked for some")
	}
	return []fleet.Instance{{Name: "a1", App: "a", Service: "web"}, {Name: "a2", App: "a", Service: "mail"}, {Name: "b1", App: "b", Service: "web"}}, c.err
}

func TestContainersAreListedOnceForManyPlans(t *testing.T) {
	engine := &counted{err: errors.New("the engine is away")}
	l := &Listed{Views: engine}
	if _, err := l.Instances(t.Context(), "a", "web"); err == nil {
		t.Fatal("no error of an engine that is away")
	}
	engine.err = nil
	for _, row := range []struct {
		app, service string
		want         []string
	}{{"a", "web", []string{"a1"}}, {"a", "", []string{"a1", "a2"}}, {"", "", []string{"a1", "a2", "b1"}}, {"c", "", nil}} {
		list, err := l.Instances(t.Context(), row.app, row.service)
		var got []string
		for _, i := range list {
			got = append(got, i.Name)
		}
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s/%s: %v, %v; want %v", row.app, row.service, got, err, row.want)
		}
	}
	if engine.asked != 2 {
		t.Errorf("asked %d times, want once after the failure", engine.asked)
	}
}

package deploy

import (
	"testing"

	"svckit/lib/fleet"
)

func TestARollbackIsDoneOnceAsLongAsWhatItBroughtIsCurrent(t *testing.T) {
	now := func(web, worker string) fleet.Current {
		return fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: web}, "worker": {Release: worker}, "gone": {Release: "r0"}}}
	}
	all := State{Release: "r1", Rollback: true, Result: Stable, Services: []string{"web", "worker"}}
	one := State{Release: "r1", Rollback: true, Result: Stable, Services: []string{"web"}, Only: "web"}
	for _, row := range []struct {
		name  string
		state func(State) State
		of    State
		only  string
		now   fleet.Current
		want  bool
	}{
		{name: "all of it is current", of: all, now: now("r1", "r1"), want: true},
		{name: "one service was promoted since", of: all, now: now("r1", "r2"), want: false},
		{name: "the service alone", of: one, only: "web", now: now("r1", "r2"), want: true},
		{name: "now the whole app is meant", of: one, now: now("r1", "r1"), want: false},
		{name: "now one service is meant", of: all, only: "web", now: now("r1", "r1"), want: false},
		{name: "a deploy", of: all, state: func(s State) State { s.Rollback = false; return s }, now: now("r1", "r1"), want: false},
		{name: "a rollback that failed", of: all, state: func(s State) State { s.Result = Failed; return s }, now: now("r1", "r1"), want: false},
		{name: "a rollback that is at work", of: all, state: func(s State) State { s.Result = ""; return s }, now: now("r1", "r1"), want: false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := row.of
			if row.state != nil {
				s = row.state(s)
			}
			if got := s.WentBack(row.only, row.now); got != row.want {
				t.Errorf("went back: %v, want %v", got, row.want)
			}
		})
	}
}

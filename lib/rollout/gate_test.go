package rollout_test

import (
	"errors"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

func TestGate(t *testing.T) {
	bad := errors.New("refused")
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	look := func(s int, err error) rollout.Look {
		return rollout.Look{At: at(s), Instance: fleet.Instance{State: fleet.Running}, Err: err}
	}
	state := func(s int, st fleet.State, restarts, exit int) rollout.Look {
		return rollout.Look{At: at(s), Instance: fleet.Instance{State: st, Restarts: restarts, ExitCode: exit}}
	}
	rows := []struct {
		name    string
		looks   []rollout.Look
		verdict rollout.Verdict
		reason  string
	}{
		{"well for min_healthy", []rollout.Look{look(0, bad), look(1, nil), look(3, nil), look(6, nil)}, rollout.Passed, "well for 5s"},
		{"not yet", []rollout.Look{look(1, nil), look(5, nil)}, rollout.Waiting, ""},
		{"a flap starts the count again", []rollout.Look{look(0, nil), look(4, nil), look(5, bad), look(6, nil), look(10, nil)}, rollout.Waiting, ""},
		{"a flapping check never gets in", []rollout.Look{look(0, nil), look(4, bad), look(8, nil), look(12, bad), look(16, nil), look(20, bad)}, rollout.Failed, "did not stay well for 5s before the deadline: its check broke 3 times"},
		{"a restart starts the count again", []rollout.Look{look(0, nil), state(4, fleet.Running, 1, 1), look(5, nil)}, rollout.Waiting, ""},
		{"never passed", []rollout.Look{look(0, bad), look(20, bad)}, rollout.Failed, "its check did not pass once before the deadline"},
		{"ended before the first pass", []rollout.Look{state(0, fleet.Exited, 0, 3)}, rollout.Failed, "ended with exit code 3 before its first passing check"},
		{"the engine restarts it before the first pass", []rollout.Look{look(0, bad), state(1, fleet.Running, 1, 3)}, rollout.Failed, "ended and was started again by the engine before its first passing check"},
		{"restarted at the first look", []rollout.Look{state(0, fleet.Restarting, 1, 2)}, rollout.Failed, "ended with exit code 2 before its first passing check"},
		{"restarted too often", []rollout.Look{look(0, nil), state(1, fleet.Restarting, 4, 9)}, rollout.Failed, "was restarted 4 times, last exit code 9"},
		{"passing at the deadline but too short", []rollout.Look{look(17, nil), look(20, nil)}, rollout.Failed, "was not well for 5s before the deadline"},
		{"the last look opens the gate although the deadline is reached", []rollout.Look{look(14, nil), look(20, nil)}, rollout.Passed, "well for 6s"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := rollout.Gate{MinHealthy: 5 * time.Second, Deadline: at(20)}
			var v rollout.Verdict
			var reason string
			for n, l := range row.looks {
				if n > 0 && v != rollout.Waiting {
					t.Fatalf("verdict %d (%s) already after %d looks", v, reason, n)
				}
				g, v, reason = g.Observe(l)
			}
			if v != row.verdict || reason != row.reason {
				t.Errorf("got %d %q, want %d %q", v, reason, row.verdict, row.reason)
			}
		})
	}
}

func TestWorkersAreTheChildrenOfTheMaster(t *testing.T) {
	under := []fleet.Process{
		{PID: 10, Parent: 1, Command: "/sbin/docker-init -- gunicorn app"},
		{PID: 11, Parent: 10, Command: "python3 gunicorn app"},
		{PID: 12, Parent: 11, Command: "python3 gunicorn app"},
		{PID: 13, Parent: 11, Command: "python3 gunicorn app"},
	}
	for _, row := range []struct {
		name   string
		list   []fleet.Process
		master string
		want   int
	}{
		{"below the container's init", under, "gunicorn", 2},
		{"without an init", under[1:], "gunicorn", 2},
		{"no master", under, "none", 1},
		{"only a master", under[:2], "uwsgi", 1},
		{"nothing", nil, "gunicorn", 1},
	} {
		if got := rollout.Workers(row.list, spec.Master(row.master)); got != row.want {
			t.Errorf("%s: %d workers, want %d", row.name, got, row.want)
		}
	}
}

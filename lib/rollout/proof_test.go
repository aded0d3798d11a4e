package rollout_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

func asFault(t *testing.T, err error) *fault.Error {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no fault", err)
	}
	return e
}

func workers(pids ...int) []fleet.Worker {
	var out []fleet.Worker
	for _, pid := range pids {
		out = append(out, fleet.Worker{PID: pid, Started: uint64(pid)})
	}
	return out
}

// proofRun plays looks, one each second, and returns the last verdict.
func proofRun(change func(p *rollout.Proof), looks ...func(l *rollout.ProofLook)) (rollout.Verdict, rollout.After, string) {
	i := fleet.Instance{ID: "c", Name: "one", State: fleet.Running, StartedAt: epoch}
	p := rollout.Proof{
		Instance: i, Master: fleet.Master{PID: 5, Started: 50, Workers: workers(6, 7), Sizing: fleet.Sizing{Told: true}}, Expected: 2,
		MinHealthy: 2 * time.Second, Deadline: epoch.Add(10 * time.Second),
	}
	if change != nil {
		change(&p)
	}
	l := rollout.ProofLook{Look: rollout.Look{Instance: i}, Master: fleet.Master{PID: 5, Started: 50, Workers: workers(8, 9)}}
	for k := 0; ; k++ {
		if k < len(looks) {
			looks[k](&l)
		}
		l.At = epoch.Add(time.Duration(k) * time.Second)
		next, verdict, reason := p.Observe(l)
		p = next
		if verdict != rollout.Waiting {
			return verdict, p.Left(l), reason
		}
	}
}

func TestOnlyAProofIsASuccess(t *testing.T) {
	same := func(*rollout.ProofLook) {}
	old := func(pids ...int) func(*rollout.ProofLook) {
		return func(l *rollout.ProofLook) { l.Master.Workers = workers(pids...) }
	}
	follows := func(p *rollout.Proof) { p.Master.Sizing = fleet.Sizing{Told: true, Self: true, First: 1, Least: 1} }
	for _, row := range []struct {
		name   string
		change func(p *rollout.Proof)
		looks  []func(l *rollout.ProofLook)
		want   rollout.Verdict
		left   rollout.After
		reason string
	}{
		{"new workers that stay", nil, []func(*rollout.ProofLook){same}, rollout.Passed, "", "2 new workers, well for 2s"},
		{"old workers that go late", nil, []func(*rollout.ProofLook){old(6, 7, 8, 9), old(7, 8, 9), old(8, 9)}, rollout.Passed, "", "well for 2s"},
		{"old workers that stay", nil, []func(*rollout.ProofLook){old(6, 7)}, rollout.Failed, rollout.AfterOld, "2 of 2 workers from before are still there"},
		{"one old worker that stays", nil, []func(*rollout.ProofLook){old(7, 8, 9)}, rollout.Failed, rollout.AfterMixed, "1 of 2 workers from before are still there"},
		{"a pid that was used again is a new worker", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) {
			l.Master.Workers = []fleet.Worker{{PID: 6, Started: 99}, {PID: 9, Started: 9}}
		}}, rollout.Passed, "", "2 new workers"},
		{"too few", nil, []func(*rollout.ProofLook){old(8)}, rollout.Failed, rollout.AfterDegraded, "1 of 2 new workers are there"},
		{"too many", nil, []func(*rollout.ProofLook){old(8, 9, 10)}, rollout.Failed, rollout.AfterDegraded, "3 workers are there, 2 were before"},
		{"too many where its settings decide", func(p *rollout.Proof) { p.Master.Sizing = fleet.Sizing{} }, []func(*rollout.ProofLook){old(8, 9, 10)}, rollout.Passed, "", "3 new workers"},
		{"fewer by its load, once as many were there", follows, []func(*rollout.ProofLook){old(8, 9), old(9)}, rollout.Passed, "", "1 new workers"},
		{"more by its load", follows, []func(*rollout.ProofLook){old(8, 9), old(8, 9, 10)}, rollout.Passed, "", "3 new workers, well for 2s"},
		{"too few, though it follows its load", follows, []func(*rollout.ProofLook){old(8)}, rollout.Failed, rollout.AfterDegraded, "1 of 2 new workers are there"},
		{"one that ends and is started again, though it follows its load", follows, []func(*rollout.ProofLook){
			old(8, 9), old(8), old(8, 10), old(10), old(10, 11), old(11), old(11, 12), old(12), old(12, 13), old(13), old(13, 14),
		}, rollout.Failed, rollout.AfterDegraded, "did not stay well"},
		{"workers that end and start again", nil, []func(*rollout.ProofLook){
			old(8, 9), old(8, 10), old(8, 11), old(8, 12), old(8, 13), old(8, 14), old(8, 15), old(8, 16), old(8, 17), old(8, 18), old(8, 19),
		}, rollout.Failed, rollout.AfterDegraded, "a new worker ended and was started again"},
		{"one that is replaced once", nil, []func(*rollout.ProofLook){old(8, 9), old(8, 10)}, rollout.Passed, "", "well for 2s"},
		{"a probe that fails", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Err = errors.New("HTTP 500") }}, rollout.Failed, rollout.AfterDegraded, "its probe does not pass: HTTP 500"},
		{"a check that is critical", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Health = fleet.Critical }}, rollout.Failed, rollout.AfterDegraded, "critical"},
		{"in maintenance it may be", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Health = fleet.Maintenance }}, rollout.Passed, "", "well"},
		{"another generation", func(p *rollout.Proof) { p.Generation = "b" }, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Generation = "a" }}, rollout.Failed, rollout.AfterDegraded, "it shows generation a, not b"},
		{"none shown", func(p *rollout.Proof) { p.Generation = "b" }, []func(*rollout.ProofLook){same}, rollout.Passed, "", "well"},
		{"another master", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Master.Started = 51 }}, rollout.Failed, rollout.AfterEnded, "its master is another process"},
		{"a restarted container", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Instance.Restarts = 1 }}, rollout.Failed, rollout.AfterEnded, "its container was started again"},
		{"an ended container", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.Instance.State, l.Instance.ExitCode = fleet.Exited, 3 }}, rollout.Failed, rollout.AfterEnded, "its container is exited (exit code 3)"},
		{"processes that cannot be listed", nil, []func(*rollout.ProofLook){func(l *rollout.ProofLook) { l.MasterErr = errors.New("no ps") }}, rollout.Failed, rollout.AfterDegraded, "no ps"},
	} {
		t.Run(row.name, func(t *testing.T) {
			verdict, left, reason := proofRun(row.change, row.looks...)
			if verdict != row.want || !strings.Contains(reason, row.reason) {
				t.Errorf("verdict %d, %q; want %d, %q", verdict, reason, row.want, row.reason)
			}
			if row.left != "" && left != row.left {
				t.Errorf("left %s, want %s", left, row.left)
			}
		})
	}
}

func TestWorkersAreBroughtBackToTheirNumber(t *testing.T) {
	told, self := fleet.Sizing{Told: true}, fleet.Sizing{Told: true, Self: true, First: 2, Least: 2}
	for _, row := range []struct {
		name   string
		sizing fleet.Sizing
		now    []fleet.Worker
		want   int
	}{
		{"old ones are there", told, workers(1, 8), 0},
		{"too few", told, workers(8, 9), 2},
		{"enough", told, workers(8, 9, 10, 11), 0},
		{"too many", told, workers(8, 9, 10, 11, 12), -1},
		{"none yet", told, nil, 0},
		{"nobody can tell", fleet.Sizing{}, workers(8, 9), 0},
		{"too few of one that follows its load", self, workers(8, 9), 2},
		{"more of one that follows its load", self, workers(8, 9, 10, 11, 12), 0},
	} {
		p := rollout.Proof{Master: fleet.Master{Workers: workers(1, 2), Sizing: row.sizing}, Expected: 4}
		if got := p.Resize(rollout.ProofLook{Master: fleet.Master{Workers: row.now}}); got != row.want {
			t.Errorf("%s: %+d, want %+d", row.name, got, row.want)
		}
	}
}

func TestANumberThatNobodyCanTellIsNotExpected(t *testing.T) {
	follows := fleet.Sizing{Self: true, First: 2, Least: 1}
	told := follows
	told.Told = true
	for _, row := range []struct {
		name   string
		sizing fleet.Sizing
		way    rollout.Way
		now    int
		want   int
	}{
		{"its settings decide", fleet.Sizing{}, rollout.WayAside, 4, 4},
		{"it begins with fewer", follows, rollout.WayAside, 4, 2},
		{"it begins with more", follows, rollout.WayAside, 1, 1},
		{"a chain keeps them", follows, rollout.WayChain, 4, 4},
		{"it can be told", told, rollout.WayAside, 4, 4},
	} {
		m := fleet.Master{Workers: workers(1, 2, 3, 4)[:row.now], Sizing: row.sizing}
		if got := rollout.Expected(m, row.way); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

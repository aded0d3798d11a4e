//go:build real

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/cron"
	"svckit/lib/fleet"
)

const tickApp = `    kind: cron
    schedule: "* * * * *"
    cron: {timeout: 5m}
    command: [sh, -c, 'echo "$SVC_RUN $SVC_NODE" >> /out/ran; sleep 25; echo this is the end']
    volumes: ["DIR:/out"]
`

// A service that ticks each minute on a fleet of three: its scaled node is killed while
// a run goes on, and takes it up again; then the machine of a run is switched off, and
// the next tick runs elsewhere. Every line that a program wrote is of another run, and
// every tick has one.
func TestACronServiceTicksOnceInTheFleetWhileNodesDie(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newWholeFleet(t, 3, 3, "SVC_HOST_PATHS="+dir)
	f.release(t, "clock", "tick", strings.ReplaceAll(tickApp, "DIR", dir))

	first := f.going(t, "clock/tick", "")
	at := f.host(first.Node)
	_ = f.nodes[at.Name()].cmd.Process.Kill()
	<-f.nodes[at.Name()].done
	f.nodes[at.Name()] = f.on(at, "node")
	took := f.ended(t, "clock/tick", first.ID)
	if took.Result != cron.Done || took.Node != first.Node || !slices.Contains(took.Lines, "this is the end") {
		t.Errorf("the run that was taken up again ended as %+v", took)
	}

	second := f.going(t, "clock/tick", first.ID)
	at = f.host(second.Node)
	at.Kill(t)
	lost := f.ended(t, "clock/tick", second.ID)
	if lost.Result != cron.Lost {
		t.Errorf("the run of a machine that was switched off ended as %+v", lost)
	}
	third := f.going(t, "clock/tick", second.ID)
	if third.Node == second.Node {
		t.Errorf("%s runs %s and is switched off", third.Node, third.ID)
	}
	at.Start(t)
	f.on(at, "node")
	f.ended(t, "clock/tick", third.ID)
	f.until(t, "the machine that came back has nothing of its run", func() bool {
		list, ok := labels(at.Docker(), fleet.LabelRun)
		return ok && !slices.Contains(list, second.ID)
	})

	runs, err := f.consul.Runs(t.Context(), "clock/tick")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil {
		t.Fatal(err)
	}
	wrote := map[string]int{}
	for line := range strings.Lines(string(text)) {
		id, _, _ := strings.Cut(line, " ")
		wrote[id]++
	}
	ticks := map[time.Time]string{}
	for _, r := range runs {
		if wrote[r.ID] > 1 || wrote[r.ID] == 0 && r.Result == cron.Done {
			t.Errorf("the program of %s wrote %d times: %+v", r.ID, wrote[r.ID], r)
		}
		if other, twice := ticks[r.Tick]; twice {
			t.Errorf("the tick of %s has the runs %s and %s", r.Tick, r.ID, other)
		}
		ticks[r.Tick] = r.ID
		if r.Passed > 0 { // the run of a machine that is gone goes on until that is sure
			for k := range r.Passed {
				ticks[r.Tick.Add(time.Duration(k+1)*time.Minute)] = r.ID
			}
		}
	}
	for tick := first.Tick; !tick.After(third.Tick); tick = tick.Add(time.Minute) {
		late := slices.ContainsFunc(runs, func(r cron.Run) bool { return r.Tick.After(tick) && r.Missed > 0 })
		if ticks[tick] == "" && !late {
			t.Errorf("the tick of %s had no turn: %+v", tick, runs)
		}
	}
}

// going waits for a run whose program was started, after another one.
func (f *wholeFleet) going(t *testing.T, name, after string) (r cron.Run) {
	t.Helper()
	f.until(t, "a run of "+name+" goes on", func() bool {
		s, _, err := f.consul.CronState(t.Context(), name)
		if err != nil || s.Run == nil || s.Run.Stage != cron.Running || s.Run.ID <= after {
			return false
		}
		r = *s.Run
		return true
	})
	return r
}

// ended waits for the record of a run.
func (f *wholeFleet) ended(t *testing.T, name, id string) (out cron.Run) {
	t.Helper()
	f.until(t, "run "+id+" has ended", func() bool {
		list, err := f.consul.Runs(t.Context(), name)
		for _, r := range list {
			if err == nil && r.ID == id {
				out = r
				return true
			}
		}
		return false
	})
	return out
}

// until polls for what the next lines rely on.
func (f *wholeFleet) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so within four minutes: %s", what)
		}
	}
}

func (f *wholeFleet) host(name string) *lab.Host {
	f.t.Helper()
	for _, h := range f.Hosts {
		if h.Name() == name {
			return h
		}
	}
	f.t.Fatalf("no host %s", name)
	return nil
}

// labels are what a label of the containers of an engine says; false where it does not answer.
func labels(engine, label string) ([]string, bool) {
	return containers(engine, `{{.Label "`+label+`"}}`)
}

// containers says a word of each container of an engine, of those that a filter lets
// through, e.g. "status=running"; false where it does not answer.
func containers(engine, format string, filters ...string) ([]string, bool) {
	args := []string{"--host", engine, "ps", "--all", "--format", format}
	for _, f := range filters {
		args = append(args, "--filter", f)
	}
	text, err := exec.Command("docker", args...).Output()
	return strings.Fields(string(text)), err == nil
}

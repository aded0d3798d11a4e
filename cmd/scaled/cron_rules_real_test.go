//go:build real

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/cron"
)

// A program of these says when it began, when it was told to end, and when it ends by itself.
const (
	cronBody = `    kind: cron
    schedule: "* * * * *"
    stop: {timeout: 20s}
    cron: {timeout: 10m, RULES}
    command: [sh, -c, 'say() { echo "$SVC_RUN $1" >>/out/APP; }; trap "say told; exit 3" TERM; say began; n=0; while [ $n -lt LONG ] && [ ! -e /out/end-APP ]; do sleep 1; n=$((n+1)); done; say ended']
    volumes: ["DIR:/out"]
`
)

// Three services whose runs last longer than a minute, on a fleet of two: the tick of one
// waits for the end of the run before, that of another ends it. The node of the third, an
// exclusive one, is cut off: its run is killed there, and only then another one begins elsewhere.
func TestLongRunsWaitEndEachOtherOrAreNeverTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newWholeFleet(t, 3, 2, "SVC_HOST_PATHS="+dir)
	for app, rules := range map[string]string{"waits": "busy: wait", "kills": "busy: kill", "alone": "exclusive: true"} {
		f.release(t, app, "tick", strings.NewReplacer("RULES", rules, "LONG", "600", "DIR", dir, "APP", app).Replace(cronBody))
	}
	t.Run("rules", func(t *testing.T) {
		t.Run("a tick waits for the run before", func(t *testing.T) { t.Parallel(); f.tickWaits(t, dir) })
		t.Run("a tick ends the run before", func(t *testing.T) { t.Parallel(); f.tickEnds(t, dir) })
	})
	f.exclusiveIsCutOff(t, dir)
}

// tickWaits expects that nothing begins while a run goes on, and that the tick which came
// meanwhile has its turn right after it.
func (f *wholeFleet) tickWaits(t *testing.T, dir string) {
	first := f.going(t, "waits/tick", "")
	next := first.Tick.Add(time.Minute)
	f.until(t, "the next tick came", func() bool { return time.Now().After(next.Add(15 * time.Second)) })
	if s, _, err := f.consul.CronState(t.Context(), "waits/tick"); err != nil || s.Run == nil || s.Run.ID != first.ID {
		t.Fatalf("while its first run goes on its state is %+v, %v", s.Run, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "end-waits"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ended := f.ended(t, "waits/tick", first.ID)
	if ended.Result != cron.Done {
		t.Errorf("the first run ended as %+v", ended)
	}
	var second cron.Run
	f.until(t, "the tick that waited had its turn", func() bool {
		list, err := f.consul.Runs(t.Context(), "waits/tick") // the newest comes first
		if k := slices.IndexFunc(list, func(r cron.Run) bool { return r.ID == first.ID }); err == nil && k > 0 {
			second = list[k-1]
			return true
		}
		return false
	})
	if second.Tick.Before(next) || second.Claimed.Before(ended.Ended) || second.Result != cron.Done {
		t.Errorf("after a run that ended at %s came %+v", ended.Ended, second)
	}
}

// tickEnds expects that a run is told to end by the next tick, and ends before that begins.
func (f *wholeFleet) tickEnds(t *testing.T, dir string) {
	first := f.going(t, "kills/tick", "")
	ended := f.ended(t, "kills/tick", first.ID)
	if ended.Result != cron.Killed || ended.Ended.Before(first.Tick.Add(time.Minute)) || !strings.Contains(ended.End, "the tick of") {
		t.Errorf("the first run ended as %+v", ended)
	}
	second := f.going(t, "kills/tick", first.ID)
	if second.Claimed.Before(ended.Ended) {
		t.Errorf("%s began before %s had ended", second.ID, first.ID)
	}
	if err := os.WriteFile(filepath.Join(dir, "end-kills"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var lines []string
	f.until(t, "its next run has begun", func() bool { lines = saidSince(t, dir, "kills", first.ID); return len(lines) > 2 })
	if lines[1] != first.ID+" told" || !strings.HasSuffix(lines[2], " began") {
		t.Errorf("the programs said %q", lines)
	}
}

// exclusiveIsCutOff pulls the cable of a node with an exclusive run: the next one begins
// elsewhere, and at no moment two go on, counted over both engines.
func (f *wholeFleet) exclusiveIsCutOff(t *testing.T, dir string) {
	c := f.count(t, "alone")
	first := f.going(t, "alone/tick", "")
	at := f.host(first.Node)
	f.until(t, "its container was counted", func() bool { return c.at(at) == 1 })
	at.CutOff(t)
	defer at.Rejoin(t)
	f.until(t, "the run of the node that is cut off was killed", func() bool { return c.at(at) == 0 })
	second := f.going(t, "alone/tick", first.ID)
	if second.Node == first.Node {
		t.Errorf("%+v goes on, and its node is cut off", second)
	}
	killed := f.ended(t, "alone/tick", first.ID)
	if killed.Result != cron.Lost {
		t.Errorf("the run of the node that was cut off ended as %+v", killed)
	}
	var lines []string
	f.until(t, "the next run has begun", func() bool { lines = saidSince(t, dir, "alone", first.ID); return len(lines) > 1 })
	if !strings.HasSuffix(lines[1], " began") || lines[1] < first.ID {
		t.Errorf("the programs said %q", lines)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 1 {
		t.Errorf("%d ran at once: %s", c.most, c.when)
	}
}

// saidSince are the lines that programs of an app wrote, from the beginning of a run on.
func saidSince(t *testing.T, dir, app, run string) (out []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, app))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); len(out) > 0 || line == run+" began" {
			out = append(out, line)
		}
	}
	return out
}

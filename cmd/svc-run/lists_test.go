package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/tool"
)

func TestReleasesShowPointersAndMarks(t *testing.T) {
	image := func(n string) string { return "r/shop@sha256:" + strings.Repeat(n, 64) }
	list := releaseList("shop", []fleet.Release{
		{Name: "r3", Image: image("3"), Git: fleet.Git{Commit: "3f2c91d8aa00", Dirty: true}, BuiltBy: "ann@ci", BuiltAt: now, Failed: &fleet.Mark{Image: image("3")}},
		{Name: "r2", Image: image("2"), BuiltBy: "ann@ci", BuiltAt: now.Add(-time.Hour), Test: fleet.TestResult{Ran: true, Seconds: 1.25}, Stable: &fleet.Mark{Image: image("2")}},
		{Name: "r1", Image: image("1"), BuiltBy: "\x1b[31mevil", BuiltAt: now.Add(-2 * time.Hour), Stable: &fleet.Mark{Image: image("0")}},
	}, nil, fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "r2", Previous: "r1"}, "api": {Release: "r2"}}})
	_, stdout, _ := call(t, func(_ context.Context, s *tool.Session) error {
		return s.Result(list, func(w io.Writer) { list.write(w, s) })
	})
	want := `RELEASE  CURRENT  PREVIOUS  MARK     IMAGE                COMMIT          BUILT             BY            TEST
r3       -        -         failed   sha256:333333333333  3f2c91d8-dirty  2026-03-01 12:00  ann@ci        none
r2       api,web  -         stable   sha256:222222222222  -               2026-03-01 11:00  ann@ci        passed 1.2s
r1       -        web       stable!  sha256:111111111111  -               2026-03-01 10:00  \x1b[31mevil  none
`
	if stdout != want {
		t.Errorf("table\n%swant\n%s", stdout, want)
	}
}

func TestTheJournalIsATableOrEachStep(t *testing.T) {
	list := auditList([]fleet.Audit{
		{At: now, Who: "ann", Node: "node1", Program: "svc-run", Command: "up shop/web", Result: "ok", Changed: true, Seconds: 12.34, Plan: []string{"start one: nothing runs"}},
		{At: now.Add(time.Minute), Who: "bob", Node: "node2", Program: "svc-run", Command: "promote shop r2", Result: "conflict", Error: "changed\x07", Seconds: 0.1},
	})
	printed := func(words ...string) string {
		_, stdout, _ := call(t, func(_ context.Context, s *tool.Session) error {
			return s.Result(list, func(w io.Writer) { list.write(w, s) })
		}, words...)
		return stdout
	}
	want := `TIME                 WHO  NODE   COMMAND                  RESULT    CHANGED  TOOK
2026-03-01 12:00:00  ann  node1  svc-run up shop/web      ok        yes      12.3s
2026-03-01 12:01:00  bob  node2  svc-run promote shop r2  conflict  no       0.1s
`
	if got := printed(); got != want {
		t.Errorf("table\n%swant\n%s", got, want)
	}
	want = `2026-03-01 12:00:00  ann on node1: svc-run up shop/web
  start one: nothing runs
  ok, changed: yes, took 12.3s
2026-03-01 12:01:00  bob on node2: svc-run promote shop r2
  changed\x07
  conflict, changed: no, took 0.1s
`
	if got := printed("--verbose"); got != want {
		t.Errorf("details\n%swant\n%s", got, want)
	}
}

func TestAnAppIsNamedOnce(t *testing.T) {
	for _, tt := range []struct{ arg, flag, want string }{{"", "", ""}, {"a", "", "a"}, {"", "a", "a"}, {"a", "a", "a"}} {
		if got, err := auditApp(tt.arg, tt.flag); err != nil || got != tt.want {
			t.Errorf("%+v is %q, %v", tt, got, err)
		}
	}
	if _, err := auditApp("a", "b"); err == nil {
		t.Error("two apps were taken")
	}
}

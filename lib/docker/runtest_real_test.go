//go:build real

package docker

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
)

func (b *bench) test(limit time.Duration, command ...string) (time.Duration, error) {
	b.t.Helper()
	owner, err := node.Holder("tester", "here", b.t.Name(), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return b.RunTest(b.t.Context(), TestRequest{Image: lab.BaseImage, App: b.tag, Command: command, Limit: limit, Out: &b.out, Owner: owner, Alive: node.Alive})
}

// left lists the test containers of this bench.
func (b *bench) left() (ids []string) {
	b.t.Helper()
	list, err := b.api.ContainerList(b.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelApp+"="+b.tag))})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestATestRunsInTheImageAndLeavesNothing(t *testing.T) {
	b := newBench(t)
	rows := []struct {
		name    string
		limit   time.Duration
		command []string
		kind    fault.Kind
		want    string
		last    string
	}{
		{"passes", time.Minute, []string{"python3", "-c", "print('all good')"}, fault.OK, "", ""},
		{"fails", time.Minute, []string{"python3", "-c", "print('what went wrong'); raise SystemExit(5)"}, fault.Failed, "exit code 5", "what went wrong"},
		{"takes too long", 20 * time.Second, []string{"python3", "-c", "import time; print('working', flush=True); time.sleep(600)"}, fault.Timeout, "still running after 20s", "working"},
		{"is not in the image", time.Minute, []string{"/no/such/program"}, fault.Failed, "exit code 127 (command not found)", ""},
		{"is killed", time.Minute, []string{"python3", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}, fault.Failed, "exit code 137 (killed: out of memory, or KILL)", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b.out.Reset()
			_, err := b.test(row.limit, row.command...)
			if fault.KindOf(err) != row.kind || err != nil && !strings.HasSuffix(err.Error(), row.want) {
				t.Errorf("error is %v (%v), want %q (%v)", err, fault.KindOf(err), row.want, row.kind)
			}
			var f *fault.Error
			if row.last != "" && (!errors.As(err, &f) || !slices.Contains(f.Detail, row.last)) {
				t.Errorf("last lines are %q, want %q", f.Detail, row.last)
			}
			if row.last != "" && b.out.String() != "test: "+row.last+"\n" {
				t.Errorf("said %q", b.out.String())
			}
			if ids := b.left(); len(ids) != 0 {
				t.Errorf("left behind: %q", ids)
			}
		})
	}
}

func TestWhatAKilledRunLeftIsRemovedByTheNext(t *testing.T) {
	b := newBench(t)
	request := TestRequest{Image: lab.BaseImage, App: b.tag, Command: []string{"sleep", "600"}}
	for range 2 { // as a process that was killed would leave them: one running, one never started
		id, err := b.createTest(t.Context(), withOwner(request, 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Remove(context.Background(), id) })
	}
	if err := b.Start(t.Context(), b.left()[0]); err != nil {
		t.Fatal(err)
	}
	mine, err := b.createTest(t.Context(), withOwner(request, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Remove(context.Background(), mine) })
	if _, err := b.test(time.Minute, "true"); err != nil {
		t.Fatal(err)
	}
	if ids := b.left(); !slices.Equal(ids, []string{mine}) {
		t.Errorf("left: %q, want only that of the living owner, %s", ids, mine)
	}
}

func withOwner(r TestRequest, pid int) TestRequest {
	r.Owner, _ = node.Holder("tester", "here", "test", time.Now())
	r.Owner.PID = pid
	return r
}

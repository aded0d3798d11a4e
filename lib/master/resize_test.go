package master

import (
	"os"
	"os/exec"
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/spec"
)

func TestAMasterIsKnownByItsCommand(t *testing.T) {
	for _, row := range []struct {
		command []string
		want    spec.Master
	}{
		{[]string{"gunicorn", "app"}, spec.Gunicorn},
		{[]string{"/usr/bin/python3", "-m", "gunicorn"}, spec.Gunicorn},
		{[]string{"/usr/bin/uwsgi-core", "--ini", "x"}, spec.UWSGI},
		{[]string{"/srv/app", "a", "b", "c", "gunicorn"}, spec.NoMaster},
		{nil, spec.NoMaster},
	} {
		if got := KindOf(fleet.Instance{Command: row.command}); got != row.want {
			t.Errorf("%v: %q", row.command, got)
		}
	}
}

func TestUWSGIMustLeaveItsNumberToOthers(t *testing.T) {
	set := func(pairs ...string) options {
		o := options{}
		for k := 0; k < len(pairs); k += 2 {
			o[pairs[k]] = append(o[pairs[k]], pairs[k+1])
		}
		return o
	}
	for _, row := range []struct {
		name  string
		o     options
		fixed bool
		most  int
	}{
		{"no fifo", set("processes", "8", "cheaper", "1", "cheaper-algo", "manual"), true, 8},
		{"no cheaper", set("p", "4", "master-fifo", "/f"), true, 4},
		{"its own choice", set("workers", "4", "master-fifo", "/f", "cheaper", "1"), true, 4},
		{"manual", set("workers", "6", "master-fifo", "/f", "cheaper", "1", "cheaper-algo", "manual"), false, 6},
	} {
		if why, most := fixedUWSGI(row.o); (why != "") != row.fixed || most != row.most {
			t.Errorf("%s: %q, at most %d", row.name, why, most)
		}
	}
}

func TestWorkersAreCountedAgainWithoutTheEngine(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	started, err := proc.Start(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	i, f := fleet.Instance{Name: "x", Command: []string{"gunicorn"}}, fleet.Master{PID: os.Getpid(), Started: started}
	has := func() bool {
		m, err := Masters{}.Again(t.Context(), i, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range m.Workers {
			if w.PID == child.Process.Pid {
				return true
			}
		}
		return false
	}
	if !has() {
		t.Error("a child was not seen")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	if has() {
		t.Error("a child that has ended was seen")
	}
	f.Started++
	if _, err := (Masters{}).Again(t.Context(), i, f); err == nil {
		t.Error("another process was taken for the master")
	}
}

func TestWorkersThatNeverStartedAreNotCounted(t *testing.T) {
	s := stats{Workers: []statsWorker{{ID: 1, PID: 7, Accepting: 1, Status: "idle"}, {Status: "cheap"}, {Status: "cheap"}}}
	got, err := s.served()
	if err != nil || len(got.Workers) != 1 || !got.Workers[0].Ready {
		t.Errorf("%+v, %v", got, err)
	}
}

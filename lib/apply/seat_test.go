package apply_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// bound is a job whose container wants cores of its own on a node of two.
func bound(cpu float64, overlap bool) apply.Job {
	return job("good-2", 1, func(j *apply.Job) {
		j.Site.Cores, j.Site.Memory = 2, 1<<30
		j.Wanted.Service.Overlap = overlap
		j.Wanted.Service.Resources.CPU, j.Wanted.Service.Resources.CPUBinding = cpu, true
	})
}

// running puts a container on the node that is bound to cores.
func (f *fakeNode) running(name, service string, cores []int, exclusive int) {
	id := name + strings.Repeat("0", 56)
	f.containers[id] = &fakeContainer{Instance: fleet.Instance{
		ID: id, Name: name, App: "app", Service: service, Image: release("good-1"), State: fleet.Running,
		CPU: float64(len(cores)), Cores: cores, Exclusive: exclusive, Address: "10.0.0.1", Port: 20001,
	}}
	f.order = append(f.order, id)
}

func TestAPlanThatDoesNotFitIsRefusedBeforeItIsWalked(t *testing.T) {
	rows := []struct {
		name string
		job  apply.Job
		fill func(f *fakeNode)
		want string // "" when it fits
	}{
		{"an empty node", bound(2, true), func(*fakeNode) {}, ""},
		{"more than is free", bound(2, false), func(f *fakeNode) { f.running("other-01", "api", []int{0}, 1) }, "1 of 2 cores are free"},
		{"stop-first takes over the cores", bound(2, false), func(f *fakeNode) { f.running("old-0001", "web", []int{0, 1}, 2) }, ""},
		{"start-first needs both at once", bound(2, true), func(f *fakeNode) { f.running("old-0001", "web", []int{0, 1}, 2) }, "0 of 2 cores are free"},
		{"two instances where one fits", job("good-2", 2, func(j *apply.Job) { *j = bound(1.5, true); j.Wanted.Count = 2 }), func(*fakeNode) {}, "0 of 2 cores are free, 0.5 of core 1"},
		{"more memory than the node has", job("good-2", 1, func(j *apply.Job) { *j = bound(1, true); j.Wanted.Service.Resources.Memory = 2 << 30 }), func(*fakeNode) {}, "memory 2048 MiB: the node has 1024 MiB"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			node := newFakeNode()
			row.fill(node)
			_, plan, err := apply.Plan(t.Context(), node.world(), row.job)
			if row.want == "" && err != nil || row.want != "" && (fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("%v, want %q\n%v", err, row.want, plan.Steps)
			}
			if len(node.mutations) > 0 {
				t.Errorf("planning did %q", node.mutations)
			}
		})
	}
}

func TestStopFirstGivesTheNewOneTheCoresOfTheOld(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		node.running("old-0001", "web", []int{0, 1}, 2)
		var cores []int
		_, err := up(t.Context(), node, bound(2, false), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActCreate {
				for _, c := range node.containers {
					if c.Name == s.Target {
						cores = c.want.Cores
					}
				}
			}
		})
		if err != nil || !slices.Equal(cores, []int{0, 1}) {
			t.Errorf("cores %v, %v", cores, err)
		}
	})
}

func TestWhatSleepsIsStartedAgainWithItsFiles(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		j := job("good-1", 1, func(j *apply.Job) { j.Wanted.Secrets, j.Values.Secrets = true, map[string]string{"KEY": "v"} })
		if _, err := up(t.Context(), node, j, nil); err != nil {
			t.Fatal(err)
		}
		id := node.order[0]
		_ = node.Stop(context.Background(), id)
		clear(node.files)
		j.Wanted.Revive = true
		said, err := up(t.Context(), node, j, nil)
		if want := []string{"deliver", "start", "gate", "register", "await"}; err != nil || !slices.Equal(said, want) {
			t.Fatalf("did %q, %v; want %q", said, err, want)
		}
		c := node.containers[id]
		if c.State != fleet.Running || node.files[c.Dir]["/run/secrets/KEY"] != "v" {
			t.Errorf("%s, files %v", c.State, node.files)
		}
	})
}

package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// codeJob is a gunicorn with code on a volume; to is the generation to switch to.
func codeJob(to string, change func(*apply.Job)) apply.Job {
	return job("good", 2, func(j *apply.Job) {
		j.Wanted.Service.Master, j.Wanted.Service.Code.Mount = spec.Gunicorn, "/srv/app"
		if to != "" {
			j.Wanted.Reload = &rollout.Reload{Floor: -1, Code: to, From: "v1"}
			j.Staged = to
		}
		if change != nil {
			change(j)
		}
	})
}

// walked plans and walks a job, and returns the states of its instances.
func walked(ctx context.Context, f *fakeNode, j apply.Job, after func(n int, s rollout.Step)) (rollout.Plan, map[string]rollout.After, error) {
	world := f.world()
	world.Random = func() uint32 { f.made++; return uint32(f.made) }
	j, plan, err := apply.Plan(ctx, world, j)
	if err != nil {
		return plan, nil, err
	}
	w := apply.Walker{World: world, Job: j, After: after}
	err = w.Walk(ctx, plan)
	return plan, w.States, err
}

// reloadStage is a node with two instances that have loaded v1.
func reloadStage(t *testing.T, change func(*apply.Job), test func(t *testing.T, node *fakeNode)) {
	t.Helper()
	inBubble(t, func(t *testing.T, node *fakeNode) {
		node.code = fleet.Code{Generation: "v1", Changed: time.Now()}
		node.manner.workers, node.manner.grace = 2, 3*time.Second
		if _, _, err := walked(t.Context(), node, codeJob("", change), nil); err != nil {
			t.Fatal(err)
		}
		node.mutations = nil
		test(t, node)
	})
}

// contents are what the instances have loaded.
func contents(f *fakeNode) string {
	var out []string
	for _, id := range f.order {
		out = append(out, f.loaded[id])
	}
	return strings.Join(out, " ")
}

func TestNewCodeIsLoadedByOneInstanceAfterTheOther(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		_, states, err := walked(t.Context(), node, codeJob("v2", nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(node); got != "v2 v2" || node.code.Generation != "v2" {
			t.Errorf("loaded %q, current %s", got, node.code.Generation)
		}
		for _, id := range node.order {
			if states[node.containers[id].Name] != rollout.AfterReloaded {
				t.Errorf("states %v", states)
			}
		}
		before := len(node.mutations)
		again := codeJob("v2", func(j *apply.Job) { j.Wanted.Reload.From = "v2" })
		if plan, _, err := walked(t.Context(), node, again, nil); err != nil || len(plan.Steps) > 0 || len(node.mutations) != before {
			t.Errorf("a second reload did %v (%v)", plan.Steps, err)
		}
	})
}

func TestWorkersThatTheScalerAddedAreThereAgain(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		for _, c := range node.containers {
			c.master.Workers = append(c.master.Workers, node.worker(), node.worker())
		}
		if _, _, err := walked(t.Context(), node, codeJob("v2", nil), nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range node.containers {
			node.settle(c)
			if len(c.master.Workers) != 4 {
				t.Errorf("%s has %d workers, 4 before", c.Name, len(c.master.Workers))
			}
		}
	})
}

func TestCodeThatDoesNotLoadTouchesNothing(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		node.manner.broken, node.manner.fragile = map[string]bool{"v2": true}, true
		_, _, err := walked(t.Context(), node, codeJob("v2", nil), nil)
		if fault.KindOf(err) != fault.Refused || len(node.mutations) > 0 {
			t.Errorf("%v (%s), did %q", err, fault.KindOf(err), node.mutations)
		}
		if got := contents(node); got != "v1 v1" {
			t.Errorf("loaded %q", got)
		}
	})
}

func TestCodeThatBreaksBetweenPlanAndSignalIsPutBack(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		node.manner.fragile = true
		_, _, err := walked(t.Context(), node, codeJob("v2", nil), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActSwitch {
				node.manner.broken = map[string]bool{"v2": true}
			}
		})
		if fault.KindOf(err) != fault.Refused {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		if got := contents(node); got != "v1 v1" || node.code.Generation != "v1" {
			t.Errorf("loaded %q, current %s", got, node.code.Generation)
		}
	})
}

func TestCodeThatLoadsAndIsNotWellIsTakenBack(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		node.manner.sick = map[string]bool{"v2": true}
		_, states, err := walked(t.Context(), node, codeJob("v2", nil), nil)
		if fault.KindOf(err) != fault.Unhealthy {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		if got := contents(node); got != "v1 v1" || node.code.Generation != "v1" {
			t.Errorf("loaded %q, current %s", got, node.code.Generation)
		}
		reverted := 0
		for _, s := range states {
			if s == rollout.AfterReverted {
				reverted++
			}
		}
		if reverted != 1 || len(states) != 1 {
			t.Errorf("states %v: one instance was told, and it was taken back", states)
		}
		if got := len(serving(node)); got != 2 {
			t.Errorf("%d serve", got)
		}
	})
}

func TestAMasterThatEndsIsStartedAnewWithTheCodeOfBefore(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		node.manner.fragile = true
		_, states, err := walked(t.Context(), node, codeJob("v2", nil), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActPreflight {
				node.manner.broken = map[string]bool{"v2": true} // it loads beside the master, and not in it
			}
		})
		if fault.KindOf(err) != fault.Unhealthy || !strings.Contains(err.Error(), "was started again") {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		if contents(node) != "v1 v1" || node.code.Generation != "v1" || len(serving(node)) != 2 {
			t.Errorf("loaded %q, current %s, %d serve", contents(node), node.code.Generation, len(serving(node)))
		}
		if !slices.Equal(slices.Sorted(mapValues(states)), []rollout.After{rollout.AfterReverted}) {
			t.Errorf("states %v", states)
		}
	})
}

func TestFilesThatAreNotWellAreTakenBack(t *testing.T) {
	with := func(text string) func(*apply.Job) {
		return func(j *apply.Job) {
			j.Wanted.Files = []string{"/etc/app.json"}
			j.Values = spec.Values{Files: []spec.Rendered{{To: "/etc/app.json", Content: []byte(text)}}}
		}
	}
	for _, row := range []struct {
		name string
		kind fault.Kind
		set  func(*manner)
	}{
		{"do not load", fault.Refused, func(m *manner) { m.broken = map[string]bool{"v1 /etc/app.json=two": true} }},
		{"are not well", fault.Unhealthy, func(m *manner) { m.sick = map[string]bool{"v1 /etc/app.json=two": true} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			reloadStage(t, with("one"), func(t *testing.T, node *fakeNode) {
				row.set(&node.manner)
				_, _, err := walked(t.Context(), node, codeJob("", with("two")), nil)
				if fault.KindOf(err) != row.kind {
					t.Errorf("%v (%s)", err, fault.KindOf(err))
				}
				if got := contents(node); got != "v1 /etc/app.json=one v1 /etc/app.json=one" {
					t.Errorf("loaded %q", got)
				}
				for dir, files := range node.files {
					if files["/etc/app.json"] != "one" {
						t.Errorf("%s holds %q", dir, files)
					}
				}
			})
		})
	}
}

func TestASignalWithoutEffectIsNamedSo(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		node.manner.deaf = true
		_, states, err := walked(t.Context(), node, codeJob("v2", nil), nil)
		if fault.KindOf(err) != fault.Timeout || !strings.Contains(err.Error(), "2 of 2 workers from before are still there (old)") {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		if len(states) != 1 || !slices.Contains(slices.Collect(mapValues(states)), rollout.AfterOld) {
			t.Errorf("states %v", states)
		}
	})
}

func TestHalfAReloadIsNamedSo(t *testing.T) {
	reloadStage(t, nil, func(t *testing.T, node *fakeNode) {
		_, states, err := walked(t.Context(), node, codeJob("v2", nil), func(_ int, s rollout.Step) {
			node.manner.deaf = node.manner.deaf || s.Action == rollout.ActProve // from the second instance on
		})
		if fault.KindOf(err) != fault.Partial {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		got := slices.Sorted(mapValues(states))
		if !slices.Equal(got, []rollout.After{rollout.AfterOld, rollout.AfterReloaded}) {
			t.Errorf("states %v", states)
		}
		if contents(node) != "v2 v1" || node.code.Generation != "v2" {
			t.Errorf("loaded %q, current %s", contents(node), node.code.Generation)
		}
		node.manner.deaf = false
		again := codeJob("v2", func(j *apply.Job) { j.Wanted.Reload.From = "v2" })
		if _, _, err := walked(t.Context(), node, again, nil); err != nil || contents(node) != "v2 v2" {
			t.Errorf("the next reload: %v, loaded %q", err, contents(node))
		}
	})
}

func mapValues[K comparable, V any](m map[K]V) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestAChainThatWasNotHeardIsToldAgain(t *testing.T) {
	chain := func(j *apply.Job) { j.Wanted.Service.Master = spec.UWSGI }
	reloadStage(t, chain, func(t *testing.T, node *fakeNode) {
		node.manner.facts = fleet.Master{Lazy: true, Chain: fleet.Chain{FIFO: "/f"}}
		node.manner.drops = 1
		if _, _, err := walked(t.Context(), node, codeJob("v2", chain), nil); err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, m := range node.mutations {
			if strings.HasPrefix(m, "tell ") {
				told++
			}
		}
		if contents(node) != "v2 v2" || told < 3 {
			t.Errorf("loaded %q, told %d times: %q", contents(node), told, node.mutations)
		}
	})
}

func TestAPausingMasterIsReloadedOutOfDNS(t *testing.T) {
	plain := func(j *apply.Job) { j.Wanted.Service.Master = spec.UWSGI }
	reloadStage(t, plain, func(t *testing.T, node *fakeNode) {
		least := 2
		_, _, err := walked(t.Context(), node, codeJob("v2", plain), func(_ int, s rollout.Step) {
			passing := 0
			for _, r := range node.entries {
				if r.Health == fleet.Passing {
					passing++
				}
			}
			least = min(least, passing)
			if s.Action == rollout.ActReload && passing != 1 {
				t.Errorf("told while %d pass", passing)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if least != 1 || contents(node) != "v2 v2" {
			t.Errorf("at least %d passed, loaded %q", least, contents(node))
		}
		for _, r := range node.entries {
			if r.Health != fleet.Passing {
				t.Errorf("%s is %s", r.ID, r.Health)
			}
		}
	})
}

func TestTheFleetIsNotTakenBelowItsFloor(t *testing.T) {
	plain := func(j *apply.Job) { j.Wanted.Service.Master = spec.UWSGI }
	reloadStage(t, plain, func(t *testing.T, node *fakeNode) {
		_, _, err := walked(t.Context(), node, codeJob("v2", func(j *apply.Job) {
			plain(j)
			j.Wanted.Reload.Floor = 2
		}), nil)
		if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "2 must") {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
		if got := contents(node); got != "v1 v1" || node.code.Generation != "v1" {
			t.Errorf("loaded %q, current %s: nothing may be touched", got, node.code.Generation)
		}
	})
}

// TestEveryCutOfAReloadIsRepaired kills the walk after each step and lets the
// next reload finish: all instances with the new code, none in maintenance.
func TestEveryCutOfAReloadIsRepaired(t *testing.T) {
	for _, master := range []spec.Master{spec.Gunicorn, spec.UWSGI} {
		with := func(j *apply.Job) { j.Wanted.Service.Master = master }
		for cut := 1; cut <= 17; cut++ {
			t.Run(fmt.Sprintf("%s, cut after step %d", master, cut), func(t *testing.T) {
				reloadStage(t, with, func(t *testing.T, node *fakeNode) {
					ctx, kill := context.WithCancelCause(t.Context())
					_, _, err := walked(ctx, node, codeJob("v2", with), func(n int, _ rollout.Step) {
						if n == cut {
							kill(apply.ErrLockLost) // nothing is taken back, as after SIGKILL
						}
					})
					if err != nil && !errors.Is(err, apply.ErrLockLost) {
						t.Fatal(err)
					}
					next := codeJob("v2", func(j *apply.Job) {
						with(j)
						j.Wanted.Reload.From = node.code.Generation
					})
					if _, _, err := walked(t.Context(), node, next, nil); err != nil {
						t.Fatal(err)
					}
					if got := contents(node); got != "v2 v2" {
						t.Errorf("loaded %q", got)
					}
					if got := len(serving(node)); got != 2 {
						t.Errorf("%d serve", got)
					}
					for _, r := range node.entries {
						if r.Health != fleet.Passing {
							t.Errorf("%s is %s", r.ID, r.Health)
						}
					}
				})
			})
		}
	}
}

// TestAnInterruptedReloadLeavesNothingHalfDone stops a reload as Ctrl-C does.
func TestAnInterruptedReloadLeavesNothingHalfDone(t *testing.T) {
	plain := func(j *apply.Job) { j.Wanted.Service.Master = spec.UWSGI }
	for cut := 1; cut <= 8; cut++ {
		t.Run(fmt.Sprintf("after step %d", cut), func(t *testing.T) {
			reloadStage(t, plain, func(t *testing.T, node *fakeNode) {
				ctx, stop := context.WithCancel(t.Context())
				_, _, err := walked(ctx, node, codeJob("v2", plain), func(n int, _ rollout.Step) {
					if n == cut {
						stop()
					}
				})
				if err == nil {
					t.Fatal("it was not stopped")
				}
				for _, r := range node.entries {
					if r.Health != fleet.Passing {
						t.Errorf("%s is %s", r.ID, r.Health)
					}
				}
			})
		})
	}
}

package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// release makes an image reference that the fake node knows how to act.
func release(what string) string { return "registry/" + what + "@sha256:" + strings.Repeat("a", 64) }

func job(what string, count int, change func(*apply.Job)) apply.Job {
	j := apply.Job{
		Site: apply.Site{
			Node:  rollout.Node{Name: "node-a", Address: "10.0.0.1"},
			Ports: [2]int{20000, 20099}, RunDir: "/run/svckit", Cores: 4, Margin: time.Second, Domain: "consul",
		},
		Wanted: rollout.Wanted{
			App: "app", Release: what, Image: release(what), Count: count, Env: map[string]string{"SVC_RELEASE": what},
			Service: spec.Service{
				Key: "web", Name: "app-web", Kind: spec.Web, Port: 8000, Network: spec.Network{Mode: spec.Bridge}, Overlap: true, Master: spec.NoMaster,
				Check: spec.Check{Type: spec.CheckHTTP, Path: "/healthz", Interval: time.Second, Timeout: time.Second, MinHealthy: 3 * time.Second, Deadline: 20 * time.Second},
				Stop:  spec.Stop{Signal: "TERM", Timeout: 10 * time.Second, Drain: 2 * time.Second},
			},
		},
	}
	if change != nil {
		change(&j)
	}
	return j
}

// up plans and walks, and returns what was said before each step.
func up(ctx context.Context, f *fakeNode, j apply.Job, after func(n int, s rollout.Step)) ([]string, error) {
	world := f.world()
	world.Random = func() uint32 { f.made++; return uint32(f.made) }
	j, plan, err := apply.Plan(ctx, world, j)
	if err != nil {
		return nil, err
	}
	var said []string
	w := apply.Walker{World: world, Job: j, After: after, Tell: func(_, _ int, s rollout.Step) {
		said = append(said, string(s.Action))
	}}
	return said, func() error { err := w.Walk(ctx, plan); return err }()
}

func serving(f *fakeNode) []string {
	var out []string
	for _, c := range f.containers {
		for _, r := range f.entries {
			if r.Meta[fleet.MetaContainer] == c.ID && c.State == fleet.Running {
				out = append(out, c.Release)
			}
		}
	}
	slices.Sort(out)
	return out
}

func inBubble(t *testing.T, f func(t *testing.T, node *fakeNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFakeNode()) })
}

func TestUpStartsAndThenReplacesWithoutAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		if _, err := up(t.Context(), node, job("good-1", 2, nil), nil); err != nil {
			t.Fatal(err)
		}
		least := 2
		_, err := up(t.Context(), node, job("good-2", 2, nil), func(int, rollout.Step) { least = min(least, len(serving(node))) })
		if err != nil {
			t.Fatal(err)
		}
		if got := serving(node); !slices.Equal(got, []string{"good-2", "good-2"}) {
			t.Errorf("serving %q", got)
		}
		if least < 2 {
			t.Errorf("at some step only %d served", least)
		}
		before := len(node.mutations)
		if said, err := up(t.Context(), node, job("good-2", 2, nil), nil); err != nil || len(said) != 0 || len(node.mutations) != before {
			t.Errorf("a second up did %q (%v)", said, err)
		}
	})
}

func TestABadReleaseLeavesTheOldOneServing(t *testing.T) {
	for _, row := range []struct{ what, reason string }{
		{"bad", "its check did not pass once before the deadline"},
		{"crash", "ended with exit code 3 before its first passing check"},
		{"flap", "did not stay well for 3s before the deadline"},
	} {
		t.Run(row.what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakeNode) {
				if _, err := up(t.Context(), node, job("good-1", 1, nil), nil); err != nil {
					t.Fatal(err)
				}
				_, err := up(t.Context(), node, job(row.what, 1, nil), nil)
				if fault.KindOf(err) != fault.Unhealthy || !strings.Contains(err.Error(), row.reason) {
					t.Fatalf("got %v (%s), want unhealthy: %s", err, fault.KindOf(err), row.reason)
				}
				var e *fault.Error
				if !errors.As(err, &e) || !slices.Contains(e.Detail, "  | hello from the container") {
					t.Errorf("the last lines are missing: %q", e.Detail)
				}
				if got := serving(node); !slices.Equal(got, []string{"good-1"}) {
					t.Errorf("serving %q", got)
				}
				if len(node.containers) != 1 || len(node.entries) != 1 {
					t.Errorf("left %d containers and %d registrations", len(node.containers), len(node.entries))
				}
			})
		})
	}
}

func TestAContainerThatEndsAtOnceIsSeenWithinTwoSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		var started time.Time
		_, err := up(t.Context(), node, job("crash", 1, nil), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActStart {
				started = time.Now()
			}
		})
		if took := time.Since(started); fault.KindOf(err) != fault.Unhealthy || took > 2*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestTheOldOneIsNotJudgedByTheDeadlineOfWhatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		alone := func(j *apply.Job) { j.Wanted.Service.Overlap = false }
		if _, err := up(t.Context(), node, job("slow-1", 1, alone), nil); err != nil {
			t.Fatal(err)
		}
		hasty := func(j *apply.Job) { alone(j); j.Wanted.Service.Check.Deadline = 4 * time.Second }
		if _, err := up(t.Context(), node, job("bad", 1, hasty), nil); fault.KindOf(err) != fault.Unhealthy {
			t.Errorf("%v, want unhealthy", err)
		}
		if got := serving(node); !slices.Equal(got, []string{"slow-1"}) {
			t.Errorf("serving %q", got)
		}
	})
}

func TestStopFirstBringsTheOldOneBack(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		alone := func(j *apply.Job) { j.Wanted.Service.Overlap = false }
		if _, err := up(t.Context(), node, job("good-1", 1, alone), nil); err != nil {
			t.Fatal(err)
		}
		_, err := up(t.Context(), node, job("bad", 1, alone), nil)
		if fault.KindOf(err) != fault.Unhealthy || !strings.Contains(err.Error(), "still serving: app-web-") {
			t.Fatalf("got %v", err)
		}
		if got := serving(node); !slices.Equal(got, []string{"good-1"}) {
			t.Errorf("serving %q", got)
		}
	})
}

func TestAnInterruptedUpTakesTheNewContainerAway(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		if _, err := up(t.Context(), node, job("good-1", 1, nil), nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := up(ctx, node, job("bad", 1, nil), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActStart {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if got := serving(node); !slices.Equal(got, []string{"good-1"}) || len(node.containers) != 1 {
			t.Errorf("serving %q of %d containers", got, len(node.containers))
		}
	})
}

func TestALostLockTouchesNothingMore(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var at int
		_, err := up(ctx, node, job("bad", 1, nil), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActStart {
				at = len(node.mutations)
				time.AfterFunc(time.Second, func() { cancel(apply.ErrLockLost) })
			}
		})
		if !errors.Is(err, apply.ErrLockLost) {
			t.Fatalf("got %v", err)
		}
		if len(node.mutations) != at {
			t.Errorf("after the lock was lost it did %q", node.mutations[at:])
		}
	})
}

func TestATakenPortIsExchanged(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		one := job("good", 1, func(j *apply.Job) { j.Site.Ports = [2]int{20000, 20001} })
		node.taken[20000] = true
		if _, err := up(t.Context(), node, one, nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range node.containers {
			if c.Port != 20001 {
				t.Errorf("port %d, want 20001", c.Port)
			}
		}
		if len(node.containers) != 1 {
			t.Errorf("%d containers, want 1", len(node.containers))
		}
	})
}

func TestDNSThatStillAnswersKeepsTheOldOneRunning(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		if _, err := up(t.Context(), node, job("good-1", 1, nil), nil); err != nil {
			t.Fatal(err)
		}
		_, err := up(t.Context(), node, job("good-2", 1, nil), func(_ int, s rollout.Step) {
			node.dnsDown = s.Action == rollout.ActWithdraw
		})
		if fault.KindOf(err) != fault.Timeout {
			t.Fatalf("got %v (%s), want timeout", err, fault.KindOf(err))
		}
		running := 0
		for _, c := range node.containers {
			if c.State == fleet.Running {
				running++
			}
		}
		if running != 2 {
			t.Errorf("%d containers run, want 2", running)
		}
	})
}

func TestAnInstanceIsStoppedOnlyWhenNoClientCanHoldItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		node.ttl = 30 * time.Second
		alone := func(j *apply.Job) { j.Wanted.Service.Overlap = false }
		if _, err := up(t.Context(), node, job("good-1", 1, alone), nil); err != nil {
			t.Fatal(err)
		}
		var gone time.Time
		_, err := up(t.Context(), node, job("good-2", 1, alone), func(_ int, s rollout.Step) {
			switch s.Action {
			case rollout.ActWithdraw:
				gone = time.Now()
			case rollout.ActDrain:
				// TTL 30 s, margin 1 s, drain 2 s
				if took := time.Since(gone); took < 33*time.Second {
					t.Errorf("drained for %s, want 33s", took)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneBadInstanceOfThreeIsPartlyApplied(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		if _, err := up(t.Context(), node, job("good-1", 2, nil), nil); err != nil {
			t.Fatal(err)
		}
		gates := 0
		_, err := up(t.Context(), node, job("flap-later", 2, func(j *apply.Job) { j.Wanted.Service.Check.MinHealthy = time.Nanosecond }), func(_ int, s rollout.Step) {
			if s.Action == rollout.ActStart {
				if gates++; gates == 2 {
					for _, c := range node.containers {
						if c.Name == s.Target {
							c.State, c.ExitCode = fleet.Exited, 1
						}
					}
				}
			}
		})
		if fault.KindOf(err) != fault.Partial {
			t.Fatalf("got %v (%s), want partial", err, fault.KindOf(err))
		}
		if got := serving(node); len(got) != 2 {
			t.Errorf("serving %q, want two", got)
		}
	})
}

func TestFilesAreDeliveredBeforeTheStartAndAgainWhenTheyChange(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakeNode) {
		with := func(text string) func(*apply.Job) {
			return func(j *apply.Job) {
				j.Wanted.Service.Master = spec.Gunicorn
				j.Wanted.Secrets, j.Wanted.Files = true, []string{"/etc/app.json"}
				j.Values = spec.Values{Secrets: map[string]string{"KEY": "s"}, Files: []spec.Rendered{{To: "/etc/app.json", Content: []byte(text)}}}
			}
		}
		said, err := up(t.Context(), node, job("good", 1, with("one")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"pull", "create", "start", "gate", "register", "await"}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		said, err = up(t.Context(), node, job("good", 1, with("two")), nil)
		if want := []string{"deliver", "preflight", "reload", "prove"}; err != nil || !slices.Equal(said, want) {
			t.Errorf("said %q (%v), want %q", said, err, want)
		}
		for dir, files := range node.files {
			if files["/etc/app.json"] != "two" || files["/run/secrets/KEY"] != "s" {
				t.Errorf("%s holds %q", dir, files)
			}
		}
	})
}

// TestEveryCutIsRepaired kills the walk after each step of a replacement, start
// first and stop first, and lets the next run finish.
func TestEveryCutIsRepaired(t *testing.T) {
	for _, overlap := range []bool{true, false} {
		for cut := 1; cut <= 12; cut++ {
			t.Run(fmt.Sprintf("overlap %t, cut after step %d", overlap, cut), func(t *testing.T) {
				inBubble(t, func(t *testing.T, node *fakeNode) {
					change := func(j *apply.Job) { j.Wanted.Service.Overlap = overlap }
					if _, err := up(t.Context(), node, job("good-1", 1, change), nil); err != nil {
						t.Fatal(err)
					}
					ctx, kill := context.WithCancelCause(t.Context())
					_, err := up(ctx, node, job("good-2", 1, change), func(n int, _ rollout.Step) {
						if overlap && len(serving(node)) < 1 {
							t.Errorf("after step %d nothing serves", n)
						}
						if n == cut {
							kill(apply.ErrLockLost) // nothing is taken back, as after SIGKILL
						}
					})
					if err == nil && cut < 10 {
						t.Fatal("the walk was not cut")
					}
					if _, err := up(t.Context(), node, job("good-2", 1, change), nil); err != nil {
						t.Fatal(err)
					}
					if got := serving(node); !slices.Equal(got, []string{"good-2"}) || len(node.containers) != 1 || len(node.entries) != 1 {
						t.Errorf("serving %q of %d containers, %d registrations", got, len(node.containers), len(node.entries))
					}
				})
			})
		}
	}
}

package code

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"svckit/lib/rollout"
)

func TestPruneKeepsWhatIsInUse(t *testing.T) {
	s := store(t)
	if gone, err := s.Prune(t.Context(), "shop", "web", 1); err != nil || gone != nil {
		t.Errorf("nothing there: %v, %v", gone, err)
	}
	var names []string
	for n, text := range []string{"1", "2", "3", "4", "5", "6"} {
		name := put(t, s, map[string]string{"app.py": text})
		at := time.Now().Add(time.Duration(n-10) * time.Minute)
		must(t, os.Chtimes(s.Dir("shop", "web")+"/versions/"+name, at, at))
		names = append(names, name)
	}
	must(t, s.Switch(t.Context(), "shop", "web", names[0]))
	must(t, s.Switch(t.Context(), "shop", "web", names[1]))
	gone, err := s.Prune(t.Context(), "shop", "web", 1, names[2])
	want := []string{names[3], names[4]}
	slices.Sort(want)
	if err != nil || !slices.Equal(gone, want) {
		t.Errorf("removed %q, %v, want %q", gone, err, want)
	}
	if gone, err := s.Prune(t.Context(), "shop", "web", 0); err != nil || len(gone) != 2 {
		t.Errorf("removed %q, %v", gone, err)
	}
	left := []string{names[0], names[1]}
	slices.Sort(left)
	if got := generations(t, s); !slices.Equal(got, left) {
		t.Errorf("left %q, want %q", got, left)
	}
}

func TestALockThatIsHeldIsWaitedForUntilTheContextEnds(t *testing.T) {
	s := store(t)
	one := put(t, s, map[string]string{"app.py": "1"})
	_, free, err := s.locked(t.Context(), "shop", "web", false)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Switch(ctx, "shop", "web", one); !errors.Is(err, context.Canceled) {
		t.Errorf("while another run changes it: %v", err)
	}
	free()
	must(t, s.Switch(t.Context(), "shop", "web", one))
}

func TestVersionsThatProcessesStandInAreNamed(t *testing.T) {
	proc := t.TempDir()
	for pid, at := range map[string]string{
		"1": "/run/svckit/code/versions/two/pkg", "2": "/run/svckit/code/versions/one", "3": "/srv/versions/three",
		"4": "/run/svckit/code/versions/one", "5": "/run/svckit/code", "6": "/run/svckit/code/versions/..",
	} {
		must(t, os.MkdirAll(filepath.Join(proc, pid), 0o755))
		must(t, os.Symlink(at, filepath.Join(proc, pid, "cwd")))
	}
	if got := standing(proc, []int{1, 2, 3, 4, 5, 6, 7}); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("standing in %q", got)
	}
	if target != rollout.CodeTarget {
		t.Errorf("looked for below %s, mounted at %s", target, rollout.CodeTarget)
	}
}

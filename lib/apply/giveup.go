package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// ErrLockLost is the cause of a context that ended because the lock was lost.
// Somebody else may act now, so nothing is taken back.
var ErrLockLost = errors.New("lost the lock: nothing more was touched")

// recoveryLimit bounds taking back what a failed run began.
const recoveryLimit = 3 * time.Minute

// recoveryPatience is how long an old container may take to be well again, at least.
const recoveryPatience = time.Minute

// giveUp ends a walk whose step n failed or was not begun. It takes back what is
// half done and says what serves now. The error keeps the kind of its cause.
func (w *Walker) giveUp(ctx context.Context, p rollout.Plan, n int, cause error) error {
	s := p.Steps[n]
	failed, begun := halfDone(p, n)
	if errors.Is(context.Cause(ctx), ErrLockLost) || !begun && !w.reloading.begun() {
		return fmt.Errorf("%s %s: %w", s.Action, s.Target, cause)
	}
	back, cancel := detached(ctx, recoveryLimit)
	defer cancel()
	if !begun {
		return w.giveUpReload(back, p, n, cause)
	}
	serving, err := w.takeBack(back, failed)
	out := outcome(p, n, failed, cause, serving)
	if w.reloading.begun() { // the code was switched for the new container
		said, uerr := w.undo(back, p, n, cause)
		out.Detail = append(out.Detail, said...)
		err = errors.Join(err, uerr)
	}
	if err != nil {
		out.Kind = fault.Failed
		out.Detail = append(out.Detail, "and it could not be taken back: "+err.Error())
		out.Hint = "run `svc-run up` again: it cleans up and goes on"
	}
	return out
}

// giveUpReload ends a walk that failed while it reloaded what lives on.
func (w *Walker) giveUpReload(ctx context.Context, p rollout.Plan, n int, cause error) error {
	s := p.Steps[n]
	said, err := w.undo(ctx, p, n, cause)
	out := &fault.Error{Kind: fault.KindOf(cause), Err: fmt.Errorf("%s %s: %w", s.Action, s.Target, cause)}
	var known *fault.Error
	if errors.As(cause, &known) {
		out.Detail, out.Hint = append(out.Detail, known.Detail...), known.Hint
	}
	out.Detail = append(out.Detail, said...)
	if errors.Is(cause, context.Canceled) {
		out.Kind = fault.Interrupted
	} else if w.partly() {
		out.Kind = fault.Partial
	}
	if err != nil {
		out.Detail = append(out.Detail, "and it could not be taken back: "+err.Error())
		out.Hint = "`svc-run doctor` and `svc-run logs` show more; `svc-run up` replaces what cannot be mended"
	}
	return out
}

// partly reports whether some instance runs the new version for good although the walk failed.
func (w *Walker) partly() bool {
	for _, state := range w.States {
		if state == rollout.AfterReloaded {
			return true
		}
	}
	return false
}

// halfDone looks at a plan whose step n did not succeed. It returns the new
// container that is not in service yet ("" when there is none), and whether
// there is anything to take back: such a container, or one that was stopped to
// make room and not yet removed.
func halfDone(p rollout.Plan, n int) (name string, begun bool) {
	stopped := map[string]bool{}
	for k, s := range p.Steps[:n+1] {
		switch {
		case s.Action == rollout.ActCreate:
			name = s.Target
		case s.Action == rollout.ActAwait && s.Target == name && k < n:
			name = ""
		case s.Action == rollout.ActStop:
			stopped[s.Target] = true
		case s.Action == rollout.ActRemove && k < n:
			delete(stopped, s.Target)
		}
	}
	return name, name != "" || len(stopped) > 0
}

// takeBack walks the recovery and returns what serves afterwards.
func (w *Walker) takeBack(ctx context.Context, failed string) (string, error) {
	seen, err := Observe(ctx, w.World, w.Job)
	if err != nil {
		return "unknown", err
	}
	// What served before is not judged by the deadline of what failed, and nothing better comes after it.
	w.patience = recoveryPatience
	defer func() { w.patience = 0 }()
	plan := rollout.Recover(w.Job.Wanted, w.Job.Site.Node, seen, failed)
	for _, s := range plan.Steps {
		if s.ID != "" {
			w.ids[s.Target] = s.ID
		}
	}
	for k, s := range plan.Steps {
		if w.Tell != nil {
			w.Tell(k+1, len(plan.Steps), s)
		}
		if err := w.step(ctx, s); err != nil {
			return "unknown", fmt.Errorf("%s %s: %w", s.Action, s.Target, err)
		}
	}
	if seen, err = Observe(ctx, w.World, w.Job); err != nil {
		return "unknown", err
	}
	return Serving(seen), nil
}

// Serving says in words which containers of the service serve on this node.
func Serving(seen rollout.Seen) string {
	words := ""
	for _, i := range seen.Instances {
		for _, r := range seen.Registrations {
			if i.State == fleet.Running && r.Meta[fleet.MetaContainer] == i.ID {
				words += fmt.Sprintf(", %s (release %s)", i.Name, i.Release)
			}
		}
	}
	if words == "" {
		return ""
	}
	return words[2:]
}

// outcome names what a failed run leaves: the kind, what happened, what serves.
func outcome(p rollout.Plan, n int, failed string, cause error, serving string) *fault.Error {
	s := p.Steps[n]
	out := &fault.Error{Kind: fault.KindOf(cause)}
	var known *fault.Error
	if errors.As(cause, &known) {
		out.Detail, out.Hint = append(out.Detail, known.Detail...), known.Hint
	}
	// A version that is well and could not be registered, e.g. for want of rights, is not unhealthy.
	if failed != "" && s.Action != rollout.ActRegister && (out.Kind == fault.Failed || out.Kind == fault.Timeout) {
		out.Kind = fault.Unhealthy
	}
	if out.Kind == fault.Refused && touchedBefore(p, n) {
		out.Kind = fault.Unhealthy
	}
	if failed != "" && replacedBefore(p, n) {
		out.Kind = fault.Partial
	}
	if errors.Is(cause, context.Canceled) {
		out.Kind = fault.Interrupted
	}
	now := "nothing of it serves on this node"
	if serving != "" {
		now = "still serving: " + serving
	}
	out.Err = fmt.Errorf("%s %s: %w; %s", s.Action, s.Target, cause, now)
	return out
}

// touchedBefore reports whether any step before n changed what runs here.
func touchedBefore(p rollout.Plan, n int) bool {
	return slices.ContainsFunc(p.Steps[:n], func(s rollout.Step) bool { return s.Action != rollout.ActPull })
}

// replacedBefore reports whether an old instance was already removed for a new one before step n.
func replacedBefore(p rollout.Plan, n int) bool {
	awaited := false
	for _, s := range p.Steps[:n] {
		awaited = awaited || s.Action == rollout.ActAwait
		if awaited && s.Action == rollout.ActRemove {
			return true
		}
	}
	return false
}

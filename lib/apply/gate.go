package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// A gate looks at least this often, whatever the check's interval: a container
// that ends at once is to be seen within two seconds.
const (
	slowestLook = 500 * time.Millisecond
	fastestLook = 100 * time.Millisecond
)

// gate watches a container until it was well for min_healthy, or gives the
// reason why not, with the last probe, the container's state and its last lines.
func (w *Walker) gate(ctx context.Context, s rollout.Step) error {
	check := w.Job.Wanted.Service.Check
	every := min(max(check.Interval, fastestLook), slowestLook)
	g := rollout.Gate{MinHealthy: check.MinHealthy, Deadline: time.Now().Add(max(check.Deadline, w.patience))}
	p, done := w.progress(s)
	defer done()
	began := time.Now()
	for {
		look, output, err := w.look(ctx, s.Target)
		if err != nil {
			return err
		}
		next, verdict, reason := g.Observe(look)
		g = next
		p.Report(describe(look), 0, 0)
		switch verdict {
		case rollout.Passed:
			return nil
		case rollout.Failed:
			e := fault.New(fault.Unhealthy, "%s", reason)
			e.Detail = w.evidence(ctx, look, output)
			return e
		case rollout.Waiting:
		}
		// Close looks at first: most containers are well, or have ended, soon after their start.
		if err := sleep(ctx, min(max(time.Since(began)/10, fastestLook), every)); err != nil {
			return err
		}
	}
}

// look observes a container once: its state, then its probe if it runs.
func (w *Walker) look(ctx context.Context, name string) (rollout.Look, string, error) {
	i, err := w.World.Views.Instance(ctx, w.ids[name])
	if isGone(err) {
		// Removed by someone else while it was watched.
		return rollout.Look{At: time.Now(), Instance: fleet.Instance{Name: name, State: fleet.Dead}}, "the container is gone", nil
	}
	if err != nil {
		return rollout.Look{}, "", err
	}
	look := rollout.Look{At: time.Now(), Instance: i}
	if i.State != fleet.Running {
		return look, "", nil
	}
	output, err := w.World.Probe(ctx, w.entry(i, 1).Check)
	if ctx.Err() != nil {
		return look, "", context.Cause(ctx)
	}
	look.At, look.Err = time.Now(), err
	return look, output, nil
}

func describe(l rollout.Look) string {
	if l.Instance.State != fleet.Running {
		return string(l.Instance.State)
	}
	return "running, check: " + probed(l)
}

// probed is what the probe of a look came to, in words.
func probed(l rollout.Look) string {
	switch {
	case l.Err != nil:
		return l.Err.Error()
	case l.Instance.State != fleet.Running:
		return "none, the container did not run"
	}
	return "passing"
}

// tailLines is how much of a failed container's output is shown.
const tailLines = 30

// evidence is what is known of a container that did not become well: its last
// probe, its state and its last lines.
func (w *Walker) evidence(ctx context.Context, l rollout.Look, output string) []string {
	i := l.Instance
	out := []string{"last probe: " + probed(l)}
	if output != "" && !strings.Contains(probed(l), output) {
		out = append(out, "its answer: "+output)
	}
	out = append(out, fmt.Sprintf("container: %s %s, exit code %d, %d restarts", i.Name, i.State, i.ExitCode, i.Restarts))
	lines, err := w.World.Views.Tail(ctx, i.ID, tailLines)
	switch {
	case err != nil:
		return append(out, "its output could not be read: "+err.Error())
	case len(lines) == 0:
		return append(out, "it printed nothing")
	}
	out = append(out, "its output ends with:")
	for _, line := range lines {
		out = append(out, "  | "+line)
	}
	return out
}

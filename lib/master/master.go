// Package master knows gunicorn and uWSGI as they run in containers of this
// node: which process is the master, what it can do, how it is told to reload,
// and whether new code would load. It acts on the node's own processes; what it
// reads out of a container is taken as untrusted.
package master

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// tryLimit bounds the process that loads the new code.
const tryLimit = 60 * time.Second

// Engine is what the masters need of the container engine.
type Engine interface {
	Processes(ctx context.Context, id string) ([]fleet.Process, error)
	Exec(ctx context.Context, id string, p fleet.Program) (fleet.Ran, error)
	Signal(ctx context.Context, id, signal string) error
}

// Masters looks at the masters of this node's containers and talks to them.
type Masters struct {
	Engine Engine
	// TryLimit bounds the process that loads the new code; 0 is a minute.
	TryLimit time.Duration
}

// Look finds the master of a running container and its workers. A master that is
// not there has PID 0; why, Unsafe says.
func (m Masters) Look(ctx context.Context, i fleet.Instance, kind spec.Master) (fleet.Master, error) {
	found, _, err := m.look(ctx, i, kind)
	return found, err
}

func (m Masters) look(ctx context.Context, i fleet.Instance, kind spec.Master) (fleet.Master, options, error) {
	list, err := m.Engine.Processes(ctx, i.ID)
	if err != nil {
		return fleet.Master{}, nil, err
	}
	top, why := masterOf(list, i.PID, kind)
	if why != "" {
		return fleet.Master{Unsafe: []string{why}}, nil, nil
	}
	out := fleet.Master{PID: top.PID}
	if out.Started, err = proc.Start(top.PID); err != nil {
		return fleet.Master{}, nil, fault.New(fault.Failed, "look at process %d: %w", top.PID, err)
	}
	children := childrenOf(list, top.PID)
	var opts options
	if kind == spec.UWSGI {
		var bad error // of its options: what cannot be read must not be told anything
		if opts, bad = uwsgiOptions(i, top.PID); bad != nil {
			return fleet.Master{Unsafe: []string{"its options cannot be read: " + bad.Error()}}, nil, nil //nolint:nilerr // it is told in Unsafe
		}
		if children, err = uwsgiWorkers(ctx, top.PID, opts, children); err != nil {
			return out, opts, err
		}
	}
	for _, c := range children {
		started, err := proc.Start(c.PID)
		if err != nil {
			continue // it has ended since it was listed
		}
		out.Workers = append(out.Workers, fleet.Worker{PID: c.PID, Started: started})
	}
	slices.SortFunc(out.Workers, func(a, b fleet.Worker) int { return a.PID - b.PID })
	return out, opts, nil
}

// Examine is Look, and what the master can do, what speaks against telling it
// anything, and whether the code loads in a process beside it.
func (m Masters) Examine(ctx context.Context, i fleet.Instance, s spec.Service, code fleet.CodeAt) (fleet.Master, error) {
	found, opts, err := m.look(ctx, i, s.Master)
	if err != nil || found.PID == 0 {
		return found, err
	}
	found.Unsafe = append(found.Unsafe, unsafeContainer(i)...)
	limit := m.TryLimit
	if limit == 0 {
		limit = tryLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	inside, err := lookInside(found.PID)
	if errors.Is(err, fs.ErrPermission) { // not root: what runs beside the master then has the folder and variables of the container
		err = nil
	}
	if err != nil {
		return found, fault.New(fault.Failed, "look into container %s: %w", i.Name, err)
	}
	switch s.Master {
	case spec.Gunicorn:
		err = m.examineGunicorn(limited, i, &found, inside, code)
	case spec.UWSGI:
		err = m.examineUWSGI(limited, i, &found, opts, inside, code)
	case spec.NoMaster:
	}
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		found.Tried, found.Broken = true, []string{fmt.Sprintf("it did not load within %s", limit)}
		err = nil
	}
	return found, err
}

// unsafeContainer says what a signal would do to a container that Docker was
// told to restart: `docker kill` marks it as stopped by hand (moby daemon/kill.go).
func unsafeContainer(i fleet.Instance) []string {
	switch {
	case i.Restart != "always" && i.Restart != "on-failure":
		return []string{fmt.Sprintf("its restart policy is %s: after a signal the engine would not start it again when it crashes (always or on-failure is safe)", orNone(i.Restart))}
	case i.StopSignal == "":
		return []string{"it has no StopSignal: after a signal the engine would not start it again when it crashes"}
	}
	return nil
}

// Tell makes the master reload, in this way.
func (m Masters) Tell(ctx context.Context, i fleet.Instance, f fleet.Master, way rollout.Way) error {
	switch way {
	case rollout.WaySignal, rollout.WayAside:
		// To the container's first process: its init passes HUP on to the master.
		return m.Engine.Signal(ctx, i.ID, "HUP")
	case rollout.WayChain:
		return chain(ctx, i, f)
	case rollout.WayReplace:
	}
	return fault.New(fault.Failed, "tell the master of %s to reload: no such way: %s", i.Name, way)
}

// Resize makes the master start (by > 0) or end (by < 0) workers: a gunicorn one,
// since signals that wait merge, a uwsgi that many. The signal goes to the master's
// process itself: an init in the container keeps TTIN and TTOU to itself.
func (m Masters) Resize(_ context.Context, i fleet.Instance, f fleet.Master, by int) error {
	opts, err := identify(i, f)
	if err != nil {
		return fmt.Errorf("resize %s: %w", i.Name, err)
	}
	if opts == nil {
		return signalProcess(f.PID, f.Started, by)
	}
	if sizing := uwsgiSizing(opts); !sizing.Told {
		return nil
	}
	order := "+"
	if by < 0 {
		order, by = "-", -by
	}
	return proc.WriteFIFO(f.PID, opts.fifo(), strings.Repeat(order, min(by, maxOrders)))
}

// maxOrders bounds how many orders a fifo is given at a time.
const maxOrders = 64

// identify tells a uwsgi, by its options, from a gunicorn: nil.
func identify(i fleet.Instance, f fleet.Master) (options, error) {
	if !slices.ContainsFunc(i.Command, func(word string) bool { return programName(word) == "uwsgi" }) {
		return nil, nil
	}
	opts, err := uwsgiOptions(i, f.PID)
	if opts == nil && err == nil {
		err = errors.New("its options cannot be read")
	}
	return opts, err
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

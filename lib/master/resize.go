package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/spec"
)

// KindOf tells from the command of a container which master it has.
func KindOf(i fleet.Instance) spec.Master {
	for _, word := range i.Command[:min(len(i.Command), 4)] {
		switch name := programName(word); {
		case name == "gunicorn":
			return spec.Gunicorn
		case strings.HasPrefix(name, "uwsgi"):
			return spec.UWSGI
		}
	}
	return spec.NoMaster
}

// Fixed says why a master cannot be told to have more or fewer workers; "" when
// it can, for any number up to most (0: no bound of its own).
//
// gunicorn takes TTIN and TTOU. uWSGI has a number of its own choice between
// cheaper and processes: it can be told by its master-fifo, and only with
// cheaper-algo = manual it leaves the number alone afterwards.
func Fixed(i fleet.Instance, f fleet.Master) (why string, most int) {
	o, err := identify(i, f)
	switch {
	case f.PID == 0:
		return strings.Join(append([]string{"its master was not found"}, f.Unsafe...), ": "), 0
	case err != nil:
		return "its options cannot be read: " + err.Error(), 0
	case o == nil: // gunicorn
		return "", 0
	}
	return fixedUWSGI(o)
}

func fixedUWSGI(o options) (why string, most int) {
	most = number(o.first("processes", "workers", "p"))
	switch {
	case o.last("master-fifo") == "":
		return "uwsgi has no master-fifo, through which it is told to have more or fewer workers", most
	case o.last("cheaper") == "" || o.last("cheaper-algo") != "manual":
		return "uwsgi changes its number of workers by itself: set cheaper = 1 and cheaper-algo = manual, and processes to the most that one node may have", most
	}
	return "", most
}

// Again is Look for a master that was found already, without asking the engine.
// The error wraps fleet.ErrNotFound when its process is another one, or gone.
func (m Masters) Again(ctx context.Context, i fleet.Instance, f fleet.Master) (fleet.Master, error) {
	if now, err := proc.Start(f.PID); err != nil || now != f.Started {
		return fleet.Master{}, fault.New(fault.NotFound, "look at the master of %s: %w", i.Name, fleet.ErrNotFound)
	}
	children, err := kernelChildren(f.PID)
	if err != nil {
		return fleet.Master{}, fault.New(fault.Failed, "look at the master of %s: %w", i.Name, err)
	}
	opts, err := identify(i, f)
	if err != nil {
		return fleet.Master{}, err
	}
	if opts != nil {
		if children, err = uwsgiWorkers(ctx, f.PID, opts, children); err != nil {
			return fleet.Master{}, err
		}
	}
	f.Workers = nil
	for _, c := range children {
		if started, err := proc.Start(c.PID); err == nil {
			f.Workers = append(f.Workers, fleet.Worker{PID: c.PID, Started: started})
		}
	}
	slices.SortFunc(f.Workers, func(a, b fleet.Worker) int { return a.PID - b.PID })
	return f, nil
}

// maxChildren bounds the list of children that is read, in bytes.
const maxChildren = 1 << 20

// kernelChildren lists the children of a process: those of all its threads (proc(5),
// /proc/PID/task/TID/children). One that has ended and was not waited for is left out.
func kernelChildren(pid int) ([]fleet.Process, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var out []fleet.Process
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			return nil, err
		}
		if len(text) > maxChildren {
			return nil, errors.New("its list of children is too long")
		}
		for word := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			if now, err := proc.Of(child); err == nil && !now.Dead {
				out = append(out, fleet.Process{PID: child, Parent: pid})
			}
		}
	}
	return out, nil
}

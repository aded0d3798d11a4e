package docker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Processes lists the processes of a running container, with the pids of the
// node, sorted by pid. The engine runs the node's ps for it.
func (e *Engine) Processes(ctx context.Context, id string) ([]fleet.Process, error) {
	top, err := e.api.ContainerTop(ctx, id, []string{"-eo", "pid,ppid,args"})
	if err != nil {
		return nil, e.wrap(err, "list processes of container %s", short(id))
	}
	out, err := processesOf(top)
	if err != nil {
		return nil, fault.New(fault.Failed, "list processes of container %s: %w", short(id), err)
	}
	return out, nil
}

// processesOf reads the engine's table by its titles: columns may come in any order.
func processesOf(top container.TopResponse) ([]fleet.Process, error) {
	find := func(titles ...string) int {
		return slices.IndexFunc(top.Titles, func(t string) bool { return slices.Contains(titles, strings.ToUpper(t)) })
	}
	pid, parent, command := find("PID"), find("PPID"), find("COMMAND", "CMD", "ARGS")
	if pid < 0 || parent < 0 || command < 0 {
		return nil, errors.New("the node's ps gives no columns PID, PPID and COMMAND")
	}
	out := make([]fleet.Process, 0, len(top.Processes))
	for _, row := range top.Processes {
		if len(row) <= max(pid, parent, command) {
			continue
		}
		p, err1 := strconv.Atoi(row[pid])
		pp, err2 := strconv.Atoi(row[parent])
		if err1 != nil || err2 != nil {
			continue
		}
		out = append(out, fleet.Process{PID: p, Parent: pp, Command: clean(row[command])})
	}
	slices.SortFunc(out, func(a, b fleet.Process) int { return a.PID - b.PID })
	return out, nil
}

package rollout

import (
	"strings"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Workers counts the workers that serve in a container: the children of its
// master process, which is the first process below the container's init. It is
// 1 for a service without a master, and never less.
func Workers(list []fleet.Process, master spec.Master) int {
	if master != spec.Gunicorn && master != spec.UWSGI {
		return 1
	}
	return max(len(WorkerPIDs(list)), 1)
}

// WorkerPIDs are the children of the master process in a container.
func WorkerPIDs(list []fleet.Process) []int {
	top, ok := top(list)
	if !ok {
		return nil
	}
	if children := childrenOf(list, top.PID); isInit(top) && len(children) == 1 {
		top = children[0]
	}
	var out []int
	for _, p := range childrenOf(list, top.PID) {
		out = append(out, p.PID)
	}
	return out
}

// top is the process whose parent is outside the container.
func top(list []fleet.Process) (fleet.Process, bool) {
	inside := map[int]bool{}
	for _, p := range list {
		inside[p.PID] = true
	}
	for _, p := range list {
		if !inside[p.Parent] {
			return p, true
		}
	}
	return fleet.Process{}, false
}

func isInit(p fleet.Process) bool {
	return strings.HasPrefix(p.Command, "/sbin/docker-init") || strings.Contains(p.Command, "tini")
}

func childrenOf(list []fleet.Process, pid int) []fleet.Process {
	var out []fleet.Process
	for _, p := range list {
		if p.Parent == pid {
			out = append(out, p)
		}
	}
	return out
}

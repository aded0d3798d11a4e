package master

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/spec"
)

// masterOf finds the process that gets the signals in a container whose first
// process is first, and says why there is none. Docker's init passes signals on
// to its only child; anything else between the two, a shell above all, does not.
func masterOf(list []fleet.Process, first int, kind spec.Master) (fleet.Process, string) {
	top, ok := processOf(list, first)
	if !ok {
		return fleet.Process{}, "its first process is not among its processes"
	}
	if isInit(top) {
		children := childrenOf(list, top.PID)
		if len(children) == 0 {
			return fleet.Process{}, "its init has no child"
		}
		top = children[0] // what was started by the init itself; orphans come later and have other names
		for _, c := range children {
			if runs(c, kind) {
				top = c
				break
			}
		}
	}
	if runs(top, kind) {
		return top, ""
	}
	if shell := programName(firstWord(top.Command)); slices.Contains([]string{"sh", "bash", "dash", "ash", "busybox"}, shell) {
		return fleet.Process{}, fmt.Sprintf("its first process is a shell (%s), which passes no signal on to %s: write command as a list, or begin it with exec", shown(top.Command), kind)
	}
	return fleet.Process{}, fmt.Sprintf("its first process is no %s: %s", kind, shown(top.Command))
}

func processOf(list []fleet.Process, pid int) (fleet.Process, bool) {
	for _, p := range list {
		if p.PID == pid {
			return p, true
		}
	}
	return fleet.Process{}, false
}

func isInit(p fleet.Process) bool {
	name := programName(firstWord(p.Command))
	return name == "docker-init" || name == "tini" || name == "catatonit"
}

// runs reports whether a process is the master's program: as it was started, or
// by the title that it gave itself.
func runs(p fleet.Process, kind spec.Master) bool {
	words := strings.Fields(p.Command)
	switch kind {
	case spec.Gunicorn:
		if strings.HasPrefix(p.Command, "gunicorn: master") {
			return true
		}
		// /usr/bin/python3 /usr/bin/gunicorn …, or python3 -m gunicorn …
		for k, word := range words[:min(len(words), 4)] {
			if programName(word) == "gunicorn" && (k < 2 || words[k-1] == "-m") {
				return true
			}
		}
	case spec.UWSGI:
		return len(words) > 0 && strings.HasPrefix(programName(words[0]), "uwsgi")
	case spec.NoMaster:
	}
	return false
}

func programName(word string) string { return path.Base(word) }

func firstWord(command string) string {
	word, _, _ := strings.Cut(command, " ")
	return word
}

func shown(command string) string {
	if r := []rune(command); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return command
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

// signalProcess tells a gunicorn master one worker more or less, if the pid still
// is the process that was meant.
func signalProcess(pid int, started uint64, by int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if now, err := proc.Start(pid); err != nil || now != started {
		return fmt.Errorf("process %d is another one now", pid)
	}
	signal := unix.SIGTTIN
	if by < 0 {
		signal = unix.SIGTTOU
	}
	return unix.PidfdSendSignal(fd, signal, nil, 0)
}

package node

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"svckit/lib/fleet"
)

// Who returns the name of the user that runs this process; under sudo also who called it.
func Who(getenv func(string) string) string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if caller := getenv("SUDO_USER"); caller != "" && caller != name {
		return name + " (sudo by " + caller + ")"
	}
	return name
}

// Holder describes this process as the holder of a lock.
func Holder(who, machine, command string, now time.Time) (fleet.Holder, error) {
	const proc = "/proc"
	stat, err := readStat(proc, os.Getpid())
	if err != nil {
		return fleet.Holder{}, fmt.Errorf("read start time of this process: %w", err)
	}
	boot, err := bootID(proc)
	if err != nil {
		return fleet.Holder{}, err
	}
	space, err := pidSpace(proc)
	if err != nil {
		return fleet.Holder{}, err
	}
	return fleet.Holder{
		Schema: 1, Who: who, Node: machine, PID: os.Getpid(), Started: stat.started,
		Boot: boot, Space: space, Command: command, Since: now.UTC(),
	}, nil
}

// Alive reports false only when the holder certainly is dead: it ran on this
// machine since its last boot, in the pid namespace of this process, and its
// pid is gone, a zombie, or another process by now. All else counts as alive.
func Alive(h fleet.Holder) bool {
	return alive("/proc", func(pid int) error { return syscall.Kill(pid, 0) }, h)
}

// alive takes a signal-0 function because /proc may hide the processes of other users, which kill does not.
func alive(proc string, kill func(pid int) error, h fleet.Holder) bool {
	boot, err := bootID(proc)
	if err != nil || boot != h.Boot || h.PID <= 0 {
		return true
	}
	if space, err := pidSpace(proc); err != nil || space != h.Space {
		return true
	}
	if errors.Is(kill(h.PID), syscall.ESRCH) {
		return false
	}
	stat, err := readStat(proc, h.PID)
	if err != nil {
		return true
	}
	return stat.started == h.Started && stat.state != "Z" && stat.state != "X"
}

type processStat struct{ state, started string }

// readStat reads state and start time (clock ticks since boot) from /proc/PID/stat, proc(5) fields 3 and 22.
// The second field may hold blanks and parentheses, so counting begins after the last one.
func readStat(proc string, pid int) (processStat, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return processStat{}, err
	}
	line := string(text)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return processStat{}, fmt.Errorf("stat of process %d: %d fields after the command", pid, len(fields))
	}
	return processStat{state: fields[0], started: fields[19]}, nil
}

func bootID(proc string) (string, error) {
	text, err := os.ReadFile(filepath.Join(proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func pidSpace(proc string) (string, error) {
	link, err := os.Readlink(filepath.Join(proc, "self/ns/pid"))
	if err != nil {
		return "", fmt.Errorf("read pid namespace: %w", err)
	}
	return link, nil
}

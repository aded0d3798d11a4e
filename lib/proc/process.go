package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Start is the start time of a process in clock ticks since boot: field 22 of
// /proc/PID/stat, counted behind the name, which may hold anything (proc(5)).
func Start(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return startIn(text)
}

func startIn(stat []byte) (uint64, error) {
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return 0, errors.New("no name in its stat")
	}
	fields := strings.Fields(string(stat[at+1:]))
	if len(fields) < 20 {
		return 0, errors.New("too few fields in its stat")
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Inner is the pid that a process has in the innermost of its namespaces.
func Inner(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(rest)
			if len(fields) > 0 {
				return strconv.Atoi(fields[len(fields)-1])
			}
		}
	}
	return 0, errors.New("no NSpid in its status")
}

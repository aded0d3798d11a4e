package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Stat is what counts here of /proc/PID/stat.
type Stat struct {
	Dead   bool   // a zombie: it has ended and nobody has asked how
	Parent int    //
	Used   uint64 // processor time in clock ticks, without its children's
	Start  uint64 // in the kernel's clock ticks since boot: with the pid it names one process for ever
}

// Start is the start time of a process in clock ticks since boot.
func Start(pid int) (uint64, error) {
	s, err := Of(pid)
	return s.Start, err
}

// Of reads the state of a process of this node.
func Of(pid int) (Stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(text)
}

// ParseStat reads a /proc/PID/stat; fields are counted behind the name, which
// may hold anything (proc(5)).
func ParseStat(text []byte) (Stat, error) {
	at := bytes.LastIndexByte(text, ')')
	if at < 0 {
		return Stat{}, errors.New("no name in its stat")
	}
	fields := strings.Fields(string(text[at+1:]))
	if len(fields) < 20 {
		return Stat{}, errors.New("too few fields in its stat")
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return Stat{}, err
	}
	var ticks [3]uint64 // of user, of system, of the start
	for i, n := range []int{11, 12, 19} {
		if ticks[i], err = strconv.ParseUint(fields[n], 10, 64); err != nil {
			return Stat{}, err
		}
	}
	return Stat{Dead: fields[0] == "Z" || fields[0] == "X", Parent: parent, Used: ticks[0] + ticks[1], Start: ticks[2]}, nil
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

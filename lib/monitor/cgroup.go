package monitor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// cgroups is where this node's cgroups are mounted.
type cgroups struct {
	cpu, memory string // v1: the mount points of these controllers
	unified     string // v2; on a v1 machine it may be there too, without controllers
}

// findCgroups reads /proc/self/mountinfo.
func findCgroups(mountinfo string) (out cgroups) {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		at := left[4]
		switch right[0] {
		case "cgroup2":
			out.unified = at
		case "cgroup":
			for option := range strings.SplitSeq(right[2], ",") {
				switch option {
				case "cpuacct":
					out.cpu = at
				case "memory":
					out.memory = at
				}
			}
		}
	}
	return out
}

// group is the cgroup of one container: the files that tell what it uses.
type group struct {
	usage   string // v1: nanoseconds
	stat    string // v2: cpu.stat
	bytes   string // memory in use, with caches
	caches  string // memory.stat
	evictor string // the line of memory.stat with what the kernel can drop at once
}

// groupOf reads a /proc/PID/cgroup: "4:memory:/docker/…" (v1), "0::/system.slice/…" (v2).
func (c cgroups) groupOf(text string) (group, error) {
	var g group
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || !path.IsAbs(parts[2]) || strings.Contains(parts[2], "/..") {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			switch {
			case controller == "cpuacct" && c.cpu != "":
				g.usage = path.Join(c.cpu, parts[2], "cpuacct.usage")
			case controller == "memory" && c.memory != "":
				g.bytes, g.caches = path.Join(c.memory, parts[2], "memory.usage_in_bytes"), path.Join(c.memory, parts[2], "memory.stat")
				g.evictor = "total_inactive_file "
			case controller == "" && parts[0] == "0" && c.unified != "" && c.memory == "":
				g.stat = path.Join(c.unified, parts[2], "cpu.stat")
				g.bytes, g.caches = path.Join(c.unified, parts[2], "memory.current"), path.Join(c.unified, parts[2], "memory.stat")
				g.evictor = "inactive_file "
			}
		}
	}
	if g.usage == "" && g.stat == "" || g.bytes == "" {
		return group{}, errors.New("no cgroup with cpu and memory")
	}
	return g, nil
}

// cpu is the core-seconds used since the group was made.
func (g group) cpu() (float64, error) {
	if g.usage != "" {
		n, err := numberIn(g.usage, "")
		return n / 1e9, err
	}
	n, err := numberIn(g.stat, "usage_usec ")
	return n / 1e6, err
}

// memory is the bytes in use, without file caches that the kernel can drop at once.
func (g group) memory() (int64, error) {
	all, err := numberIn(g.bytes, "")
	if err != nil {
		return 0, err
	}
	caches, err := numberIn(g.caches, g.evictor)
	return int64(max(all-caches, 0)), err
}

// numberIn reads the number behind a title at the beginning of a line.
func numberIn(file, title string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(title)); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 64)
			return float64(n), err
		}
	}
	return 0, fmt.Errorf("%s has no line %s", file, strings.TrimSpace(title))
}

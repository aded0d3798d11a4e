package master

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"svckit/lib/fleet"
)

// roomy notes what tooBig says. Where there is no room the new code is not even
// tried: the kernel would end the largest process of the container, a worker maybe.
func roomy(f *fleet.Master, i fleet.Instance) bool {
	why := tooBig(f, i)
	f.Unsafe = append(f.Unsafe, why...)
	return len(why) == 0
}

// tooBig says that there is no room for the old workers and the new ones side by
// side, which a reload needs for a while, and fills in how big each worker is.
func tooBig(f *fleet.Master, i fleet.Instance) []string {
	extra, used := int64(0), ownMemory(f.PID)
	for k := range f.Workers {
		f.Workers[k].Memory = ownMemory(f.Workers[k].PID)
		extra += f.Workers[k].Memory
	}
	used += extra
	if f.Chain.Known() && f.Lazy && len(f.Workers) > 0 {
		extra /= int64(len(f.Workers)) // one at a time
	}
	if i.Memory > 0 && used+extra > i.Memory {
		return []string{fmt.Sprintf("its memory limit of %s has no room for %s of old workers and as much of new ones", bytesText(i.Memory), bytesText(extra))}
	}
	if free := availableMemory(); free > 0 && extra > free {
		return []string{fmt.Sprintf("this node has %s of memory available, and new workers need %s beside the old ones", bytesText(free), bytesText(extra))}
	}
	return nil
}

// ownMemory is what a process alone holds: its private pages. 0 when it is not known.
func ownMemory(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	fields := kibibytes(text)
	return fields["Private_Clean"] + fields["Private_Dirty"]
}

func availableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return kibibytes(text)["MemAvailable"]
}

// kibibytes reads lines of the form "Name:   123 kB", as bytes.
func kibibytes(text []byte) map[string]int64 {
	out := map[string]int64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		number, unit, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if ok && err == nil && unit == "kB" && n >= 0 && n < 1<<50 {
			out[name] = n << 10
		}
	}
	return out
}

func bytesText(n int64) string { return fmt.Sprintf("%d MiB", (n+(1<<20)-1)>>20) }

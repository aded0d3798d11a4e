package stage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"svckit/lib/proc"
)

// tick is the kernel's clock tick as it shows it to programs (USER_HZ, proc(5)).
const tick = 10 * time.Millisecond

// Spent is the processor time of a process so far.
func Spent(pid int) (time.Duration, error) {
	s, err := proc.Of(pid)
	return time.Duration(s.Used) * tick, err
}

// Resident is the memory of a process in MiB.
func Resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d tells no VmRSS", pid)
}

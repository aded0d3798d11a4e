package monitor

import (
	"fmt"

	"github.com/prometheus/procfs"

	"svckit/lib/sample"
)

// machine reads what the whole node uses.
func machine(fs procfs.FS) (sample.Node, error) {
	stat, err := fs.Stat()
	if err != nil {
		return sample.Node{}, fmt.Errorf("read cpu of the node: %w", err)
	}
	memory, err := fs.Meminfo()
	if err != nil {
		return sample.Node{}, fmt.Errorf("read memory of the node: %w", err)
	}
	load, err := fs.LoadAvg()
	if err != nil {
		return sample.Node{}, fmt.Errorf("read load of the node: %w", err)
	}
	t := stat.CPUTotal
	out := sample.Node{
		Known: true, CPUs: len(stat.CPU), Load: load.Load1,
		CPU: t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ, // guests are in User; what was stolen is not ours
	}
	if memory.MemTotalBytes != nil && memory.MemAvailableBytes != nil {
		out.Memory = int64(*memory.MemTotalBytes)
		out.MemoryIn = int64(*memory.MemTotalBytes - min(*memory.MemTotalBytes, *memory.MemAvailableBytes))
	}
	return out, nil
}

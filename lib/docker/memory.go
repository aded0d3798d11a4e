package docker

import (
	"context"
	"encoding/json"
	"io"

	"github.com/docker/docker/api/types/container"
)

// maxStats bounds what is read of a container's figures, in bytes.
const maxStats = 1 << 20

// Memory is what a container uses now, in bytes, without what the kernel would give
// back at once.
func (e *Engine) Memory(ctx context.Context, id string) (int64, error) {
	answer, err := e.api.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return 0, e.wrap(err, "memory of container %s", short(id))
	}
	defer answer.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxStats)).Decode(&s); err != nil {
		return 0, e.wrap(err, "memory of container %s", short(id))
	}
	idle := s.MemoryStats.Stats["inactive_file"]
	if s.MemoryStats.Usage < idle {
		return int64(s.MemoryStats.Usage), nil
	}
	return int64(s.MemoryStats.Usage - idle), nil
}

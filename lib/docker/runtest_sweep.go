package docker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"svckit/lib/fleet"
)

// owner is the process that a test container belongs to. A pid means something only
// within one boot of one machine and one pid namespace: two CI containers that share an
// engine both have a process 7.
type owner struct {
	boot, namespace string
	pid             int
	started         string // in the kernel's clock ticks: pids are used again
}

// sweepAge is how old a test container must be that belongs to nobody we can ask after.
const sweepAge = 24 * time.Hour

func thisOwner(pid int) owner {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	return owner{boot: strings.TrimSpace(string(boot)), namespace: namespace, pid: pid, started: startedAt(pid)}
}

// startedAt reads field 22 of /proc/PID/stat; "" when there is no such process.
func startedAt(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name before it may hold blanks
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

func (o owner) String() string {
	return fmt.Sprintf("%s %s %d %s", o.boot, o.namespace, o.pid, o.started)
}

func parseOwner(text string) (o owner, ok bool) {
	n, err := fmt.Sscanf(text, "%s %s %d %s", &o.boot, &o.namespace, &o.pid, &o.started)
	return o, err == nil && n == 4
}

// leftBehind decides whether a test container has lost its owner: its process is gone,
// where we are able to see that, or it is older than a day.
func leftBehind(label string, created, now time.Time, here owner, started func(pid int) string) bool {
	if now.Sub(created) > sweepAge {
		return true
	}
	o, ok := parseOwner(label)
	if !ok || o.boot != here.boot || o.namespace != here.namespace || here.boot == "" || here.namespace == "" {
		return false
	}
	return started(o.pid) != o.started
}

// sweepTests removes test containers that killed runs left behind.
func (e *Engine) sweepTests(ctx context.Context, now time.Time) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", fleet.LabelKind+"=test"))})
	if err != nil {
		e.log.Debug("list test containers", "error", err)
		return
	}
	here := thisOwner(os.Getpid())
	for _, c := range list {
		if leftBehind(c.Labels[LabelOwner], time.Unix(c.Created, 0), now, here, startedAt) {
			e.log.Info("remove test container of a run that is gone", "id", c.ID[:min(12, len(c.ID))])
			e.removeTest(ctx, c.ID)
		}
	}
}

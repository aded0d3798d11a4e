package code

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// target is where containers see the folder of their service.
const target = "/run/svckit/code"

// Standing names the versions that processes stand in: their working folder is
// there, whatever current says by now. pids are those of the node. Prune must keep
// them: a gunicorn master whose folder is gone ends when it is told to reload, and
// a uWSGI one comes back without a folder. Processes that ended count for nothing.
func Standing(pids []int) []string { return standing("/proc", pids) }

func standing(proc string, pids []int) []string {
	var out []string
	for _, pid := range pids {
		at, err := os.Readlink(proc + "/" + strconv.Itoa(pid) + "/cwd")
		rest, ok := strings.CutPrefix(at, target+"/"+versionsDir+"/")
		if err != nil || !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if validGeneration(name) == nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

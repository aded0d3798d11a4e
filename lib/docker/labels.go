package docker

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"svckit/lib/fleet"
)

// Bounds of what is believed of a label: anybody who may start containers can write one.
const (
	maxLabel = 256 << 10
	maxCores = 4096
	maxOwner = 4096
)

// instanceOf reads an inspected container. A label that makes no sense leaves its
// field empty and a line in Bad.
func instanceOf(raw container.InspectResponse) fleet.Instance {
	var in fleet.Instance
	if raw.ContainerJSONBase == nil {
		in.Bad = []string{"the engine gave no container"}
		return in
	}
	in.ID, in.Name = raw.ID, strings.TrimPrefix(raw.Name, "/")
	in.CreatedAt = parseTime(raw.Created)
	in.Restarts = raw.RestartCount
	if s := raw.State; s != nil {
		in.State, in.ExitCode, in.OOMKilled = fleet.State(s.Status), s.ExitCode, s.OOMKilled
		in.StartedAt = parseTime(s.StartedAt)
		in.PID = s.Pid
	}
	if raw.Path != "" {
		in.Command = append([]string{raw.Path}, raw.Args...)
	}
	if h := raw.HostConfig; h != nil {
		in.Memory = h.Memory
		in.Restart = string(h.RestartPolicy.Name)
		in.Network = string(h.NetworkMode)
		in.Allowed = allowed(h.CpusetCpus)
	}
	l := labels{}
	var env []string
	if raw.Config != nil {
		l.all, env = raw.Config.Labels, raw.Config.Env
		in.StopSignal = raw.Config.StopSignal
	}
	l.read(&in, env)
	if !predefined(in.Network) && raw.NetworkSettings != nil {
		in.Address = addressOn(raw.NetworkSettings, in.Network)
	}
	in.Bad = l.bad
	return in
}

// addressOn is the container's own address on a network, "" when it has none (yet).
func addressOn(s *container.NetworkSettings, name string) string {
	if n := s.Networks[name]; n != nil {
		return n.IPAddress
	}
	if len(s.Networks) == 1 { // the network was given by its id
		for _, n := range s.Networks {
			if n != nil {
				return n.IPAddress
			}
		}
	}
	return ""
}

// labels reads labels and collects what is wrong with them.
type labels struct {
	all map[string]string
	bad []string
}

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	releasePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	imagePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$`)
	addressPattern = regexp.MustCompile(`^[A-Za-z0-9.:-]{1,255}$`)
	runPattern     = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]{0,63}$`)
	prefixPattern  = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,255}$`)
)

func (l *labels) read(in *fleet.Instance, env []string) {
	in.App = l.match(fleet.LabelApp, namePattern)
	in.Service = l.match(fleet.LabelService, namePattern)
	in.Release = l.match(fleet.LabelRelease, releasePattern)
	in.Image = l.match(fleet.LabelImage, imagePattern)
	in.Prefix = l.match(fleet.LabelPrefix, prefixPattern)
	in.Address = l.match(fleet.LabelAddress, addressPattern)
	in.Shape = l.text(fleet.LabelShape)
	in.Env = l.env(env)
	in.Port = l.whole(fleet.LabelPort, 1, 65535)
	in.CPU = l.cpu()
	in.Cores = l.cores()
	in.Exclusive = l.whole(fleet.LabelExclusive, 0, len(in.Cores))
	in.Dir = l.dir()
	in.Owner = l.owner()
	in.Run = l.match(fleet.LabelRun, runPattern)
}

func (l *labels) complain(key, want string) {
	l.bad = append(l.bad, fmt.Sprintf("label %s: not %s", key, want))
}

// text is a label's value, "" when it is absent or too long.
func (l *labels) text(key string) string {
	v := l.all[key]
	if len(v) > maxLabel {
		l.complain(key, fmt.Sprintf("at most %d bytes", maxLabel))
		return ""
	}
	return v
}

func (l *labels) match(key string, pattern *regexp.Regexp) string {
	v := l.text(key)
	if v != "" && !pattern.MatchString(v) {
		l.complain(key, "of the form "+pattern.String())
		return ""
	}
	return v
}

func (l *labels) whole(key string, low, high int) int {
	v := l.text(key)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		l.complain(key, fmt.Sprintf("a number from %d to %d", low, high))
		return 0
	}
	return n
}

func (l *labels) cpu() float64 {
	v := l.text(fleet.LabelCPU)
	if v == "" {
		return 0
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > maxCores {
		l.complain(fleet.LabelCPU, "a number of cores")
		return 0
	}
	return f
}

// cores reads "1,0" in its own order, which tells exclusive cores from the fragment
// core; nil when the label is absent or wrong.
func (l *labels) cores() []int {
	v := l.text(fleet.LabelCores)
	if v == "" {
		return nil
	}
	var out []int
	for word := range strings.SplitSeq(v, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n >= maxCores || slices.Contains(out, n) {
			l.complain(fleet.LabelCores, "a list of different cores, e.g. 0,1")
			return nil
		}
		out = append(out, n)
	}
	return out
}

// allowed reads the engine's cpuset, which others may have written with ranges:
// "0-2,5". It is sorted; nil for "", and for what cannot be read.
func allowed(text string) []int {
	var out []int
	for word := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(word, "-")
		if !ranged {
			high = low
		}
		from, err := strconv.Atoi(strings.TrimSpace(low))
		to, err2 := strconv.Atoi(strings.TrimSpace(high))
		if err != nil || err2 != nil || from < 0 || to >= maxCores || from > to {
			return nil
		}
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// owner reads the process that a container ends with; nil when there is none.
func (l *labels) owner() *fleet.Holder {
	v := l.text(fleet.LabelOwner)
	if v == "" {
		return nil
	}
	var h fleet.Holder
	if len(v) > maxOwner || json.Unmarshal([]byte(v), &h) != nil || h.PID <= 0 {
		l.complain(fleet.LabelOwner, "a process as JSON")
		return nil
	}
	return &h
}

func (l *labels) dir() string {
	v := l.text(fleet.LabelDir)
	if v != "" && (!path.IsAbs(v) || path.Clean(v) != v || len(v) > 4095) {
		l.complain(fleet.LabelDir, "a clean absolute path")
		return ""
	}
	return v
}

// env picks the variables that svc-run set out of the container's whole environment.
func (l *labels) env(all []string) map[string]string {
	out := map[string]string{}
	names := l.text(fleet.LabelEnv)
	if names == "" {
		return out
	}
	have := make(map[string]string, len(all))
	for _, pair := range all {
		name, value, _ := strings.Cut(pair, "=")
		have[name] = value
	}
	for name := range strings.SplitSeq(names, ",") {
		value, ok := have[name]
		if !ok {
			l.complain(fleet.LabelEnv, "only names of variables that the container has")
			continue
		}
		out[name] = value
	}
	return out
}

// parseTime reads the engine's time, the zero time for "never".
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return time.Time{}
	}
	return t.UTC()
}

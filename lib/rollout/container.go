package rollout

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Seat is what a new container is given of the node.
type Seat struct {
	Port      int     // host port; 0: none
	Dir       string  // host folder of its files and secrets; "" when it has none
	Cores     []int   // cpuset; nil: every core
	Bound     bool    // Cores go into the books: some or all of them are its own
	Exclusive int     // how many of Cores, the first ones, are its own alone
	Quota     float64 // cores; 0: none
}

// Where a container finds what is delivered to it.
const (
	SecretsTarget = "/run/secrets"
	FilesTarget   = "/run/svckit/files"
	CodeTarget    = "/run/svckit/code" // versions of code, see package code
)

// Container is everything the engine must know to create one instance.
// Links maps each rendered file's place in the container to the name it is delivered under.
//
// Code on a volume is a link too, in the place of whatever the image has there:
// what is current is changed on the node, by one rename.
func Container(w Wanted, n Node, name string, seat Seat, links map[string]string) fleet.Container {
	s := w.Service
	c := fleet.Container{
		Name: name, Image: w.Image, Command: s.Command, Env: w.Env, DNS: n.DNS,
		Network: string(s.Network.Mode), StopSignal: "SIG" + s.Stop.Signal, StopWait: s.Stop.Timeout,
		Restart: restart(s), CPU: seat.Quota, Cores: seat.Cores, Memory: s.Resources.Memory,
		Labels: labels(w, n, seat),
	}
	switch s.Network.Mode {
	case spec.Macvlan:
		c.Network = s.Network.Name
	case spec.Bridge:
		if s.Port > 0 {
			c.Ports = []fleet.PortMap{{Host: n.Address, HostPort: seat.Port, Container: s.Port}}
		}
	case spec.Host:
		c.DNS = nil // a container on the host's network uses the host's resolver
	}
	for _, v := range s.Volumes {
		c.Mounts = append(c.Mounts, fleet.Mount{Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly})
	}
	if w.Secrets {
		c.Mounts = append(c.Mounts, fleet.Mount{Source: path.Join(seat.Dir, "secrets"), Target: SecretsTarget, ReadOnly: true})
	}
	if len(w.Files) > 0 {
		c.Mounts = append(c.Mounts, fleet.Mount{Source: path.Join(seat.Dir, "files"), Target: FilesTarget, ReadOnly: true})
		c.Links = maps.Clone(links)
	}
	if s.Code.Mount != "" {
		c.Mounts = append(c.Mounts, fleet.Mount{Source: path.Join(n.CodeDir, w.App, s.Key), Target: CodeTarget, ReadOnly: true})
		if c.Links == nil {
			c.Links = map[string]string{}
		}
		c.Links[s.Code.Mount], c.Over = path.Join(CodeTarget, "current"), s.Code.Mount
	}
	return c
}

// restart is the policy of the engine. What must run once, or no more than so often,
// is started by who knows whether it may: an engine that comes up knows nothing.
func restart(s spec.Service) string {
	if s.Kind == spec.Cron || s.Scale.Exactly {
		return "no"
	}
	return "always"
}

func labels(w Wanted, n Node, seat Seat) map[string]string {
	s := w.Service
	l := map[string]string{
		fleet.LabelKind: "service", fleet.LabelApp: w.App, fleet.LabelService: s.Key,
		fleet.LabelRelease: w.Release, fleet.LabelImage: w.Image, fleet.LabelPrefix: n.Prefix,
		fleet.LabelShape: spec.Shape(s),
		fleet.LabelEnv:   strings.Join(slices.Sorted(maps.Keys(w.Env)), ","),
	}
	if s.Network.Mode != spec.Macvlan {
		l[fleet.LabelAddress] = n.Address
	}
	switch {
	case s.Network.Mode == spec.Bridge && seat.Port > 0:
		l[fleet.LabelPort] = strconv.Itoa(seat.Port)
	case s.Port > 0:
		l[fleet.LabelPort] = strconv.Itoa(s.Port)
	}
	if s.Resources.CPU > 0 {
		l[fleet.LabelCPU] = strconv.FormatFloat(s.Resources.CPU, 'f', -1, 64)
	}
	if seat.Bound {
		l[fleet.LabelExclusive] = strconv.Itoa(seat.Exclusive)
		l[fleet.LabelCores] = joinInts(seat.Cores)
	}
	if seat.Dir != "" {
		l[fleet.LabelDir] = seat.Dir
	}
	if w.Run != "" {
		l[fleet.LabelRun] = w.Run
	}
	return l
}

func joinInts(list []int) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = strconv.Itoa(v)
	}
	return strings.Join(out, ",")
}

// Mountable refuses paths of the host that this node does not allow. A spec out
// of KV is a way to run code, so the node's own settings decide what it may see.
func Mountable(s spec.Service, allowed []string) error {
	for _, v := range s.Volumes {
		if !strings.HasPrefix(v.Source, "/") || under(v.Source, allowed) {
			continue
		}
		return fault.WithHint(
			fault.New(fault.Refused, "mount %s into %s: this node does not allow that path", v.Source, v.Target),
			"add %s to host_paths in the node's settings, or use a named volume", v.Source)
	}
	return nil
}

func under(p string, allowed []string) bool {
	p = path.Clean(p)
	for _, a := range allowed {
		a = path.Clean(a)
		if p == a || strings.HasPrefix(p, strings.TrimRight(a, "/")+"/") {
			return true
		}
	}
	return false
}

// ChoosePort picks a host port of the range that nobody uses. It starts at a
// place that depends on the name, so that a port that was just given up is not
// the next one given out: a client with an old DNS answer must not meet another service.
func ChoosePort(first, last int, used map[int]bool, name string) (int, error) {
	size := last - first + 1
	if first < 1 || last > 65535 || size < 1 {
		return 0, fault.New(fault.Invalid, "port range %d-%d: expected 1 to 65535, first to last", first, last)
	}
	at := int(spread(name) % uint32(size))
	for k := range size {
		if port := first + (at+k)%size; !used[port] {
			return port, nil
		}
	}
	return 0, fault.WithHint(fault.New(fault.Failed, "choose a port: all %d ports of %d-%d are in use", size, first, last),
		"widen the node's port range (SVC_PORTS)")
}

// spread is FNV-1a, 32 bits.
func spread(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// Used returns every host port that containers of ours hold.
func Used(all []fleet.Instance) map[int]bool {
	used := map[int]bool{}
	for _, i := range all {
		if i.Port > 0 {
			used[i.Port] = true
		}
	}
	return used
}

// FreshNames returns n container names from random digits, none of them in use.
func FreshNames(app, service string, n int, taken []fleet.Instance, random func() uint32) []string {
	used := map[string]bool{}
	for _, i := range taken {
		used[i.Name] = true
	}
	names := make([]string, 0, n)
	for len(names) < n {
		name := fmt.Sprintf("%s-%s-%06x", app, service, random()&0xffffff)
		if !used[name] {
			used[name] = true
			names = append(names, name)
		}
	}
	return names
}

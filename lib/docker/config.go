package docker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"

	"svckit/lib/fleet"
)

// The rotation of a json-file log, which otherwise grows without end.
const (
	logDriver = "json-file"
	logSize   = "10m"
	logFiles  = "3"
)

// predefined reports whether the engine brings that network itself.
func predefined(network string) bool { return network == "bridge" || network == "host" }

// logConfig is the rotation for the json-file driver, and nothing when the node's
// engine has another default driver: that was somebody's decision.
func (e *Engine) logConfig(ctx context.Context) (container.LogConfig, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return container.LogConfig{}, e.wrap(err, "ask docker for its log driver")
	}
	if info.LoggingDriver != logDriver {
		return container.LogConfig{}, nil
	}
	return container.LogConfig{Type: logDriver, Config: map[string]string{"max-size": logSize, "max-file": logFiles}}, nil
}

// validate refuses what the engine would take and do something else with, and
// what it would refuse with a value of the environment in its message.
func validate(c fleet.Container) error {
	if c.Name == "" || c.Image == "" || c.Network == "" {
		return errors.New("name, image and network must be given")
	}
	if c.StopSignal == "" {
		return errors.New("a stop signal must be given: without one a reload by signal ends the restart policy")
	}
	switch c.Restart {
	case "always", "on-failure", "no":
	default:
		return fmt.Errorf("restart policy %q is not always, on-failure or no", c.Restart)
	}
	for name := range c.Env {
		if name == "" || strings.ContainsAny(name, "=,\x00") || strings.Contains(c.Env[name], "\x00") {
			return fmt.Errorf("environment variable %q cannot be set", oneLine(name))
		}
	}
	for _, m := range c.Mounts {
		if !path.IsAbs(m.Target) || m.Source == "" {
			return fmt.Errorf("mount %q at %q: the target is not an absolute path", m.Source, m.Target)
		}
	}
	for _, p := range c.Ports {
		if p.Container < 1 || p.Container > 65535 || p.HostPort < 1 || p.HostPort > 65535 {
			return fmt.Errorf("port %d:%d is not 1-65535", p.HostPort, p.Container)
		}
		if _, err := netip.ParseAddr(p.Host); p.Host != "" && err != nil {
			return fmt.Errorf("port %d: host address %q is not an IP address", p.HostPort, p.Host)
		}
	}
	if len(c.Ports) > 0 && c.Network != "bridge" {
		return fmt.Errorf("ports cannot be published on network %s", c.Network)
	}
	return validLinks(c)
}

// configOf is the engine's form of c, without the log driver.
func configOf(c fleet.Container) (*container.Config, *container.HostConfig) {
	exposed, bindings := portsOf(c.Ports)
	useInit := true
	config := &container.Config{
		Image: c.Image, Cmd: c.Command, Env: envOf(c.Env), Labels: labelsOf(c),
		ExposedPorts: exposed, StopSignal: c.StopSignal,
	}
	if c.StopWait > 0 {
		seconds := int((c.StopWait + time.Second - 1) / time.Second)
		config.StopTimeout = &seconds
	}
	host := &container.HostConfig{
		NetworkMode:   container.NetworkMode(c.Network),
		PortBindings:  bindings,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(c.Restart)},
		Init:          &useInit,
		Mounts:        mountsOf(c.Mounts),
		DNS:           c.DNS,
		Resources: container.Resources{
			NanoCPUs:   int64(math.Round(c.CPU*100)) * 1e7,
			CpusetCpus: coreList(c.Cores),
			Memory:     c.Memory,
			MemorySwap: c.Memory, // memory and swap together: no swap beyond the limit
		},
	}
	return config, host
}

func labelsOf(c fleet.Container) map[string]string {
	labels := make(map[string]string, len(c.Labels)+1)
	for k, v := range c.Labels {
		labels[k] = v
	}
	if _, ok := labels[fleet.LabelEnv]; !ok {
		labels[fleet.LabelEnv] = strings.Join(sortedKeys(c.Env), ",")
	}
	return labels
}

func envOf(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range sortedKeys(env) {
		out = append(out, k+"="+env[k])
	}
	return out
}

func portsOf(ports []fleet.PortMap) (nat.PortSet, nat.PortMap) {
	exposed, bindings := nat.PortSet{}, nat.PortMap{}
	for _, p := range ports {
		key := nat.Port(strconv.Itoa(p.Container) + "/tcp")
		exposed[key] = struct{}{}
		bindings[key] = append(bindings[key], nat.PortBinding{HostIP: p.Host, HostPort: strconv.Itoa(p.HostPort)})
	}
	return exposed, bindings
}

// mountsOf uses mounts, not binds: a bind whose source is missing is then an
// error, where a bind would make an empty folder that belongs to root.
func mountsOf(mounts []fleet.Mount) []mount.Mount {
	out := make([]mount.Mount, 0, len(mounts))
	for _, m := range mounts {
		kind := mount.TypeVolume
		if path.IsAbs(m.Source) {
			kind = mount.TypeBind
		}
		out = append(out, mount.Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return out
}

// coreList is the kernel's form of a set of cores, "" for none.
func coreList(cores []int) string {
	cores = slices.Sorted(slices.Values(cores))
	words := make([]string, len(cores))
	for i, c := range cores {
		words[i] = strconv.Itoa(c)
	}
	return strings.Join(words, ",")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

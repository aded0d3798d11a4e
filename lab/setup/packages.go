package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// need is a program and the Debian packages that bring it and what it cannot do
// without. Programs count, not packages: an engine from Docker's own repository
// is as good as Debian's.
type need struct{ program, pkgs string }

func needs() []need {
	return []need{
		{"git", "git"},
		{"dockerd", "docker.io apparmor"}, // where the kernel has AppArmor on, no container starts without its parser
		{"containerd", "containerd"},
		{"runc", "runc"},
		{"ip", "iproute2"},
		{"nsenter", "util-linux"},
		{"iptables", "iptables"},
		{"mmdebstrap", "mmdebstrap"},
		{"gcc", "gcc libc6-dev"}, // the race detector
		{"curl", "curl"},
		{"ps", "procps"}, // the engine lists a container's processes with it
		{"dnsperf", "dnsperf"},
		{"dnsmasq", "dnsmasq-base"},        // without a service of its own
		{"redis-check-rdb", "redis-tools"}, // Redis itself, without a service of its own: see lab.RedisServer
		{"systemd-analyze", "systemd"},     // units are verified; it need not run
		{"zsh", "zsh"},                     // completion is tried in the shells themselves
		{"fish", "fish"},
		{"docker-compose", "docker-compose"}, // the benchmark of reloads
		{"wrk", "wrk"},                       // load on services that are reloaded
		{"hey", "hey"},                       // the same at a rate that does not depend on the answers
		{"jq", "jq"},                         // the demo of the autoscaler reads results with it
		{"rabbitmq-server", "rabbitmq-server"},
		{"ssh-keygen", "openssh-client"},
		{"ansible-playbook", "ansible-core"}, // the collection in ansible/
		{"ansible-lint", "ansible-lint"},
	}
}

// missingPackages asks look for each program and lists the packages to install, sorted.
func missingPackages(look func(program string) bool) []string {
	var pkgs []string
	for _, n := range needs() {
		if !look(n.program) {
			pkgs = append(pkgs, strings.Fields(n.pkgs)...)
		}
	}
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}

// findProgram returns the file of a program, nil when there is none. Root's PATH may lack the sbin folders after `su`.
func findProgram(name string) os.FileInfo {
	for _, dir := range append(strings.Split(os.Getenv("PATH"), ":"), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(dir + "/" + name); err == nil && !info.IsDir() {
			return info
		}
	}
	return nil
}

func installPackages(ctx context.Context, say *Teller) error {
	pkgs := missingPackages(func(program string) bool { return findProgram(program) != nil })
	if len(pkgs) == 0 {
		return nil
	}
	list := strings.Join(pkgs, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install %s: this is not a Debian machine (no apt-get): install them by hand", list)
	}
	return say.Step(ctx, "install from Debian: "+list, "1 min", func() error {
		// One of the machine's other package sources may be out of order: the installation tells.
		stale := runQuietly(exec.CommandContext(ctx, "apt-get", "-qq", "update"))
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq", "install", "--yes", "--no-install-recommends"}, pkgs...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if err := runQuietly(cmd); err != nil {
			return errors.Join(err, stale)
		}
		return nil
	})
}

package ground

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed boot.sh
var bootScript string

// joinScript puts the process into the place's control group of each hierarchy, GROUP, and goes on as its arguments.
const joinScript = `
for dir in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
	[ ! -L "${dir%/}" ] && [ -e "$dir/cgroup.procs" ] || continue
	mkdir -p "$dir$GROUP"
	if [ -e "$dir$GROUP/cgroup.clone_children" ] && [ -e "$dir$GROUP/cpuset.cpus" ]; then
		cat "$dir/cpuset.cpus" >"$dir$GROUP/cpuset.cpus"
		cat "$dir/cpuset.mems" >"$dir$GROUP/cpuset.mems"
		echo 1 >"$dir$GROUP/cgroup.clone_children"
	fi
	echo $$ >"$dir$GROUP/cgroup.procs"
done
exec "$@"`

// machine is a host with a systemd of its own as its first process, and a file system, processes and a host name of its own.
type machine struct {
	daemon *daemon
	pid    int // of its first process
}

// boot starts the host's systemd and waits until its sshd answers. All of its processes end with this one.
func (h *Host) boot(ctx context.Context) error {
	name := filepath.Base(h.Namespace())
	boot := []string{
		"sh", "-euc", joinScript, "join", "unshare", "--cgroup", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
		"sh", "-euc", bootScript, "boot",
	}
	env := []string{"ROOT=" + h.fleet.parts.Machine, "TOP=" + h.Data(), "NAME=" + h.Name, "SSH=" + h.fleet.sshDir(), "GROUP=" + name}
	d, err := startDaemon(ctx, h.Place, "env", h.greets, append(env, boot...)...)
	if err != nil {
		return err
	}
	pid, err := firstChild(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	h.machine = &machine{daemon: d, pid: pid}
	return os.WriteFile(h.pidFile(), []byte(strconv.Itoa(pid)), 0o644)
}

// pidFile tells other processes which is the first process of the machine.
func (p Place) pidFile() string { return p.Run() + "/init.pid" }

// firstChild is the process that a process has started.
func firstChild(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, fmt.Errorf("find first process: %w", err)
	}
	var child int
	if _, err := fmt.Sscan(string(text), &child); err != nil {
		return 0, errors.New("find first process: there is none")
	}
	return child, nil
}

// greets is nil when the host's sshd says who it is.
func (h *Host) greets(ctx context.Context) error {
	conn, err := h.Place.Dial(ctx, "tcp", h.Addr+":22")
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	greeting := make([]byte, 4)
	if _, err := conn.Read(greeting); err != nil || string(greeting) != "SSH-" {
		return fmt.Errorf("ssh %s: it says %q: %w", h.Name, greeting, errors.Join(err, net.ErrClosed))
	}
	return nil
}

// sshDir holds the keys of a fleet and how ssh is told of them.
func (f *Fleet) sshDir() string { return f.wire.Run() + "/ssh" }

// SSHConfig is the file for `ssh -F` that knows the hosts by their names. Addresses are reached from the lab's network.
func (f *Fleet) SSHConfig() string { return f.sshDir() + "/config" }

// writeKeys makes one key for the fleet's user and one for all of its hosts.
func (f *Fleet) writeKeys(ctx context.Context) error {
	dir := f.sshDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	for _, key := range []string{"id", "host_key"} {
		out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", dir+"/"+key).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make keys: %w: %s", err, out)
		}
	}
	public, err := os.ReadFile(dir + "/host_key.pub")
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	var config, known strings.Builder
	hosts := "127.0.0.1 localhost\n"
	for _, h := range f.All() {
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n", h.Name, h.Addr)
		fmt.Fprintf(&known, "%s,%s %s", h.Name, h.Addr, public)
		hosts += h.Addr + " " + h.Name + "\n"
	}
	fmt.Fprintf(&config, "Host *\n  User root\n  IdentityFile %s/id\n  IdentitiesOnly yes\n  UserKnownHostsFile %s/known\n  StrictHostKeyChecking yes\n  PasswordAuthentication no\n", dir, dir)
	for name, text := range map[string]string{"config": config.String(), "known": known.String(), "hosts": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("make keys: %w", err)
		}
	}
	return nil
}

// Inside is the prefix that runs a program on the host: in its network, and on a machine among its files and processes.
func (h *Host) Inside() []string {
	if h.machine == nil {
		return h.Place.Inside()
	}
	return []string{"nsenter", "--target=" + strconv.Itoa(h.machine.pid), "--all"}
}

// File is where a file of the host is for this process.
func (h *Host) File(path string) string {
	if h.machine == nil {
		return path
	}
	return fmt.Sprintf("/proc/%d/root%s", h.machine.pid, path)
}

// Engine is the address of the host's Docker engine, for this process.
func (h *Host) Engine() string {
	if h.machine == nil {
		return h.Host()
	}
	return "unix://" + h.File("/run/docker.sock")
}

package setup

import (
	"context"
	"os"
	"os/exec"
)

// machineRecipe makes the folder that machines of a lab boot (ground.Datacenter.Machines): Debian as it is after its
// installation, with the packages on disk that our roles ask for, and not running.
func machineRecipe() []string {
	return []string{
		"mmdebstrap", "--variant=minbase", "--quiet", "--format=directory",
		"--include=systemd,systemd-sysv,dbus,openssh-server,python3-minimal,python3-apt,docker.io,iptables,iproute2,ca-certificates,procps,curl",
		"--aptopt=Acquire::Languages \"none\"",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		// Machines share a kernel, whose settings, modules and file systems are none of theirs, and have no terminal.
		"--customize-hook=chroot \"$1\" systemctl --quiet mask systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service " +
			"sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount " +
			"getty.target console-getty.service systemd-logind.service systemd-update-utmp.service e2scrub_reap.service modprobe@.service " +
			"apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer",
		"--customize-hook=chroot \"$1\" systemctl --quiet disable docker.service docker.socket containerd.service",
		"--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_* \"$1\"/etc/machine-id",
		// The key is the fleet's; it is there when a machine boots.
		"--customize-hook=printf 'HostKey /etc/ssh/lab_host_key\\nPasswordAuthentication no\\nUseDNS no\\n' >\"$1\"/etc/ssh/sshd_config.d/lab.conf",
		"--customize-hook=printf '# a machine of a lab knows no DNS until its roles give it one\\n' >\"$1\"/etc/resolv.conf",
		suite,
	}
}

func makeMachine(ctx context.Context, work, out string) error {
	return debootstrap(ctx, machineRecipe(), work, out)
}

// debootstrap runs a recipe; SVCKIT_MIRROR names another Debian mirror.
func debootstrap(ctx context.Context, recipe []string, work, out string) error {
	recipe = append(recipe, out)
	if mirror := os.Getenv("SVCKIT_MIRROR"); mirror != "" {
		recipe = append(recipe, mirror)
	}
	cmd := exec.CommandContext(ctx, recipe[0], recipe[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+work)
	return runQuietly(cmd)
}

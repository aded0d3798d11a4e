# Becomes systemd, the first process of a machine of the lab. Run in namespaces
# of its own (mount, pid, uts, ipc, cgroup, and the network of its place), so
# that all of it is gone when that process is. The caller says what is what:
#
#   ROOT   folder with a Debian, read only by everybody
#   TOP    folder of this machine alone: what it writes, and Docker's data
#   NAME   of the machine
#   SSH    folder with id.pub, host_key and hosts
set -eu
m=$TOP/merged
mkdir -p "$TOP/upper" "$TOP/work" "$TOP/docker" "$m"
mount --make-rprivate /
mount -t overlay -o "lowerdir=$ROOT,upperdir=$TOP/upper,workdir=$TOP/work" machine "$m"

mount -t proc -o nosuid,nodev,noexec proc "$m/proc"
mount --bind "$m/proc/sys" "$m/proc/sys" # the kernel's settings are everybody's …
mount -o remount,bind,ro "$m/proc/sys"
mount --bind "$m/proc/sys/net" "$m/proc/sys/net" # … except those of its own network
mount -o remount,bind,rw "$m/proc/sys/net"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$m/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$m/dev"
mkdir "$m/dev/pts" "$m/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$m/dev/pts"
ln -s pts/ptmx "$m/dev/ptmx"
n=3
for name in null - zero - full random urandom; do # character devices 1:3, 1:5, 1:7, 1:8, 1:9
	[ "$name" = - ] || mknod -m 666 "$m/dev/$name" c 1 $n
	n=$((n + 1))
done
mknod -m 666 "$m/dev/tty" c 5 0
ln -s /proc/self/fd "$m/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%%:*}" "$m/dev/${n#*:}"; done
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$m/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$m/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$m/tmp"

# Control groups as the machine beneath has them, seen from the machine's own downwards.
groups=$m/sys/fs/cgroup
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
	mount -t cgroup2 cgroup2 "$groups"
else
	mount -t tmpfs -o mode=755,nosuid,nodev,noexec cgroups "$groups"
	for dir in /sys/fs/cgroup/*/; do
		c=$(basename "$dir")
		[ ! -L "${dir%/}" ] && [ -e "$dir/cgroup.procs" ] || continue
		mkdir "$groups/$c"
		case $c in
		unified) mount -t cgroup2 cgroup2 "$groups/$c" ;;
		systemd) mount -t cgroup -o none,name=systemd cgroup "$groups/$c" ;;
		*) mount -t cgroup -o "$c" cgroup "$groups/$c" ;;
		esac
	done
fi

# An engine keeps nothing on an overlay; what lies in its folder already is seen.
mkdir -p "$m/var/lib/docker"
mount --rbind "$TOP/docker" "$m/var/lib/docker"

hostname "$NAME"
echo "$NAME" >"$m/etc/hostname"
cp "$SSH/hosts" "$m/etc/hosts"
install -D -m 600 "$SSH/id.pub" "$m/root/.ssh/authorized_keys"
install -m 600 "$SSH/host_key" "$m/etc/ssh/lab_host_key"
[ -s "$m/etc/machine-id" ] && [ "$(cat "$m/etc/machine-id")" != uninitialized ] ||
	tr -d - </proc/sys/kernel/random/uuid >"$m/etc/machine-id"

cd "$m"
mkdir -p .old
pivot_root . .old
umount -l .old
rmdir .old
mount --make-rshared /
exec env -i container=svckit-lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
	/sbin/init --show-status=0 </dev/null

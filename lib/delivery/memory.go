package delivery

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"svckit/lib/fault"
)

// memoryLimit bounds the tmpfs that Open mounts.
const memoryLimit = "256m"

// ensureMemory makes run a folder whose content is never on a disk.
func ensureMemory(run string) error {
	if err := os.MkdirAll(run, runMode); err != nil {
		return fault.WithHint(fmt.Errorf("make run folder: %w", err), "run as root, or set SVC_RUN_DIR to a folder of yours on a tmpfs")
	}
	ok, err := inMemory(run)
	if err != nil || ok {
		return err
	}
	if err := mountTmpfs(run); err != nil {
		return fault.WithHint(fault.New(fault.Refused, "run folder %s is not on a tmpfs, where secrets must be: mount one: %w", run, err),
			"as root: mount -t tmpfs -o mode=0711,size=%s svckit %s · or set SVC_RUN_DIR to a folder on a tmpfs", memoryLimit, run)
	}
	return nil
}

func inMemory(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC, nil
}

// mountTmpfs mounts a tmpfs that is not swapped out where the kernel can do that (Linux 6.4).
func mountTmpfs(dir string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	options := fmt.Sprintf("mode=%#o,size=%s", runMode, memoryLimit)
	err := unix.Mount("svckit", dir, "tmpfs", flags, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("svckit", dir, "tmpfs", flags, options)
	}
	return err
}

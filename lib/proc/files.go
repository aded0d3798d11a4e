// Package proc reads the processes of this node by pid: when one began, what it
// is called in its own namespace, and the files that it sees. What a process in a
// container holds is taken as untrusted: no link leads out of its root, and
// nothing is read without a bound.
package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Open opens a path as a process of a container sees it. Links are followed as
// if the container's root were ours: none leads out of it (openat2(2), RESOLVE_IN_ROOT).
func Open(pid int, name string, flags int) (*os.File, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(root) }()
	flags |= unix.O_CLOEXEC
	if flags&unix.O_PATH == 0 { // with it, openat2 takes no flag that says how to open
		flags |= unix.O_NOCTTY
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, name, &how)
	if err != nil {
		return nil, fmt.Errorf("open %s in the container: %w", shown(name), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

const maxConfig = 1 << 20

// Read reads a regular file of a container.
func Read(pid int, name string) ([]byte, error) {
	f, err := Open(pid, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s in the container: expected a file of at most %d KiB", shown(name), maxConfig>>10)
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

// WriteFIFO writes to a named pipe that somebody in the container reads.
func WriteFIFO(pid int, name, text string) error {
	f, err := Open(pid, name, unix.O_WRONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("nobody reads %s in the container", shown(name))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return fmt.Errorf("%s in the container is no named pipe", shown(name))
	}
	_, err = f.WriteString(text)
	return err
}

// Touch gives a file of a container the current time, as touch does.
func Touch(pid int, name string, now time.Time) error {
	f, err := Open(pid, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.Chtimes(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), now, now)
}

// shown bounds a name that came out of a container.
func shown(name string) string {
	if r := []rune(name); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return name
}

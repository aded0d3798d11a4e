package monitor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"svckit/lib/proc"
)

// Bounds of what is read of one container.
const (
	mostMarks = 4096
	tornReads = 4
)

// place is a container as one of its processes sees it: its root, held open for one look.
type place struct {
	root int
	dir  string // where its marks are, below the root
}

// markDir is where workers keep their marks.
const markDir = "dev/shm/svckit"

// confined is how everything below the root is opened: no link leads out, and none is followed.
const confined = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

func openPlace(pid int) (place, error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return place{}, fmt.Errorf("open root of process %d: %w", pid, err)
	}
	return place{root, markDir}, nil
}

func (p place) close() { _ = unix.Close(p.root) }

func (p place) open(name string, flags int) (int, error) {
	return unix.Openat2(p.root, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOCTTY), Resolve: confined})
}

// found is a mark and whose it is.
type found struct {
	pid int // in the container's namespace
	mark
}

// look is what the marks of a container say.
type look struct {
	there    bool // somebody writes marks here
	marks    []found
	swept    int
	problems []string
}

// marks reads the marks of a container and removes those whose process is gone.
// known are processes that live, with their start, by their pid in the
// container: others are looked up.
func (p place) marks(known map[int]uint64) (look, error) {
	var out look
	fd, err := p.open(p.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENOENT) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("open /%s in the container: %w", p.dir, err)
	}
	dir := os.NewFile(uintptr(fd), p.dir)
	defer dir.Close()
	var at unix.Statfs_t
	if err := unix.Fstatfs(fd, &at); err != nil || at.Type != unix.TMPFS_MAGIC {
		return out, errors.Join(err, fmt.Errorf("/%s in the container is not on a tmpfs", p.dir))
	}
	names, err := dir.Readdirnames(mostMarks + 1)
	if err != nil && len(names) == 0 {
		return out, nil // io.EOF: it is empty
	}
	if len(names) > mostMarks {
		return out, fmt.Errorf("/%s in the container holds more than %d files", p.dir, mostMarks)
	}
	slices.Sort(names)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 0 || strconv.Itoa(pid) != name {
			continue // not ours
		}
		m, err := readMark(fd, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its worker has just ended
		}
		start, lives, unsure := p.lives(pid, known)
		switch {
		case unsure != nil:
			out.problems = append(out.problems, fmt.Sprintf("mark %d: look for its process: %v", pid, unsure))
		case !lives || err == nil && start != m.Start:
			if unix.Unlinkat(fd, name, 0) == nil {
				out.swept++
			}
		case err != nil:
			out.problems = append(out.problems, fmt.Sprintf("mark %d: %v", pid, err))
		default:
			out.marks = append(out.marks, found{pid, m})
		}
	}
	out.there = len(out.marks) > 0
	return out, nil
}

// readMark reads one mark; one that is being written is read again.
func readMark(dir int, name string) (m mark, err error) {
	var buf [markSize + 1]byte
	for range tornReads {
		var n int
		if n, err = readSmall(dir, name, buf[:]); err != nil {
			return mark{}, err
		}
		m, err = decodeMark(buf[:n])
		// An empty one has been made and not yet written.
		if err == nil || !errors.Is(err, errTorn) && n != 0 {
			return m, err
		}
	}
	return mark{}, err
}

// readSmall reads the beginning of a regular file in a folder.
func readSmall(dir int, name string, buf []byte) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errShape
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Read(fd, buf)
}

// lives tells the start of a process of the container, by its pid there, through
// the container's own /proc.
func (p place) lives(pid int, known map[int]uint64) (start uint64, lives bool, err error) {
	if start, ok := known[pid]; ok {
		return start, true, nil
	}
	fd, err := p.open("proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) {
		// Where there is no /proc at all, nothing is known of anybody.
		if fd, err = p.open("proc/self", unix.O_PATH|unix.O_NOFOLLOW); errors.Is(err, unix.ENOENT) {
			return 0, false, errors.New("it has no /proc")
		}
		if err == nil {
			_ = unix.Close(fd)
		}
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = unix.Close(fd) }()
	var at unix.Statfs_t
	if err := unix.Fstatfs(fd, &at); err != nil || at.Type != unix.PROC_SUPER_MAGIC {
		return 0, false, errors.Join(err, errors.New("its /proc is none"))
	}
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if errors.Is(err, unix.ESRCH) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	s, err := proc.ParseStat(buf[:n])
	return s.Start, !s.Dead && err == nil, err
}

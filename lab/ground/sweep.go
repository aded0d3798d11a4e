package ground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep removes everything of a lab: the processes in its namespaces and
// control groups and those that carry one of the cookies, its mounts, images,
// folders and namespaces. The caller holds the lab's lock. It reports what it found
// in words ("12 processes"), nothing when there was nothing.
func Sweep(ctx context.Context, lab string, cookies ...string) (found []string, err error) {
	places, err := placesOf(lab)
	if err != nil {
		return nil, err
	}
	found, err = sweepPlaces(ctx, places, cookies)
	if err != nil {
		return found, fmt.Errorf("sweep lab %s: %w", lab, err)
	}
	return found, nil
}

func sweepPlaces(ctx context.Context, places []Place, cookies []string) (found []string, err error) {
	killed, err := killAll(ctx, func(pid int) bool {
		return hasCookie(pid, cookies) || slices.ContainsFunc(places, func(p Place) bool { return livesIn(pid, p) })
	})
	if killed > 0 {
		found = append(found, fmt.Sprintf("%d processes", killed))
	}
	if err != nil {
		return found, err
	}
	for _, p := range places {
		found = append(found, "place "+p.String())
		if err := sweepPlace(ctx, p); err != nil {
			return found, fmt.Errorf("sweep place %s: %w", p, err)
		}
	}
	return found, nil
}

// sweepPlace removes a place in which no process lives. The namespace goes last: it is how the rest is recognised.
func sweepPlace(ctx context.Context, p Place) error {
	removeShimSockets(p)
	for _, dir := range []string{p.Data(), p.Run()} {
		if err := RemoveFolder(dir); err != nil {
			return err
		}
	}
	// Removed only when empty, that is with the last lab.
	_ = os.Remove(dataRoot)
	if err := removeCgroups(ctx, filepath.Base(p.Namespace())); err != nil {
		return err
	}
	if _, err := os.Stat(p.Namespace()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "ip", "netns", "del", filepath.Base(p.Namespace())).CombinedOutput(); err != nil {
		return fmt.Errorf("remove namespace: %w: %s", err, out)
	}
	return nil
}

// killAll kills every process that is ours until none is left, and says how many it killed.
func killAll(ctx context.Context, ours func(pid int) bool) (int, error) {
	family := ancestors()
	killed := map[int]bool{}
	for range 200 { // 10 s: a process in a disk wait may take that long to die
		pids, err := processes()
		if err != nil {
			return len(killed), err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return family[pid] || !ours(pid) })
		if len(pids) == 0 {
			return len(killed), nil
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
			killed[pid] = true
		}
		select {
		case <-ctx.Done():
			return len(killed), ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return len(killed), errors.New("processes do not die")
}

func processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// ancestors is this process and all that started it.
func ancestors() map[int]bool {
	family := map[int]bool{}
	for pid := os.Getpid(); pid > 1 && !family[pid]; {
		family[pid] = true
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		// pid (name) state ppid …; the name may hold blanks and brackets
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, _ = strconv.Atoi(fields[1])
	}
	return family
}

func hasCookie(pid int, cookies []string) bool {
	if len(cookies) == 0 {
		return false
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(string(env), "\x00"), func(v string) bool {
		cookie, is := strings.CutPrefix(v, CookieVar+"=")
		return is && cookie != "" && slices.Contains(cookies, cookie)
	})
}

// livesIn is true for processes in the place's network, and for processes of its containers. A zombie is nowhere.
func livesIn(pid int, p Place) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	var mine, its unix.Stat_t
	if unix.Stat(dir+"/ns/net", &its) != nil {
		return false
	}
	if unix.Stat(p.Namespace(), &mine) == nil && mine.Ino == its.Ino && mine.Dev == its.Dev {
		return true
	}
	groups, err := os.ReadFile(dir + "/cgroup")
	if err != nil {
		return false
	}
	group := filepath.Base(p.Namespace())
	return slices.ContainsFunc(strings.Split(string(groups), "\n"), func(line string) bool {
		return slices.Contains(strings.Split(line, "/"), group)
	})
}

// removeShimSockets removes the sockets that containerd keeps in /run/containerd/s whatever its own folder is.
func removeShimSockets(p Place) {
	// Where each shim listens is in the file address, or since containerd 2 in bootstrap.json.
	bundles := p.Run() + "/containerd/io.containerd.runtime.v2.task/*/*/"
	addresses, _ := filepath.Glob(bundles + "address")
	bootstraps, _ := filepath.Glob(bundles + "bootstrap.json")
	socket := regexp.MustCompile(`/run/containerd/s/[0-9a-f]+`)
	for _, file := range append(addresses, bootstraps...) {
		if text, err := os.ReadFile(file); err == nil {
			_ = os.Remove(socket.FindString(string(text)))
		}
	}
}

// RemoveFolder removes a folder and detaches what is mounted in it first.
func RemoveFolder(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return nil
}

// unmountBelow detaches every mount at or below dir, the last one first, and
// fails when one is left: removing a folder must never reach into a mount.
func unmountBelow(dir string) error {
	for range 10 {
		points, err := mountsBelow(dir)
		if err != nil || len(points) == 0 {
			return err
		}
		for _, point := range slices.Backward(points) {
			if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("unmount %s: %w", point, err)
			}
		}
	}
	return fmt.Errorf("unmount %s: something is mounted again and again", dir)
}

func mountsBelow(dir string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return mountPoints(string(table), dir), nil
}

// mountPoints reads a table like /proc/self/mountinfo (proc(5)), in its order.
func mountPoints(table, dir string) []string {
	var points []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// removeCgroups removes the control groups of that name in every hierarchy, innermost first.
func removeCgroups(ctx context.Context, name string) error {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	for _, top := range append(tops, "/sys/fs/cgroup/"+name) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := removeCgroup(ctx, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroup waits for the kernel to let go of the processes that were just killed.
func removeCgroup(ctx context.Context, dir string) error {
	var err error
	for range 100 {
		if err = unix.Rmdir(dir); err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("remove control group %s: %w", dir, err)
}

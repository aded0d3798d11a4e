package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/fleet"
	"svckit/lib/proc"
)

// A worker of uWSGI that is told to end ends at once unless it is in a request,
// and it is in none between accept(2) and the line of its loop that says so: a
// client whose connection was accepted there gets nothing. Under load that is one
// lost request in some 15 workers that are replaced (uWSGI 2.0.21, core/uwsgi.c
// gracefully_kill, core/utils.c wsgi_req_recv). So a chain is walked here: each
// worker is told while it waits for a connection, and the next one when the new
// one accepts.
const (
	idleLimit = 10 * time.Second // a worker that does not wait for that long is in a long request, and may be told
	turnLimit = 2 * time.Minute  // for one worker to end its request, and for the new one to load
	turnPoll  = 20 * time.Millisecond
)

// errNotHere says that the chain cannot be walked here, so that uWSGI's own is taken.
var errNotHere = errors.New("its workers cannot be watched")

// turn replaces the workers of a uwsgi one after the other, none of them in the
// middle of a request. What it could not finish in time the proof of the reload sees.
func turn(ctx context.Context, f fleet.Master, o options) error {
	stats := o.first("stats", "stats-server")
	if !path.IsAbs(stats) || o.first("loop", "gevent", "async", "asyncio", "ugreen", "http-socket-modifier1", "worker-exec") != "" {
		return errNotHere
	}
	if _, err := readStats(ctx, f.PID, stats); err != nil {
		return fmt.Errorf("%w: %w", errNotHere, err)
	}
	for _, w := range f.Workers {
		if err := relieve(ctx, w); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, turnLimit)
		done := turned(limited, f.PID, stats, w)
		cancel()
		if !done {
			return ctx.Err()
		}
	}
	return nil
}

// turned waits until a worker has ended and all that are there accept.
func turned(ctx context.Context, master int, stats string, old fleet.Worker) bool {
	for {
		if now, err := proc.Start(old.PID); err != nil || now != old.Started {
			if s, err := readStats(ctx, master, stats); err == nil && s.accepting() {
				return true
			}
		}
		if _, err := proc.Start(master); err != nil || !sleep(ctx, turnPoll) {
			return false
		}
	}
}

// accepting reports whether every worker that is there serves.
func (s stats) accepting() bool {
	some := false
	for _, w := range s.Workers {
		if w.Status == "cheap" || w.PID == 0 {
			continue
		}
		if some = true; w.Accepting == 0 {
			return false
		}
	}
	return some
}

// relieve tells a worker to end as it begins to wait for a connection.
func relieve(ctx context.Context, w fleet.Worker) error {
	fd, err := openProcess(w.PID, w.Started)
	if err != nil {
		return nil // it has ended by itself
	}
	defer func() { _ = unix.Close(fd) }()
	send := func(signal unix.Signal) func() {
		return func() { _ = unix.PidfdSendSignal(fd, signal, nil, 0) }
	}
	// Either wakes the tracer, that waits for the worker's next call.
	long := time.AfterFunc(idleLimit, send(unix.SIGHUP))
	defer long.Stop()
	defer context.AfterFunc(ctx, send(unix.SIGCONT))()
	if err := whileWaiting(ctx, w.PID, send(unix.SIGHUP)); err != nil {
		return err
	}
	return ctx.Err()
}

// whileWaiting follows a process from call to call and, when it is about to wait
// for an event or has just done so, calls tell and lets it go. The kernel lets it
// go on as well when we end in the middle (ptrace(2)).
func whileWaiting(ctx context.Context, pid int, tell func()) error {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	err := unix.PtraceSeize(pid)
	if errors.Is(err, unix.ESRCH) {
		return nil // it has ended by itself
	}
	if err == nil {
		err = unix.PtraceInterrupt(pid)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotHere, err)
	}
	for first := true; ; first = false {
		status, there := nextStop(pid)
		if !there {
			return nil
		}
		pass := 0 // a signal of its own must reach it
		switch signal := status.StopSignal(); {
		case signal == unix.SIGTRAP|callStop:
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
			if err == nil && waits(string(text), runtime.GOARCH) {
				tell()
				return detach(pid, 0)
			}
		case int(status)>>16 == 0 && signal != unix.SIGTRAP:
			pass = int(signal)
		}
		if pass == int(unix.SIGHUP) || ctx.Err() != nil {
			return detach(pid, pass)
		}
		if first {
			err = unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD)
		}
		if err == nil {
			err = unix.PtraceSyscall(pid, pass)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", errNotHere, err), detach(pid, pass))
		}
	}
}

// callStop marks a stop at a call of the kernel (PTRACE_O_TRACESYSGOOD).
const callStop = 0x80

// nextStop waits until a process that is followed stops; false when it has ended.
func nextStop(pid int) (unix.WaitStatus, bool) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if !errors.Is(err, unix.EINTR) {
			return status, err == nil && status.Stopped()
		}
	}
}

// detach lets a process go on alone, and gives it a signal unless that is 0.
func detach(pid, signal int) error {
	_, _, failed := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(signal), 0, 0)
	if failed != 0 && failed != unix.ESRCH {
		return fmt.Errorf("let process %d go on: %w", pid, failed)
	}
	return nil
}

// waits reads /proc/PID/syscall: the number of the call that the process is in,
// and its arguments. Waiting for a connection is epoll_wait, where a machine has
// that, or epoll_pwait.
func waits(text, arch string) bool {
	calls := map[string][]int{"amd64": {232, 281}, "arm64": {22}}
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(first)
	return err == nil && slices.Contains(calls[arch], n)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

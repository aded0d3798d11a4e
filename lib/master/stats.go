package master

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"path"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/spec"
)

const (
	statsLimit = 2 * time.Second
	maxStats   = 8 << 20
)

// stats is the part of a uwsgi's stats that counts here.
type stats struct {
	Version string        `json:"version"`
	PID     int           `json:"pid"`
	Listen  int           `json:"listen_queue"`
	Workers []statsWorker `json:"workers"`
}

type statsWorker struct {
	ID        int     `json:"id"`
	PID       int     `json:"pid"`
	Accepting int     `json:"accepting"`
	Status    string  `json:"status"` // idle, busy, cheap, pause, sig…
	Requests  float64 `json:"requests"`
	Running   float64 `json:"running_time"` // microseconds of completed requests
	Cores     []struct {
		Busy int `json:"in_request"`
	} `json:"cores"`
}

// StatsAt is where the uwsgi of a container serves its stats: a path in the
// container, or an address in its network. "" where it does not, or where the
// container runs no uwsgi. pid is the master's.
func (m Masters) StatsAt(i fleet.Instance, kind spec.Master, pid int) (string, error) {
	if kind != spec.UWSGI || pid == 0 {
		return "", nil
	}
	opts, err := uwsgiOptions(i, pid)
	if err != nil {
		return "", fmt.Errorf("read the options of uwsgi: %w", err)
	}
	return opts.first("stats", "stats-server"), nil
}

// Served asks the uwsgi whose master is pid for what it does. at is what StatsAt said.
func (m Masters) Served(ctx context.Context, pid int, at string) (fleet.Served, error) {
	s, err := readStats(ctx, pid, at)
	if err != nil {
		return fleet.Served{}, err
	}
	return s.served()
}

// mostPlaces bounds the workers and threads of one uwsgi.
const mostPlaces = 10_000

// served checks what a uwsgi said, since anybody in the container can say it.
func (s stats) served() (fleet.Served, error) {
	out := fleet.Served{Waiting: s.Listen}
	if s.Listen < 0 || len(s.Workers) > mostPlaces {
		return out, fmt.Errorf("read stats of uwsgi: %d in its listen queue, %d workers", s.Listen, len(s.Workers))
	}
	for _, w := range s.Workers {
		if w.ID == 0 && w.PID == 0 {
			continue // of cheaper mode, and never started
		}
		of := fleet.ServedWorker{
			ID: w.ID, PID: w.PID, Slots: max(len(w.Cores), 1), Requests: w.Requests, Seconds: w.Running / 1e6,
			Ready: w.PID > 0 && w.Accepting > 0 && (w.Status == "idle" || w.Status == "busy"),
		}
		if w.Status == "cheap" {
			of.PID = 0
		}
		for _, c := range w.Cores {
			if c.Busy > 0 {
				of.Active++
			}
		}
		if !(of.Requests >= 0 && of.Seconds >= 0) || math.IsInf(of.Requests+of.Seconds, 0) || of.Slots > mostPlaces {
			return out, fmt.Errorf("read stats of uwsgi: worker %d makes no sense", w.ID)
		}
		out.Workers = append(out.Workers, of)
	}
	slices.SortFunc(out.Workers, func(a, b fleet.ServedWorker) int { return cmp.Compare(a.ID, b.ID) })
	for k := 1; k < len(out.Workers); k++ {
		if out.Workers[k].ID == out.Workers[k-1].ID {
			return out, fmt.Errorf("read stats of uwsgi: two workers %d", out.Workers[k].ID)
		}
	}
	return out, nil
}

// readStats reads the stats of a uwsgi from its socket in the container.
func readStats(ctx context.Context, pid int, at string) (stats, error) {
	ctx, cancel := context.WithTimeout(ctx, statsLimit)
	defer cancel()
	conn, err := dialIn(ctx, pid, at)
	if err != nil {
		return stats{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	text, err := io.ReadAll(io.LimitReader(conn, maxStats))
	if err != nil {
		return stats{}, err
	}
	var s stats
	if err := json.Unmarshal(text, &s); err != nil {
		return stats{}, fmt.Errorf("read stats of uwsgi: %w", err)
	}
	return s, nil
}

// dialIn connects to a socket file of a container, or to an address of its network.
func dialIn(ctx context.Context, pid int, at string) (net.Conn, error) {
	if !path.IsAbs(at) {
		return dialNetwork(ctx, pid, at)
	}
	// A socket cannot be opened, only connected to, by a path that stays in the container.
	f, err := proc.Open(pid, at, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("connect to %s in the container: %w", shown(at), errors.Unwrap(err))
	}
	return conn, nil
}

// dialNetwork connects from within the container's network: "127.0.0.1:1717" or
// ":1717". Only its own loopback is asked, whatever the address says.
func dialNetwork(ctx context.Context, pid int, at string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(at)
	if address, bad := netip.ParseAddr(host); err != nil || host != "" && (bad != nil || !address.IsLoopback() && !address.IsUnspecified()) {
		return nil, fmt.Errorf("connect to %s in the container: expected a path, or a port of its loopback", shown(at))
	}
	space, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(space) }()
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		// The thread that has entered another network is never used again: it ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(space, unix.CLONE_NEWNET); err != nil {
			done <- dialed{nil, fmt.Errorf("enter network of process %d: %w", pid, err)}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		done <- dialed{conn, err}
	}()
	d := <-done
	return d.conn, d.err
}

package main

import (
	"fmt"
	"slices"
	"time"

	"svckit/lib/node"
	"svckit/lib/tool"
)

// The bounds of the checks of the machine.
const (
	lowShare  = 0.10      // of a disk
	lowBytes  = 1 << 30   // of a disk
	fullBytes = 100 << 20 // of a disk: containers fail to start
	skewWarn  = 2 * time.Second
	skewBad   = 30 * time.Second
)

func checkPortRange(f facts) []finding {
	ports := f.settings.Ports
	switch {
	case f.settingsErr != nil:
		return nil
	case f.ephemeral == (node.Range{}):
		return []finding{is(unsure, "", "net.ipv4.ip_local_port_range cannot be read")}
	}
	open := 0
	for p := max(ports.First, f.ephemeral.First); p <= min(ports.Last, f.ephemeral.Last); p++ {
		if !slices.ContainsFunc(f.reserved, func(r node.Range) bool { return r.First <= p && p <= r.Last }) {
			open++
		}
	}
	if open == 0 {
		return ok("%d-%d is apart from the ports of outgoing connections", ports.First, ports.Last)
	}
	return []finding{is(warn, fmt.Sprintf("sysctl -w net.ipv4.ip_local_reserved_ports=%d-%d, and keep it in /etc/sysctl.d", ports.First, ports.Last),
		"%d ports of %d-%d may be taken by an outgoing connection (ip_local_port_range %d-%d)",
		open, ports.First, ports.Last, f.ephemeral.First, f.ephemeral.Last)}
}

func checkPorts(f facts) []finding {
	ports := f.settings.Ports
	if f.settingsErr != nil || f.engineErr != nil {
		return nil
	}
	if f.listening == nil {
		return []finding{is(unsure, "", "listening ports cannot be read")}
	}
	ours := map[int]bool{}
	for _, i := range f.instances {
		ours[i.Port] = true
	}
	var used, others []int
	for _, p := range f.listening {
		if p < ports.First || p > ports.Last {
			continue
		}
		used = append(used, p)
		if !ours[p] {
			others = append(others, p)
		}
	}
	size := ports.Last - ports.First + 1
	if left := size - len(used); left*10 < size {
		return []finding{is(bad, "widen SVC_PORTS (ports in node.yaml)", "%d of the %d ports of %d-%d are left", left, size, ports.First, ports.Last)}
	}
	if len(others) > 0 {
		shown := fmt.Sprint(others[:min(5, len(others))])
		return []finding{is(warn, "move SVC_PORTS (ports in node.yaml) or the other program; `ss -ltnp` names it",
			"%d ports of %d-%d are used by others: %s", len(others), ports.First, ports.Last, shown)}
	}
	return ok("%d of %d are used, none by others", len(used), size)
}

func (f facts) path(what string) (pathFact, bool) {
	for _, p := range f.paths {
		if p.what == what {
			return p, true
		}
	}
	return pathFact{}, false
}

func checkRunDir(f facts) []finding {
	p, known := f.path("run folder")
	switch {
	case !known:
		return nil
	case p.err != nil:
		return []finding{is(unsure, "", "%v", p.err)}
	case !p.gone && !p.mode.IsDir():
		return []finding{is(bad, "remove it, or set SVC_RUN_DIR", "%s is no folder", p.path)}
	case !p.tmpfs:
		return []finding{is(warn, "put SVC_RUN_DIR on a tmpfs, e.g. below /run, or call svc-run as root", "%s is not on a tmpfs: svc-run mounts one there when it is first needed, and refuses when it may not", p.path)}
	case p.gone:
		return ok("%s is made when it is first needed, on a tmpfs", p.path)
	}
	return ok("%s is on a tmpfs", p.path)
}

func checkStateDir(f facts) []finding {
	p, known := f.path("state folder")
	switch {
	case !known:
		return nil
	case p.err != nil:
		return []finding{is(unsure, "", "%v", p.err)}
	case !p.gone && !p.mode.IsDir():
		return []finding{is(bad, "remove it, or set SVC_STATE_DIR", "%s is no folder", p.path)}
	case p.tmpfs:
		return []finding{is(warn, "put SVC_STATE_DIR on a disk, e.g. below /var/lib", "%s is on a tmpfs: the last good config is gone after a reboot", p.path)}
	case p.gone:
		return ok("%s is made when it is first needed", p.path)
	}
	return ok("%s", p.path)
}

func checkPermissions(f facts) []finding {
	var out []finding
	for _, p := range f.paths {
		if p.err != nil || p.gone {
			continue
		}
		if p.mode.Perm()&0o002 != 0 {
			out = append(out, is(bad, "chmod o-w "+p.path, "everybody may write to %s (%s)", p.path, p.what))
		}
		if p.mode.Perm()&0o020 != 0 && p.what != "docker socket" {
			out = append(out, is(warn, "chmod g-w "+p.path, "its group may write to %s (%s)", p.path, p.what))
		}
		if p.uid != 0 && p.what != "docker socket" {
			out = append(out, is(warn, "chown root "+p.path, "%s (%s) belongs to user %d: that user can change what runs here", p.path, p.what, p.uid))
		}
	}
	if len(out) == 0 && len(f.paths) > 0 {
		return ok("nobody else can change what svc-run reads")
	}
	return out
}

func checkDisks(f facts) []finding {
	var out []finding
	for _, d := range f.disks {
		left := fmt.Sprintf("%s of %s are free at %s (%s)", tool.Bytes(int64(d.free)), tool.Bytes(int64(d.total)), d.path, d.what)
		fix := "remove images that nobody needs: docker image prune -a --filter until=240h"
		switch {
		case d.err != nil:
			out = append(out, is(unsure, "", "%s: %v", d.what, d.err))
		case d.total == 0:
		case d.free < fullBytes:
			out = append(out, is(bad, fix, "%s", left))
		case d.free < lowBytes || float64(d.free) < lowShare*float64(d.total):
			out = append(out, is(warn, fix, "%s", left))
		case d.nodes > 0 && float64(d.left) < lowShare*float64(d.nodes):
			out = append(out, is(warn, fix, "%d of %d inodes are free at %s (%s)", d.left, d.nodes, d.path, d.what))
		default:
			out = append(out, ok("%s", left)...)
		}
	}
	return out
}

func checkClock(f facts) []finding {
	var out []finding
	fix := "start a time service, e.g. systemctl enable --now systemd-timesyncd"
	for _, o := range f.clock.offsets {
		switch skew := o.ahead.Abs(); {
		case skew >= skewBad:
			out = append(out, is(bad, fix, "the clock differs by %s from that of %s", skew.Round(time.Second), o.from))
		case skew >= skewWarn:
			out = append(out, is(warn, fix, "the clock differs by %s from that of %s", skew.Round(time.Second), o.from))
		}
	}
	switch {
	case len(out) > 0:
		return out
	case f.clock.err != nil:
		return []finding{is(unsure, "", "the kernel does not tell: %v", f.clock.err)}
	case f.clock.unsynced:
		return []finding{is(warn, fix, "nobody keeps the clock right: the kernel counts it as not synchronised")}
	}
	return ok("synchronised")
}

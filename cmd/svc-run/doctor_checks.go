package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
)

// hinted returns an error with the hint that it carries, or another one.
func hinted(err error, fix string) finding {
	f := is(bad, fix, "%v", err)
	for e := err; e != nil; {
		one, ok := e.(*fault.Error) //nolint:errorlint // the outermost hint is wanted
		if !ok {
			break
		}
		if one.Hint != "" {
			f.Fix = one.Hint
			break
		}
		e = one.Err
	}
	return f
}

func checkSettings(f facts) []finding {
	if f.settingsErr != nil {
		return []finding{hinted(f.settingsErr, "mend the node's settings: every command reads them")}
	}
	return ok("prefix %s, ports %d-%d", f.settings.Prefix, f.settings.Ports.First, f.settings.Ports.Last)
}

func checkDocker(f facts) []finding {
	if f.engineErr != nil {
		return []finding{hinted(f.engineErr, "start Docker, or set DOCKER_HOST")}
	}
	return ok("Docker %s, API %s", f.engine.Version, f.engine.API)
}

func checkUserNS(f facts) []finding {
	if f.engineErr != nil || !f.engine.UserNS {
		return nil
	}
	return []finding{is(warn, "give the folders of `volumes` to the ids in /etc/subuid, or turn userns-remap off",
		"the engine remaps users: root in a container is another user on the node")}
}

func checkAgent(f facts) []finding {
	if f.agentErr != nil {
		return []finding{hinted(f.agentErr, "start the Consul agent of this node, or set CONSUL_HTTP_ADDR")}
	}
	if f.registrationsErr != nil {
		return []finding{hinted(f.registrationsErr, "give the token the right to read services")}
	}
	return ok("Consul %s, node %s in %s", f.agent.Version, f.agent.Node, f.agent.Datacenter)
}

func checkLeader(f facts) []finding {
	switch {
	case f.agentErr != nil:
		return nil
	case f.leaderErr != nil:
		return []finding{hinted(f.leaderErr, "see `consul operator raft list-peers`")}
	case f.leader == "":
		return []finding{is(bad, "bring a majority of the Consul servers back; `consul operator raft list-peers` names them",
			"the Consul servers have no leader: nothing can be registered or promoted, what runs keeps running")}
	}
	return ok("%s", f.leader)
}

func checkConsulVersion(f facts) []finding {
	if f.agentErr != nil {
		return nil
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(f.agent.Version, "v"), "+")
	if version == "1.19.0" || version == "1.19.1" {
		return []finding{is(warn, "upgrade the agent to 1.19.2 or later", "DNS of Consul %s is broken", version)}
	}
	return nil
}

func checkLeave(f facts) []finding {
	switch {
	case f.agentErr != nil:
		return nil
	case f.leaves == nil:
		return []finding{is(unsure, "", "the agent does not tell its leave_on_terminate")}
	case *f.leaves && !f.agent.Server:
		return []finding{is(warn, "set leave_on_terminate = false in the agent's configuration",
			"a restart of the agent takes every instance of this node out of DNS")}
	}
	return ok("a restart of the agent keeps this node's instances")
}

func checkDNS(f facts) []finding {
	return dnsFindings(f, f.dns, "svc-run asks it whether DNS shows an instance")
}

func checkContainerDNS(f facts) []finding {
	var out []finding
	for _, d := range f.containerDNS {
		if _, port, err := net.SplitHostPort(d.server); err == nil && port != "53" {
			out = append(out, is(bad, "let a DNS server of this node listen on port 53 and name it in container_dns",
				"containers ask port 53 only, not %s", d.server))
		}
	}
	return append(out, dnsFindings(f, f.containerDNS, "containers ask it")...)
}

func dnsFindings(f facts, servers []dnsFact, why string) []finding {
	var out []finding
	for _, d := range servers {
		switch {
		case d.err != nil:
			out = append(out, is(bad, "start it, or set SVC_DNS and SVC_CONTAINER_DNS to servers that forward .consul",
				"%s does not answer for %s: %v (%s)", d.server, d.name, d.err, why))
		case d.missing && f.agentErr == nil && f.leader != "":
			out = append(out, is(bad, "let it forward the domain to the Consul agent's DNS port", "%s does not know %s (%s)", d.server, d.name, why))
		case d.missing:
			out = append(out, is(unsure, "", "%s answers, and %s is not known while Consul is away", d.server, d.name))
		default:
			out = append(out, ok("%s answers for %s", d.server, d.name)...)
		}
	}
	return out
}

func checkRestart(f facts) []finding {
	var out []finding
	for _, i := range f.instances {
		fix := "docker update --restart=always " + i.Short()
		switch i.Restart {
		case "unless-stopped":
			out = append(out, is(bad, fix, "%s has the restart policy unless-stopped: after a reload by signal it stays down after a crash or a reboot", label(i)))
		case "no", "":
			out = append(out, is(warn, fix, "%s has no restart policy: it stays down after a crash or a reboot", label(i)))
		}
	}
	return orFine(f, out, "every container comes back after a crash and a reboot")
}

func checkStopSignal(f facts) []finding {
	var out []finding
	for _, i := range f.instances {
		if i.StopSignal == "" {
			name := i.App + "/" + i.Service
			out = append(out, is(warn, "it goes with the next release; at once, with a gap: svc-run down "+name+" && svc-run up "+name,
				"%s has no stop signal of its own: a reload by signal would count as stopping it by hand", label(i)))
		}
	}
	return orFine(f, out, "every container has a stop signal of its own")
}

// orFine says that all is well only where there was something to look at.
func orFine(f facts, out []finding, fine string) []finding {
	if len(out) == 0 && len(f.instances) > 0 {
		return ok("%s", fine)
	}
	return out
}

func label(i instanceFact) string { return i.App + "/" + i.Service + " " + i.Short() }

func checkShell(f facts) []finding {
	var out []finding
	for _, i := range f.instances {
		if !i.supervised() {
			continue
		}
		if shell := shellAbove(i.processes); shell != "" {
			out = append(out, is(bad, "write the command as a list in app.yaml, or `exec` the program in the script",
				"%s: %s is started by %q, which swallows its signals", label(i), i.master, cut(shell, 60)))
		}
	}
	return out
}

// shellAbove returns the shell that a container's first process is, "" when it is none.
// An init such as tini passes signals on, so what it started counts.
func shellAbove(processes []fleet.Process) string {
	inside := map[int]bool{}
	for _, p := range processes {
		inside[p.PID] = true
	}
	for _, p := range processes {
		above := slices.IndexFunc(processes, func(q fleet.Process) bool { return q.PID == p.Parent })
		first := !inside[p.Parent] || above >= 0 && isInit(processes[above].Command) && !inside[processes[above].Parent]
		if first && isShell(p.Command) {
			return p.Command
		}
	}
	return ""
}

func isInit(command string) bool {
	name := base(command)
	return name == "docker-init" || name == "tini" || name == "dumb-init"
}

func isShell(command string) bool {
	name := base(command)
	return name == "sh" || name == "bash" || name == "dash" || name == "ash"
}

// base is the name of the program that a command line starts.
func base(command string) string {
	program, _, _ := strings.Cut(command, " ")
	return program[strings.LastIndexByte(program, '/')+1:]
}

func checkMaintenance(f facts) []finding {
	var out []finding
	for _, r := range f.registrations {
		if r.Health != fleet.Maintenance {
			continue
		}
		end, told := endOf(r.Reason)
		_, ours := rollout.AsideUntil(r)
		_, drained := rollout.DrainUntil(r)
		switch {
		case drained && end.Before(f.now):
			out = append(out, is(warn, "svc-run return", "%s is out of DNS since longer than the drain of this node said: %s", r.ID, r.Reason))
		case ours && end.Before(f.now):
			out = append(out, is(warn, fmt.Sprintf("svc-reload %s/%s finishes what was cut off, and lets it in again", r.Meta[fleet.MetaApp], r.Meta[fleet.MetaService]),
				"%s was left out of DNS by a reload that did not end: %s", r.ID, r.Reason))
		case told && end.Before(f.now):
			out = append(out, is(warn, "consul maint -disable -service="+r.ID,
				"%s is in maintenance since longer than it said: %s", r.ID, r.Reason))
		case !told:
			out = append(out, is(warn, "if nobody works on it: consul maint -disable -service="+r.ID,
				"%s is in maintenance and does not say until when: %s", r.ID, r.Reason))
		}
	}
	return out
}

// endOf reads the last point of time that a reason names, e.g. "reload by ann until 2026-01-02T03:04:05Z".
func endOf(reason string) (end time.Time, ok bool) {
	for _, word := range strings.FieldsFunc(reason, func(r rune) bool { return strings.ContainsRune(" ,;()", r) }) {
		if t, err := time.Parse(time.RFC3339, word); err == nil {
			end, ok = t, true
		}
	}
	return end, ok
}

func checkRegistries(f facts) []finding {
	var out []finding
	for _, r := range f.registries {
		switch {
		case r.err != nil:
			out = append(out, is(warn, "see that its name resolves on this node and that it runs", "%s does not answer: %v", r.host, r.err))
		case r.plain && !r.insecure:
			out = append(out, is(bad, `add "`+r.host+`" to insecure-registries in /etc/docker/daemon.json, or give it a certificate`,
				"%s speaks plain HTTP, and the engine insists on TLS: nothing can be pulled from it", r.host))
		default:
			out = append(out, ok("%s answers", r.host)...)
		}
	}
	return out
}

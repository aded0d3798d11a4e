package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
)

// healthy are the facts of a node on which nothing is wrong.
func healthy() facts {
	no := false
	i := running(idA)
	i.Restart, i.StopSignal = "always", "SIGTERM"
	return facts{
		now: now, settings: node.Settings{Prefix: "svc", Ports: node.Range{First: 20000, Last: 29999}},
		engine: fleet.Engine{Version: "20.10.24", API: "1.41"},
		agent:  fleet.Agent{Node: "node1", Datacenter: "dc1", Version: "1.22.5", Domain: "consul"},
		leader: "10.0.0.9:8300", leaves: &no,
		instances: []instanceFact{{Instance: i, master: "gunicorn", processes: []fleet.Process{
			{PID: 100, Parent: 90, Command: "/sbin/docker-init -- gunicorn app"}, {PID: 101, Parent: 100, Command: "gunicorn app"},
		}}},
		registrations: []fleet.Registration{registered(idA)},
		dns:           []dnsFact{{server: "127.0.0.1:8600", name: "consul.service.consul"}},
		containerDNS:  []dnsFact{{server: "169.254.20.10:53", name: "consul.service.consul"}},
		ephemeral:     node.Range{First: 32768, Last: 60999}, listening: []int{22, 20001},
		paths: []pathFact{
			{what: "settings", path: "/etc/svckit/node.yaml", mode: 0o644},
			{what: "docker socket", path: "/var/run/docker.sock", mode: fs.ModeSocket | 0o660, uid: 0},
			{what: "run folder", path: "/run/svckit", mode: fs.ModeDir | 0o755, tmpfs: true},
			{what: "state folder", path: "/var/lib/svckit", mode: fs.ModeDir | 0o700},
		},
		disks:      []diskFact{{what: "images", path: "/var/lib/docker", free: 50 << 30, total: 100 << 30, nodes: 1000, left: 900}},
		registries: []registryFact{{host: "registry.service.consul:5000", plain: true, insecure: true}},
	}
}

func TestAHealthyNodeHasNoFinding(t *testing.T) {
	d := diagnose(healthy())
	if d.Errors+d.Warnings > 0 {
		t.Errorf("found %+v", d)
	}
	for _, c := range d.Checks {
		if c.Grade != good {
			t.Errorf("%s: %s %s", c.Check, c.Grade, c.Says)
		}
	}
}

func TestTheDoctorFindsEachTrouble(t *testing.T) {
	yes := true
	on := func(change func(*facts)) facts { f := healthy(); change(&f); return f }
	inst := func(change func(*instanceFact)) facts { return on(func(f *facts) { change(&f.instances[0]) }) }
	maintained := func(reason string) facts {
		return on(func(f *facts) { f.registrations[0].Health, f.registrations[0].Reason = fleet.Maintenance, reason })
	}
	path := func(what string, change func(*pathFact)) facts {
		return on(func(f *facts) {
			for n := range f.paths {
				if f.paths[n].what == what {
					change(&f.paths[n])
				}
			}
		})
	}
	tests := []struct {
		name  string
		facts facts
		check string
		grade grade
		says  string
		fix   string
	}{
		{"broken settings", on(func(f *facts) { f.settingsErr = fault.New(fault.Invalid, "read node.yaml: line 3") }), "settings", bad, "line 3", "mend the node's settings"},
		{"no docker", on(func(f *facts) {
			f.engineErr = fault.WithHint(fault.New(fault.Unreachable, "open docker: gone"), "start it")
		}), "docker", bad, "open docker: gone", "start it"},
		{"docker without a hint", on(func(f *facts) { f.engineErr = errors.New("odd") }), "docker", bad, "odd", "DOCKER_HOST"},
		{"remapped users", on(func(f *facts) { f.engine.UserNS = true }), "user namespaces", warn, "remaps users", "/etc/subuid"},
		{"no agent", on(func(f *facts) { f.agentErr = errors.New("connection refused") }), "consul agent", bad, "connection refused", "CONSUL_HTTP_ADDR"},
		{"token without rights", on(func(f *facts) { f.registrationsErr = errors.New("denied") }), "consul agent", bad, "denied", "token"},
		{"no leader", on(func(f *facts) { f.leader = "" }), "consul leader", bad, "no leader", "majority"},
		{"leader not told", on(func(f *facts) { f.leaderErr = errors.New("500") }), "consul leader", bad, "500", "list-peers"},
		{"version trap", on(func(f *facts) { f.agent.Version = "1.19.1" }), "consul version", warn, "1.19.1 is broken", "1.19.2"},
		{"version trap of the enterprise build", on(func(f *facts) { f.agent.Version = "1.19.0+ent" }), "consul version", warn, "1.19.0 is broken", "1.19.2"},
		{"leaves on terminate", on(func(f *facts) { f.leaves = &yes }), "leave on terminate", warn, "out of DNS", "leave_on_terminate = false"},
		{"leaves not told", on(func(f *facts) { f.leaves = nil }), "leave on terminate", unsure, "does not tell", ""},
		{"dns silent", on(func(f *facts) { f.dns[0].err = errors.New("timeout") }), "dns", bad, "127.0.0.1:8600 does not answer", "SVC_DNS"},
		{"dns does not forward", on(func(f *facts) { f.dns[0].missing = true }), "dns", bad, "does not know consul.service.consul", "forward"},
		{"dns without Consul", on(func(f *facts) { f.dns[0].missing = true; f.leader = "" }), "dns", unsure, "while Consul is away", ""},
		{"container dns silent", on(func(f *facts) { f.containerDNS[0].err = errors.New("refused") }), "container dns", bad, "containers ask it", "SVC_CONTAINER_DNS"},
		{"container dns at another port", on(func(f *facts) { f.containerDNS[0].server = "10.0.0.1:8600" }), "container dns", bad, "port 53 only", "listen on port 53"},
		{"range overlaps", on(func(f *facts) { f.settings.Ports = node.Range{First: 30000, Last: 39999} }), "port range", warn, "7232 ports of 30000-39999", "ip_local_reserved_ports=30000-39999"},
		{"range not told", on(func(f *facts) { f.ephemeral = node.Range{} }), "port range", unsure, "cannot be read", ""},
		{"ports of others", on(func(f *facts) { f.listening = []int{20001, 20005, 20006} }), "ports in use", warn, "2 ports of 20000-29999 are used by others: [20005 20006]", "ss -ltnp"},
		{"range nearly full", on(func(f *facts) {
			f.settings.Ports = node.Range{First: 20000, Last: 20010}
			for p := 20000; p < 20010; p++ {
				f.listening = append(f.listening, p+1)
			}
			f.listening = slices.Compact(slices.Sorted(slices.Values(f.listening)))
		}), "ports in use", bad, "1 of the 11 ports", "widen SVC_PORTS"},
		{"listeners not told", on(func(f *facts) { f.listening = nil }), "ports in use", unsure, "cannot be read", ""},
		{"run folder on a disk", path("run folder", func(p *pathFact) { p.tmpfs = false }), "run folder", warn, "not on a tmpfs", "tmpfs"},
		{"run folder is a file", path("run folder", func(p *pathFact) { p.mode = 0o644 }), "run folder", bad, "no folder", "SVC_RUN_DIR"},
		{"run folder not to be seen", path("run folder", func(p *pathFact) { p.err = errors.New("permission denied") }), "run folder", unsure, "permission denied", ""},
		{"state folder on a tmpfs", path("state folder", func(p *pathFact) { p.tmpfs = true }), "state folder", warn, "gone after a reboot", "SVC_STATE_DIR"},
		{"everybody may write settings", path("settings", func(p *pathFact) { p.mode = 0o666 }), "permissions", bad, "everybody may write to /etc/svckit/node.yaml", "chmod o-w"},
		{"the group may write settings", path("settings", func(p *pathFact) { p.mode = 0o664 }), "permissions", warn, "its group may write", "chmod g-w"},
		{"settings of a user", path("settings", func(p *pathFact) { p.uid = 1000 }), "permissions", warn, "belongs to user 1000", "chown root"},
		{"everybody may use docker", path("docker socket", func(p *pathFact) { p.mode |= 0o006 }), "permissions", bad, "everybody may write to /var/run/docker.sock", "chmod o-w"},
		{"disk low by share", on(func(f *facts) { f.disks[0].free = 9 << 30 }), "disk", warn, "9.0 GiB of 100.0 GiB", "prune"},
		{"disk low by size", on(func(f *facts) { f.disks[0].free, f.disks[0].total = 900<<20, 2<<30 }), "disk", warn, "900.0 MiB of 2.0 GiB", "prune"},
		{"disk full", on(func(f *facts) { f.disks[0].free = 10 << 20 }), "disk", bad, "10.0 MiB", "prune"},
		{"inodes low", on(func(f *facts) { f.disks[0].left = 10 }), "disk", warn, "10 of 1000 inodes", "prune"},
		{"disk not told", on(func(f *facts) { f.disks[0].err = errors.New("denied") }), "disk", unsure, "denied", ""},
		{"clock ahead", on(func(f *facts) { f.clock.offsets = []clockOffset{{"registry", 5 * time.Second}} }), "clock", warn, "differs by 5s from that of registry", "timesyncd"},
		{"clock far behind", on(func(f *facts) { f.clock.offsets = []clockOffset{{"registry", -2 * time.Minute}} }), "clock", bad, "differs by 2m0s", "timesyncd"},
		{"clock not synchronised", on(func(f *facts) { f.clock.unsynced = true }), "clock", warn, "not synchronised", "timesyncd"},
		{"clock not told", on(func(f *facts) { f.clock.err = errors.New("denied") }), "clock", unsure, "denied", ""},
		{"no code", inst(func(i *instanceFact) { i.code, i.codeErr = "/srv/app", fleet.ErrNotFound }), "code", bad, "shop/web: this node has no code for /srv/app", "svc-reload shop/web --source DIR"},
		{"code that leads nowhere", inst(func(i *instanceFact) { i.code, i.codeErr = "/srv/app", errors.New("current points to /etc") }), "code", bad, "points to /etc", "svc-reload shop/web --source DIR"},
		{"code by hand", inst(func(i *instanceFact) { i.code, i.codeState.Plain = "/srv/app", true }), "code", warn, "put there by hand", "svc-reload shop/web --source DIR"},
		{"unless-stopped", inst(func(i *instanceFact) { i.Restart = "unless-stopped" }), "restart policy", bad, "shop/web aaaaaaaa", "docker update --restart=always aaaaaaaa"},
		{"no restart policy", inst(func(i *instanceFact) { i.Restart = "no" }), "restart policy", warn, "stays down", "docker update"},
		{"no stop signal", inst(func(i *instanceFact) { i.StopSignal = "" }), "stop signal", warn, "no stop signal", "svc-run up shop/web"},
		{"shell form", inst(func(i *instanceFact) {
			i.processes = []fleet.Process{{PID: 100, Parent: 90, Command: "/bin/sh -c gunicorn app"}, {PID: 101, Parent: 100, Command: "gunicorn app"}}
		}), "shell command", bad, `gunicorn is started by "/bin/sh -c gunicorn app"`, "as a list"},
		{"shell form below an init", inst(func(i *instanceFact) {
			i.processes = []fleet.Process{{PID: 100, Parent: 90, Command: "/sbin/docker-init -- sh -c x"}, {PID: 101, Parent: 100, Command: "sh -c x"}}
		}), "shell command", bad, `"sh -c x"`, "exec"},
		{"stale maintenance", maintained("reload by ann until 2026-03-01T11:00:00Z"), "maintenance", warn, "longer than it said", "consul maint -disable -service=shop-web-node1-aaaaaaaa"},
		{"maintenance without an end", maintained("by hand"), "maintenance", warn, "does not say until when", "consul maint -disable"},
		{"plain registry", on(func(f *facts) { f.registries[0].insecure = false }), "registry", bad, "speaks plain HTTP", "insecure-registries"},
		{"registry silent", on(func(f *facts) { f.registries[0].err = errors.New("refused") }), "registry", warn, "refused", "resolves"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var others []string
			found := false
			for _, c := range diagnose(tt.facts).Checks {
				if c.Check == tt.check && c.Grade == tt.grade && strings.Contains(c.Says, tt.says) && strings.Contains(c.Fix, tt.fix) {
					found = true
				} else if c.Grade != good {
					others = append(others, fmt.Sprintf("%s: %s: %s (fix: %s)", c.Check, c.Grade, c.Says, c.Fix))
				}
			}
			if !found {
				t.Errorf("not found; found %q", others)
			}
		})
	}
}

func TestTheDoctorStaysSilentWhereNothingIsWrong(t *testing.T) {
	f := healthy()
	f.registrations[0].Health, f.registrations[0].Reason = fleet.Maintenance, "reload until 2026-03-01T13:00:00Z"
	f.instances[0].master = "none"
	f.instances[0].code, f.instances[0].codeState.Generation = "/srv/app", "0123456789ab"
	f.instances[0].processes = []fleet.Process{{PID: 1, Command: "sh -c x"}}
	f.settings.Ports, f.reserved = node.Range{First: 40000, Last: 40999}, []node.Range{{First: 39000, Last: 41000}}
	if d := diagnose(f); d.Errors+d.Warnings > 0 {
		t.Errorf("found %+v", d)
	}
}

func TestTheKernelsTablesAreRead(t *testing.T) {
	files := map[string]string{
		"/proc/sys/net/ipv4/ip_local_port_range":     "32768\t60999\n",
		"/proc/sys/net/ipv4/ip_local_reserved_ports": "20000-29999,8080\n",
		"/proc/net/tcp": "  sl  local_address rem_address   st\n" +
			"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n" +
			"   1: 0100007F:4E21 0100007F:D431 01 00000000:00000000\n",
		"/proc/net/tcp6": "  sl  local_address\n   0: 00000000000000000000000000000000:4E20 00000000000000000000000000000000:0000 0A 0\n   broken\n",
	}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
	ephemeral, reserved := portRanges(read)
	if ephemeral != (node.Range{First: 32768, Last: 60999}) || !slices.Equal(reserved, []node.Range{{First: 20000, Last: 29999}, {First: 8080, Last: 8080}}) {
		t.Errorf("ranges %v, %v", ephemeral, reserved)
	}
	if got := listeningPorts(read); !slices.Equal(got, []int{8080, 20000}) {
		t.Errorf("listening %v, want [8080 20000]", got)
	}
	if got := listeningPorts(func(string) ([]byte, error) { return nil, os.ErrPermission }); got != nil {
		t.Errorf("listening %v where the kernel does not tell", got)
	}
}

func TestARegistryIsAskedHowItSpeaks(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	host := strings.TrimPrefix(plain.URL, "http://")
	found, offsets := askRegistries(t.Context(), []string{host, "127.0.0.1:1"}, nil)
	if len(found) != 2 || !found[0].plain || !found[0].insecure || found[0].err != nil {
		t.Errorf("plain registry: %+v", found)
	}
	if found[1].err == nil {
		t.Error("a registry that is not there answered")
	}
	if len(offsets) > 0 {
		t.Errorf("the clock of this machine was compared with itself: %v", offsets)
	}
	for _, tt := range []struct {
		host     string
		insecure []string
		want     bool
	}{
		{"localhost:5000", nil, true},
		{"127.0.0.1:5000", nil, true},
		{"r.example:5000", nil, false},
		{"r.example:5000", []string{"r.example:5000"}, true},
		{"r.example:5000", []string{"r.example:5001"}, false},
		{"10.1.2.3:5000", []string{"10.0.0.0/8"}, true},
		{"11.1.2.3:5000", []string{"10.0.0.0/8"}, false},
	} {
		if got := acceptsPlain(tt.host, tt.insecure); got != tt.want {
			t.Errorf("%s with %v: %v, want %v", tt.host, tt.insecure, got, tt.want)
		}
	}
}

func TestRegistriesAreThoseThatImagesComeFrom(t *testing.T) {
	f := healthy()
	f.settings.Registries = []string{"https://mirror.example/v2", "10.0.0.2:5000"}
	f.instances[0].Image = "registry.service.consul:5000/shop@sha256:1"
	hub := f.instances[0]
	hub.Image = "library/redis@sha256:2"
	f.instances = append(f.instances, hub)
	if got, want := strings.Join(registryHosts(f), " "), "10.0.0.2:5000 mirror.example registry.service.consul:5000"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
}

func TestFileSystemsAreMeasuredWherePathsAreNotThereYet(t *testing.T) {
	dir := t.TempDir()
	a, b := space("a", dir), space("b", dir+"/not/there")
	if a.err != nil || b.err != nil || b.path != dir || a.total == 0 {
		t.Fatalf("%+v, %+v", a, b)
	}
	if got := addDisk(addDisk(nil, a), b); len(got) != 1 || got[0].what != "a, b" {
		t.Errorf("disks %+v, want one", got)
	}
	if p := lookAt("x", dir+"/not/there"); !p.gone || p.err != nil {
		t.Errorf("%+v, want gone", p)
	}
}

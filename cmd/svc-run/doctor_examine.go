package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/code"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// askFor bounds each question of the doctor: a node in trouble may answer none.
const askFor = 5 * time.Second

// examine collects the facts, a few questions at a time.
func examine(ctx context.Context, w *here.Node, s *tool.Session, p fleet.Progress) facts {
	f := facts{now: w.Now()}
	f.settings, f.settingsErr = w.Settings(s)
	p.Report("consul", 0, 0)
	examineConsul(ctx, w, s, &f)
	p.Report("docker", 0, 0)
	examineDocker(ctx, w, s, &f)
	examineSpecs(ctx, w, s, &f)
	examineProcesses(ctx, w, s, &f)
	p.Report("dns, registries and the machine", 0, 0)
	hosts := registryHosts(f)
	var all sync.WaitGroup // each of them writes fields of its own
	all.Go(func() { examineDNS(ctx, &f) })
	all.Go(func() { f.registries, f.clock.offsets = askRegistries(ctx, hosts, f.engine.Insecure) })
	all.Go(func() { examineMachine(&f, s.Config) })
	all.Wait()
	return f
}

func examineDocker(ctx context.Context, w *here.Node, s *tool.Session, f *facts) {
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	var engine *docker.Engine
	if engine, f.engineErr = w.Docker(ctx, s); f.engineErr != nil {
		return
	}
	if f.engine, f.engineErr = engine.Info(ctx); f.engineErr != nil {
		return
	}
	found, err := engine.Instances(ctx, "", "")
	if err != nil {
		f.engineErr = err
		return
	}
	for _, i := range found {
		if i.Prefix != "" && f.settingsErr == nil && i.Prefix != f.settings.Prefix {
			continue
		}
		f.instances = append(f.instances, instanceFact{Instance: i})
	}
}

// examineConsul comes before examineDocker: what is registered afterwards must not
// look like a registration without a container.
func examineConsul(ctx context.Context, w *here.Node, s *tool.Session, f *facts) {
	if f.settingsErr != nil {
		f.agentErr = errors.New("not asked, since the settings cannot be read")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	client, err := w.Consul(s)
	if err != nil {
		f.agentErr = err
		return
	}
	if f.agent, f.agentErr = client.Self(ctx); f.agentErr != nil {
		return
	}
	f.leader, f.leaderErr = client.Leader(ctx)
	f.leaves, _ = client.Leaves(ctx) // told as not known
	f.registrations, f.registrationsErr = client.Registrations(ctx)
}

// examineSpecs finds what the releases of the containers say of their master and code.
func examineSpecs(ctx context.Context, w *here.Node, s *tool.Session, f *facts) {
	if f.agentErr != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	client, err := w.Consul(s)
	if err != nil {
		return
	}
	specs := map[string]spec.App{}
	for n, i := range f.instances {
		key := i.App + "/" + i.Release
		if _, known := specs[key]; !known {
			if r, err := client.Release(ctx, i.App, i.Release); err == nil {
				specs[key], _ = spec.Decode(here.SpecFile, []byte(r.Spec))
			}
		}
		if service, ok := specs[key].Service(i.Service); ok {
			f.instances[n].master = string(service.Master)
			if f.instances[n].code = service.Code.Mount; service.Code.Mount != "" {
				f.instances[n].codeState, f.instances[n].codeErr = codeOf(f.settings.CodeDir, i.App, i.Service)
			}
		}
	}
}

// examineProcesses asks for the processes of services with a master, since only they are judged: for each the engine
// runs the node's ps, which looks at every process there is.
func examineProcesses(ctx context.Context, w *here.Node, s *tool.Session, f *facts) {
	if f.engineErr != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return
	}
	for n := range f.instances {
		if i := &f.instances[n]; i.State == fleet.Running && i.supervised() {
			i.processes, _ = engine.Processes(ctx, i.ID) // it may end meanwhile
		}
	}
}

func codeOf(dir, app, service string) (code.State, error) {
	store, err := code.Open(dir)
	if err != nil {
		return code.State{}, err
	}
	return store.State(app, service)
}

// examineDNS asks each server for the Consul servers, a name that always exists.
func examineDNS(ctx context.Context, f *facts) {
	domain := f.agent.Domain
	if domain == "" {
		domain = "consul"
	}
	ask := func(server string) dnsFact {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		d := dnsFact{server: server, name: "consul.service." + domain}
		d.missing, d.err = lookup(ctx, server, d.name)
		return d
	}
	server := f.settings.DNS
	if server == "" {
		server = f.agent.DNS
	}
	if server != "" {
		f.dns = append(f.dns, ask(server))
	}
	for _, c := range f.settings.ContainerDNS {
		if _, _, err := net.SplitHostPort(c); err != nil {
			c = net.JoinHostPort(c, "53")
		}
		f.containerDNS = append(f.containerDNS, ask(c))
	}
}

// examineMachine reads what the kernel and the file systems tell.
func examineMachine(f *facts, config string) {
	f.ephemeral, f.reserved = portRanges(os.ReadFile)
	f.listening = listeningPorts(os.ReadFile)
	if config == "" {
		config = node.DefaultPath
	}
	f.paths = append(f.paths, lookAt("settings", config))
	if path := dockerSocket(os.Getenv("DOCKER_HOST")); path != "" {
		f.paths = append(f.paths, lookAt("docker socket", path))
	}
	if f.settingsErr == nil {
		f.paths = append(f.paths, lookAt("run folder", f.settings.RunDir), lookAt("state folder", f.settings.StateDir), lookAt("code folder", f.settings.CodeDir))
		f.disks = addDisk(f.disks, space("secrets", f.settings.RunDir))
		f.disks = addDisk(f.disks, space("last good config", f.settings.StateDir))
		f.disks = addDisk(f.disks, space("code", f.settings.CodeDir))
	}
	if f.engineErr == nil && f.engine.Root != "" {
		f.disks = addDisk(f.disks, space("images and containers", f.engine.Root))
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	f.clock.unsynced, f.clock.err = state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0, err
}

// dockerSocket is the path of the engine's socket, "" when it is not a local one.
func dockerSocket(host string) string {
	if host == "" {
		return "/var/run/docker.sock"
	}
	path, _ := strings.CutPrefix(host, "unix://")
	if !filepath.IsAbs(path) {
		return ""
	}
	return path
}

func lookAt(what, path string) pathFact {
	p := pathFact{what: what, path: path}
	info, err := os.Stat(path)
	if p.gone = errors.Is(err, fs.ErrNotExist); err != nil && !p.gone {
		p.err = err
		return p
	}
	if err == nil {
		p.mode = info.Mode()
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			p.uid = int(s.Uid)
		}
	}
	if vfs, _, err := fileSystem(path); err == nil {
		p.tmpfs = vfs.Type == unix.TMPFS_MAGIC || vfs.Type == unix.RAMFS_MAGIC
	}
	return p
}

// space measures the file system of path.
func space(what, path string) diskFact {
	vfs, at, err := fileSystem(path)
	return diskFact{
		what: what, path: at, err: err, id: vfs.Fsid.Val,
		free: vfs.Bavail * uint64(vfs.Bsize), total: vfs.Blocks * uint64(vfs.Bsize),
		nodes: vfs.Files, left: vfs.Ffree,
	}
}

// fileSystem finds the file system of path, or of the nearest folder above it that is there.
func fileSystem(path string) (vfs unix.Statfs_t, at string, err error) {
	for at = filepath.Clean(path); ; at = filepath.Dir(at) {
		err = unix.Statfs(at, &vfs)
		if !errors.Is(err, unix.ENOENT) || at == "/" || at == "." {
			return vfs, at, err
		}
	}
}

// addDisk adds a file system, or names what more is kept on one that is known.
func addDisk(disks []diskFact, d diskFact) []diskFact {
	for n, known := range disks {
		if d.err == nil && known.err == nil && known.id == d.id && known.total == d.total {
			disks[n].what += ", " + d.what
			return disks
		}
	}
	return append(disks, d)
}

package ground

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Engine is a Docker engine in a place of its own. It is not safe for concurrent use.
type Engine struct {
	Place
	containerd, dockerd *daemon
}

// Start makes the place and starts an engine there, which holds the base image.
// The caller ends it with Sweep, also when Start fails. It needs root. The
// daemons die with the calling process.
func Start(ctx context.Context, p Place, base BaseImage) (*Engine, error) {
	if err := makePlace(ctx, p); err != nil {
		return nil, err
	}
	e := &Engine{Place: p}
	planted, err := p.plant(ctx, base.Seed, "")
	if err == nil {
		err = e.start(ctx)
	}
	if err != nil || planted {
		return e, err
	}
	return e, Import(ctx, p.Host(), base.File, base.Name, base.Env...)
}

// BaseImage is the image that every engine of a lab holds.
type BaseImage struct {
	Name string   // e.g. svckit/base:bookworm
	File string   // a tar file of its content
	Env  []string // its environment, as lines of a Dockerfile
	Seed string   // see MakeSeed; it may not be there
}

// start starts the daemons in a place that is there.
func (e *Engine) start(ctx context.Context) error {
	if err := e.startContainerd(ctx); err != nil {
		return err
	}
	return e.startDockerd(ctx)
}

// Make makes a place without an engine. The caller ends it with Sweep, also when Make fails.
func Make(ctx context.Context, p Place) error { return makePlace(ctx, p) }

func makePlace(ctx context.Context, p Place) error {
	name := filepath.Base(p.Namespace())
	for _, args := range [][]string{{"netns", "add", name}, {"-n", name, "link", "set", "lo", "up"}} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("make network %s: %w: %s", name, err, out)
		}
	}
	for _, dir := range []string{p.Run(), p.Data()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := unix.Mount("svckit-lab", p.Run(), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1g,mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", p.Run(), err)
	}
	return dataOnMemory(p)
}

// dataOnMemory puts images and containers on a tmpfs too if the machine has
// plenty of memory: unpacking and removing an image takes a tenth of the time.
func dataOnMemory(p Place) error {
	const plentyKiB, limit = 7 << 20, "size=4g,mode=0711"
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("read memory size: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	var available int // KiB
	if _, err := fmt.Sscan(rest, &available); err != nil || available < plentyKiB {
		return nil //nolint:nilerr // a kernel that does not say has not plenty
	}
	if err := unix.Mount("svckit-lab", p.Data(), "tmpfs", 0, limit); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", p.Data(), err)
	}
	return nil
}

func (e *Engine) startContainerd(ctx context.Context) error {
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n",
		e.Data()+"/containerd", e.Run()+"/containerd", e.Run()+"/containerd.sock")
	file := e.Run() + "/containerd.toml"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return fmt.Errorf("write containerd config: %w", err)
	}
	var err error
	e.containerd, err = startDaemon(ctx, e.Place, "containerd", func(context.Context) error {
		_, err := os.Stat(e.Run() + "/containerd.sock")
		return err
	}, "--config", file)
	return err
}

func (e *Engine) startDockerd(ctx context.Context) error {
	// A file of our own, or the machine's /etc/docker/daemon.json would be read.
	config := e.Run() + "/daemon.json"
	text := fmt.Sprintf(`{"insecure-registries": [%q]}`+"\n", fleetNetworks)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write engine config: %w", err)
	}
	var err error
	e.dockerd, err = startDaemon(ctx, e.Place, "dockerd", e.ping,
		"--config-file="+config, "--data-root="+e.Data()+"/docker", "--exec-root="+e.Run()+"/exec",
		"--host="+e.Host(), "--pidfile="+e.Run()+"/docker.pid", "--containerd="+e.Run()+"/containerd.sock",
		"--cgroup-parent=/"+filepath.Base(e.Namespace()), "--exec-opt=native.cgroupdriver=cgroupfs")
	return err
}

// Restart stops the engine as the service manager would, and starts it again.
// Containers stop with it and come back as their restart policy says.
func (e *Engine) Restart(ctx context.Context) error {
	if err := e.dockerd.stop(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop engine: %w", err)
	}
	return e.startDockerd(ctx)
}

// Kill ends the engine's daemon as a crash would; containers keep running without it. Restart brings it back.
func (e *Engine) Kill(ctx context.Context) error { return e.dockerd.stop(ctx, syscall.SIGKILL) }

func (e *Engine) ping(ctx context.Context) error {
	return call(ctx, e.Host(), http.MethodGet, "/_ping", nil)
}

// daemon is one running background program and its log file.
type daemon struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
}

// startDaemon starts a program inside the place and waits until ready says nil.
func startDaemon(ctx context.Context, p Place, name string, ready func(context.Context) error, args ...string) (*daemon, error) {
	d := &daemon{name: name, log: filepath.Join(p.Run(), filepath.Base(name)+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	argv := append(append(p.Inside(), name), args...)
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return d, nil
		}
		select {
		case <-d.done:
			return nil, fmt.Errorf("start %s: it ended at once:\n%s", name, tail(d.log, 15))
		case <-ctx.Done():
			return nil, fmt.Errorf("start %s: not ready: %w:\n%s", name, err, tail(d.log, 15))
		case <-tick.C:
		}
	}
}

func (d *daemon) stop(ctx context.Context, sig syscall.Signal) error {
	if err := d.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// client speaks to the engine at host, a unix:// address.
func client(host string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
		},
	}}
}

// Package setup brings what the lab needs onto a Debian 12 machine: Debian
// packages that are missing, a Consul agent built from source, a base image.
// Slow results are kept in the user's cache folder and made only once.
package setup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lab/ground"
)

// ConsulVersion is what tools/consul/go.mod requires.
const ConsulVersion = "1.22.5"

// BaseImage is the image that examples and tests build on.
const BaseImage = "svckit/base:" + suite

const suite = "bookworm"

// BaseEnv is the environment of BaseImage, as lines of a Dockerfile. In a
// container pip may install beside Debian's packages, as it may in python:….
func BaseEnv() []string { return []string{"ENV PIP_BREAK_SYSTEM_PACKAGES=1"} }

// baseRecipe makes the base image; the name of the cached file is its hash.
// Python, gunicorn and uWSGI are for the examples, pip for generated Dockerfiles.
func baseRecipe() []string {
	return []string{
		"mmdebstrap", "--variant=minbase", "--quiet",
		"--include=python3,python3-pip,gunicorn,uwsgi-core,uwsgi-plugin-python3,ca-certificates",
		"--aptopt=Acquire::Languages \"none\"",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		suite,
	}
}

// Cache is the folder of everything that is made once.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return filepath.Join(dir, "svckit"), nil
}

// Parts are the cached files; they may not be there yet.
type Parts struct {
	Consul   string // the binary
	Registry string // the binary
	Base     string // tar file of the base image
	Seed     string // folder that engines begin with (ground.MakeSeed)
	Machine  string // folder that machines boot (machineRecipe)
	Tools    string // folder with gofumpt and golangci-lint, for `make check` only
}

// Find names the parts.
func Find() (Parts, error) {
	dir, err := Cache()
	if err != nil {
		return Parts{}, err
	}
	root, err := moduleRoot()
	if err != nil {
		return Parts{}, err
	}
	tools, err := os.ReadFile(filepath.Join(root, "tools", "lint", "go.mod"))
	if err != nil {
		return Parts{}, fmt.Errorf("find tools: %w", err)
	}
	// What one engine has made may be nothing that another one can read.
	engine := ""
	if info := findProgram("dockerd"); info != nil {
		engine = fmt.Sprint(info.Size(), info.ModTime().Unix())
	}
	made := sha256.Sum256([]byte(engine))
	recipe, wanted := sha256.Sum256([]byte(strings.Join(baseRecipe(), "\n"))), sha256.Sum256(tools)
	machine := sha256.Sum256([]byte(strings.Join(machineRecipe(), "\n")))
	return Parts{
		Tools:    filepath.Join(dir, "bin", fmt.Sprintf("lint-%x", wanted[:6])),
		Consul:   filepath.Join(dir, "bin", "consul-"+ConsulVersion),
		Registry: filepath.Join(dir, "bin", "docker-registry"),
		Base:     filepath.Join(dir, "images", fmt.Sprintf("base-%x.tar", recipe[:6])),
		Seed:     filepath.Join(dir, "images", fmt.Sprintf("base-%x-%x", recipe[:6], made[:4])),
		Machine:  filepath.Join(dir, "images", fmt.Sprintf("machine-%x", machine[:6])),
	}, nil
}

// BaseImage is the base image as labs need to know it.
func (p Parts) BaseImage() ground.BaseImage {
	return ground.BaseImage{Name: BaseImage, File: p.Base, Env: BaseEnv(), Seed: p.Seed}
}

// Missing returns an error that names the first part that is not there.
func (p Parts) Missing() error {
	for _, file := range []string{p.Consul, p.Registry, p.Base, p.Machine} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("find part: %w (run `make setup`)", err)
		}
	}
	return nil
}

// part is one thing that is made once.
type part struct {
	file, what, usually string
	// make writes the part to out; work is an empty folder.
	make func(ctx context.Context, work, out string) error
}

// Run makes what the lab lacks. It may be run twice at once: the second waits.
// Cut off in the middle it leaves no half-made part.
func Run(ctx context.Context, say *Teller) error {
	parts, err := Find()
	if err != nil {
		return err
	}
	if err := installPackages(ctx, say); err != nil {
		return err
	}
	return makeParts(ctx, say, []part{
		{parts.Registry, "unpack Debian's docker-registry", "5 s", unpackRegistry},
		{parts.Base, "make the base image (Debian 12, Python, gunicorn, uWSGI)", "45 s", makeBase},
		{parts.Machine, "make the file system of the lab's machines (Debian 12, systemd, sshd, Docker)", "1 min", makeMachine},
		{parts.Consul, "build Consul " + ConsulVersion + " from source", "5 min on 2 cores", buildConsul},
		{parts.Seed, "unpack the base image for engines to begin with", "15 s", func(ctx context.Context, _, out string) error {
			return ground.MakeSeed(ctx, ground.FleetParts{Consul: parts.Consul, Registry: parts.Registry, BaseImage: parts.BaseImage()}, out)
		}},
	})
}

// Tools makes the programs of `make check` and returns their folder.
func Tools(ctx context.Context, say *Teller) (string, error) {
	parts, err := Find()
	if err != nil {
		return "", err
	}
	return parts.Tools, makeParts(ctx, say, []part{
		{parts.Tools, "build golangci-lint and gofumpt from source", "2 min on 2 cores", buildTools},
	})
}

func makeParts(ctx context.Context, say *Teller, parts []part) error {
	there := func(p part) bool { _, err := os.Stat(p.file); return err == nil }
	if parts = slices.DeleteFunc(parts, there); len(parts) == 0 {
		return nil
	}
	dir, err := Cache()
	if err != nil {
		return err
	}
	unlock, err := lockCache(ctx, dir, say)
	if err != nil {
		return err
	}
	defer unlock()
	for _, p := range slices.DeleteFunc(parts, there) { // another setup may have made it while we waited
		if err := say.Step(ctx, p.what, p.usually, func() error { return makePart(ctx, dir, p) }); err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
	}
	return nil
}

// makePart moves the finished part into place in one step.
func makePart(ctx context.Context, cache string, p part) error {
	work, err := os.MkdirTemp(filepath.Join(cache, "work"), "")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // what stays, the next setup clears
	out := filepath.Join(work, "out", filepath.Base(p.file))
	for _, dir := range []string{filepath.Dir(out), filepath.Dir(p.file)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := p.make(ctx, work, out); err != nil {
		return err
	}
	return os.Rename(out, p.file)
}

func buildConsul(ctx context.Context, work, out string) error {
	return goBuild(ctx, work, "consul", out, "github.com/hashicorp/consul")
}

func buildTools(ctx context.Context, work, out string) error {
	return goBuild(ctx, work, "lint", out+"/", "tool")
}

// goBuild builds in a module of its own below tools/, so that svckit's own dependencies stay few.
func goBuild(ctx context.Context, work, module, out, pkg string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = filepath.Join(root, "tools", module)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "CGO_ENABLED=0", "GOTMPDIR="+work)
	return runQuietly(cmd)
}

func makeBase(ctx context.Context, work, out string) error {
	return debootstrap(ctx, baseRecipe(), work, out)
}

// unpackRegistry takes the binary out of the Debian package: installing the
// package would start a registry on the machine's port 5000.
func unpackRegistry(ctx context.Context, work, out string) error {
	cmd := exec.CommandContext(ctx, "sh", "-ec", `
		apt-get -qq download docker-registry || { apt-get -qq update; apt-get -qq download docker-registry; }
		dpkg -x docker-registry_*.deb .
		mv usr/bin/docker-registry "$0"`, out)
	cmd.Dir = work
	return runQuietly(cmd)
}

// runQuietly shows a command's output only when it fails, and lets it clean up when it is interrupted.
func runQuietly(cmd *exec.Cmd) error {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%s: %w\n%s", cmd.Args[0], err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return nil
}

// lockCache waits for another setup, then clears the work folders of one that was killed.
func lockCache(ctx context.Context, dir string, say *Teller) (unlock func(), err error) {
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "setup.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	for said := false; unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; said = true {
		if !said {
			say.Line("another setup is running: waiting for it")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	entries, err := os.ReadDir(work)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(work, e.Name())))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("clear cache: %w", err)
	}
	return func() { f.Close() }, nil
}

// moduleRoot is the folder of svckit's go.mod, at or above the working folder.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module svckit\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find module: run this inside the svckit source folder")
		}
		dir = filepath.Dir(dir)
	}
}

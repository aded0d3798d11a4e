package ground

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A seed is a folder with the base image as an engine keeps it on disk, and as a registry keeps it. Engines begin with it:
// the image's content is mounted read-only out of the seed, the little that an engine notes about it is copied. Unpacking it
// in each engine takes 4 s of a core and 240 MB of memory.
//
//	seed/docker/image, overlay2   of a data root
//	seed/registry                 of a registry's storage
//	seed/base                     base@sha256:…, the image's name in the registry
const (
	seedLayers   = "docker/overlay2"
	seedNotes    = "docker/image/overlay2/repositories.json"
	seedBase     = "base"
	seedRegistry = "registry"
)

// MakeSeed makes a seed with a fleet of one host, in a lab of its own. Where the engine keeps its images in another way
// than by overlay2 the seed is an empty folder, and engines unpack the image themselves.
func MakeSeed(ctx context.Context, parts FleetParts, out string) (err error) {
	p := Place{"seed"}
	parts.Seed = ""
	lock, err := Acquire(ctx, p.String(), "lab setup", time.Minute, func(Holder) {})
	if err != nil {
		return err
	}
	sweep := func() error { _, err := Sweep(context.WithoutCancel(ctx), p.String()); return err }
	defer func() {
		if swept := sweep(); swept != nil {
			err = errors.Join(err, swept)
			return
		}
		err = errors.Join(err, lock.Release())
	}()
	if err := errors.Join(sweep(), Make(ctx, p)); err != nil {
		return err
	}
	f, err := StartFleet(ctx, p, parts, Datacenter{Hosts: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	h := f.Hosts[0]
	if err := h.engine.dockerd.stop(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop engine: %w", err)
	}
	if err := os.MkdirAll(out+"/docker", 0o755); err != nil {
		return fmt.Errorf("make seed: %w", err)
	}
	if _, err := os.Stat(filepath.Join(h.Data(), seedNotes)); err != nil {
		return nil // another kind of engine
	}
	for from, to := range map[string]string{
		h.Data() + "/docker/image": "docker", filepath.Join(h.Data(), seedLayers): "docker", f.wire.Data() + "/registry": ".",
	} {
		if err := copyTree(ctx, from, filepath.Join(out, to)+"/"); err != nil {
			return err
		}
	}
	if err := shareFile(filepath.Join(out, seedRegistry), parts.File); err != nil {
		return err
	}
	_, base, _ := strings.Cut(f.Base, "/")
	return os.WriteFile(filepath.Join(out, seedBase), []byte(base), 0o644)
}

// shareFile makes the copy of a file that lies somewhere in a folder another name of the file itself.
func shareFile(dir, file string) error {
	original, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("make seed: %w", err)
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() != original.Size() {
			return err
		}
		return errors.Join(os.Remove(path), os.Link(file, path))
	})
}

// copyTree copies a file or folder with owners and attributes into another folder.
func copyTree(ctx context.Context, from, into string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, into).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// plant gives the place's engine, which is not running, the image of a seed; false when there is none. registry is the
// one that the image shall have a name in, too; "" for none. It is nothing to plant twice.
func (p Place) plant(ctx context.Context, seed, registry string) (bool, error) {
	base, err := os.ReadFile(filepath.Join(seed, seedBase))
	if seed == "" || err != nil {
		return false, nil //nolint:nilerr // no seed, or an empty one
	}
	root := p.Data() + "/docker"
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := p.plantNotes(ctx, seed, registry, string(base)); err != nil {
			return false, fmt.Errorf("plant base image: %w", err)
		}
	}
	// An engine would mount its root over itself, and hide what is mounted in it, unless it is a shared mount.
	if at, err := mountsBelow(root); err != nil || len(at) > 0 {
		return true, err
	}
	if err := errors.Join(unix.Mount(root, root, "", unix.MS_BIND, ""), unix.Mount("", root, "", unix.MS_SHARED, "")); err != nil {
		return false, fmt.Errorf("plant base image: mount %s: %w", root, err)
	}
	layers, err := os.ReadDir(filepath.Join(seed, seedLayers))
	if err != nil {
		return false, fmt.Errorf("plant base image: %w", err)
	}
	for _, layer := range layers {
		if layer.Name() == "l" {
			continue
		}
		diff := filepath.Join(layer.Name(), "diff")
		from, to := filepath.Join(seed, seedLayers, diff), filepath.Join(root, "overlay2", diff)
		if err := errors.Join(unix.Mount(from, to, "", unix.MS_BIND, ""), unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
			return false, fmt.Errorf("plant base image: mount %s: %w", to, err)
		}
	}
	return true, nil
}

// plantNotes copies what an engine notes about the image, and makes the folders for its content.
func (p Place) plantNotes(ctx context.Context, seed, registry, base string) error {
	root := p.Data() + "/docker"
	if err := os.MkdirAll(root+"/overlay2", 0o710); err != nil {
		return err
	}
	if err := copyTree(ctx, seed+"/docker/image", root+"/"); err != nil {
		return err
	}
	if err := nameImage(filepath.Join(p.Data(), seedNotes), registry, base); err != nil {
		return err
	}
	layers, err := os.ReadDir(filepath.Join(seed, seedLayers))
	if err != nil {
		return err
	}
	for _, layer := range layers {
		from, to := filepath.Join(seed, seedLayers, layer.Name()), filepath.Join(root, "overlay2", layer.Name())
		if layer.Name() == "l" {
			if err := copyTree(ctx, from, root+"/overlay2/"); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(to+"/diff", 0o710); err != nil {
			return err
		}
		files, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.Name() == "diff" {
				continue
			}
			if err := copyTree(ctx, filepath.Join(from, f.Name()), to+"/"); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameImage replaces the name that the image has in the seed's registry by that in another one.
func nameImage(file, registry, base string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var notes struct{ Repositories map[string]map[string]string }
	if err := json.Unmarshal(text, &notes); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for repo, names := range notes.Repositories {
		for name, id := range names {
			if !strings.HasSuffix(name, "/"+base) {
				continue
			}
			delete(notes.Repositories, repo)
			if registry != "" {
				notes.Repositories[registry+"/"+baseRepo] = map[string]string{registry + "/" + base: id}
			}
		}
	}
	if text, err = json.Marshal(notes); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// plantRegistry gives a registry's folder the content of a seed; large files are links to those of the seed. It
// returns the image's name in the registry, "" when there is no seed.
func plantRegistry(seed, dir string) (base string, err error) {
	text, err := os.ReadFile(filepath.Join(seed, seedBase))
	if seed == "" || err != nil {
		return "", nil //nolint:nilerr // no seed, or an empty one
	}
	const large = 1 << 20
	top := filepath.Join(seed, seedRegistry)
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, top))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if info, err := d.Info(); err != nil || info.Size() > large {
			return errors.Join(err, os.Symlink(path, to))
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	})
	if err != nil {
		return "", fmt.Errorf("plant registry: %w", err)
	}
	return string(text), nil
}

package here

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Saved is a volume that was saved and removed.
type Saved struct {
	Volume string `json:"volume"`
	File   string `json:"file"`   // tar, gzip; beside it FILE.sha256, as sha256sum -c reads it
	SHA256 string `json:"sha256"` //
	Bytes  int64  `json:"bytes"`  // of the file
}

// Named are the named volumes of a service that are there and that nobody else uses. A volume that other
// containers use too is a fault.Refused.
func (d *Deploy) Named(ctx context.Context, s spec.Service, own []fleet.Instance) ([]fleet.Volume, error) {
	var out []fleet.Volume
	for _, v := range s.Volumes {
		if filepath.IsAbs(v.Source) || slices.ContainsFunc(out, func(o fleet.Volume) bool { return o.Name == v.Source }) {
			continue
		}
		found, err := d.Engine.Volume(ctx, v.Source)
		if errors.Is(err, fleet.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, user := range found.Users {
			if !slices.ContainsFunc(own, func(i fleet.Instance) bool { return i.Name == user }) {
				return nil, fault.WithHint(fault.New(fault.Refused, "remove volume %s: container %s uses it too", v.Source, user), "without --volumes the service goes and its volumes stay")
			}
		}
		out = append(out, found)
	}
	return out, nil
}

// roomKept is what a save leaves free on the disk, in bytes.
const roomKept = 64 << 20

// Room is nil when a folder has room for everything that these volumes hold, uncompressed. What cannot be measured here is left out.
func Room(dir string, volumes []fleet.Volume) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for volumes: %w", err)
	}
	var need int64
	for _, v := range volumes {
		err := filepath.WalkDir(v.Path, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil {
				need += info.Size() + 512
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("measure volume %s: %w", v.Name, err)
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("measure %s: %w", dir, err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; free < need+roomKept { //nolint:gosec // no disk is that large
		return fault.WithHint(fault.New(fault.Refused, "save volumes to %s: they hold %d MiB, and %d MiB are free there", dir, need>>20, free>>20),
			"--to names another folder")
	}
	return nil
}

// Save writes what a volume holds to a file of a folder: whole and on the disk, with its checksum read back, or not at all.
func (d *Deploy) Save(ctx context.Context, v fleet.Volume, image, dir string, now time.Time) (Saved, error) {
	_, ref, err := d.Images().find(ctx, image)
	if errors.Is(err, fleet.ErrNotFound) {
		if err = d.World.Images.Pull(ctx, image, nil); err == nil {
			_, ref, err = d.Images().find(ctx, image)
		}
	}
	if err != nil {
		return Saved{}, err
	}
	out := Saved{Volume: v.Name, File: filepath.Join(dir, fmt.Sprintf("%s-%s-%s-%s.tar.gz", d.App, d.Service, v.Name, now.UTC().Format("20060102T150405Z")))}
	err = d.Engine.ReadVolume(ctx, v.Name, ref, func(r io.Reader) error {
		var err error
		out.SHA256, out.Bytes, err = writeWhole(out.File, r)
		return err
	})
	if err != nil {
		return Saved{}, fmt.Errorf("save volume %s: %w", v.Name, err)
	}
	return out, nil
}

// writeWhole compresses r into a new file, proves what lies on the disk, and only then gives it its name.
func writeWhole(path string, r io.Reader) (sum string, size int64, err error) {
	f, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(path + ".part")
		}
	}()
	hash := sha256.New()
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, hash), gzip.BestSpeed)
	if err != nil {
		return "", 0, err
	}
	if _, err = io.Copy(z, r); err == nil {
		err = errors.Join(z.Close(), f.Sync())
	}
	if err != nil {
		return "", 0, err
	}
	sum = hex.EncodeToString(hash.Sum(nil))
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	again := sha256.New()
	if size, err = io.Copy(again, f); err != nil {
		return "", 0, err
	}
	if got := hex.EncodeToString(again.Sum(nil)); got != sum {
		err = fmt.Errorf("what was written to %s reads back differently", path)
		return "", 0, err
	}
	if err = os.WriteFile(path+".sha256", []byte(sum+"  "+filepath.Base(path)+"\n"), 0o600); err != nil {
		return "", 0, err
	}
	if err = os.Rename(path+".part", path); err != nil {
		return "", 0, err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", 0, err
	}
	defer folder.Close()
	err = folder.Sync()
	return sum, size, err
}

// Described is a service as its release describes it: the one that runs here, else the app's.
func (d *Deploy) Described(ctx context.Context, list []fleet.Instance) (fleet.Release, spec.Service, error) {
	name := ""
	if len(list) > 0 {
		name = list[len(list)-1].Release
	}
	release, err := apply.Choose(ctx, d.Consul, d.App, d.Service, name)
	if err != nil {
		return release, spec.Service{}, err
	}
	app, err := apply.SpecOf(release)
	if err != nil {
		return release, spec.Service{}, err
	}
	s, ok := app.Service(d.Service)
	if !ok {
		return release, s, fault.New(fault.NotFound, "service %s is not in release %s of %s", d.Service, release.Name, d.App)
	}
	return release, s, nil
}

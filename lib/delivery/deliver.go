package delivery

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// The bounds of what is delivered to one container.
const (
	maxFiles   = 1000
	maxContent = 4 << 20 // bytes of one file
)

// tempPrefix marks a file that is being written. No secret and no rendered file begins so.
const tempPrefix = ".new-"

// Owner is the user of a container in the node's numbers (docker.HostID).
type Owner struct{ UID, GID int }

// item is one file to be delivered.
type item struct {
	name    string // below the container's folder, e.g. secrets/KEY
	content []byte
	mode    fs.FileMode
	owner   Owner
}

// Deliver makes the folder of a container hold the secrets and the rendered files
// of v and nothing else. Every file is replaced by a rename, so a reader sees the
// old content or the new; all are written before the first is replaced, so a full
// tmpfs changes nothing. What is the same already is not touched. It returns the
// names below the folder that changed or went, sorted.
//
// Without root a file cannot be given away: then secrets for another user are 0444
// and belong to the caller, behind the 0700 of the folder.
func (s *Store) Deliver(name string, v spec.Values, owner Owner) ([]string, error) {
	changed, err := s.deliver(name, v, owner)
	if err != nil {
		return nil, fmt.Errorf("deliver files of %s: %w", name, err)
	}
	return changed, nil
}

func (s *Store) deliver(name string, v spec.Values, owner Owner) ([]string, error) {
	items, err := itemsOf(v, owner, Owner{os.Geteuid(), os.Getegid()})
	if err != nil {
		return nil, err
	}
	return s.deliverItems(name, items)
}

func (s *Store) deliverItems(name string, items []item) ([]string, error) {
	dir, err := s.open(name, true)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	staged, err := stage(dir, items)
	defer func() {
		for _, temp := range staged {
			_ = dir.Remove(temp)
		}
	}()
	if err != nil {
		return nil, err
	}
	changed := slices.Sorted(maps.Keys(staged))
	for _, to := range changed {
		if err := dir.Rename(staged[to], to); err != nil {
			return nil, err
		}
		delete(staged, to)
	}
	gone, err := removeOthers(dir, items)
	if err != nil {
		return nil, err
	}
	changed = append(changed, gone...)
	slices.Sort(changed)
	return changed, nil
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$`)

// itemsOf checks names and sizes: they come from Consul KV and from app.yaml.
func itemsOf(v spec.Values, owner, self Owner) ([]item, error) {
	mode := secretMode
	if self.UID != 0 {
		if owner.UID != self.UID {
			mode = fileMode
		}
		owner = self
	}
	if len(v.Secrets)+len(v.Files) > maxFiles {
		return nil, fault.New(fault.Invalid, "%d files, more than %d", len(v.Secrets)+len(v.Files), maxFiles)
	}
	var out []item
	for _, key := range slices.Sorted(maps.Keys(v.Secrets)) {
		if !keyPattern.MatchString(key) {
			return nil, fault.New(fault.Invalid, "secret %q: cannot be the name of a file", key)
		}
		out = append(out, item{path.Join(secretsDir, key), []byte(v.Secrets[key]), mode, owner})
	}
	for _, f := range v.Files {
		if !path.IsAbs(f.To) || path.Clean(f.To) != f.To || f.To == "/" {
			return nil, fault.New(fault.Invalid, "file %q: not a clean absolute path", f.To)
		}
		out = append(out, item{path.Join(filesDir, FileName(f.To)), f.Content, fileMode, owner})
	}
	for _, it := range out {
		if len(it.content) > maxContent {
			return nil, fault.New(fault.Invalid, "%s: %d bytes, more than %d", it.name, len(it.content), maxContent)
		}
	}
	return out, nil
}

// stage writes what differs beside its place, and returns place → temporary name,
// also of a failed try.
func stage(dir *os.Root, items []item) (map[string]string, error) {
	staged := map[string]string{}
	for _, it := range items {
		if same(dir, it) {
			continue
		}
		temp := path.Join(path.Dir(it.name), tempPrefix+rand.Text())
		staged[it.name] = temp
		if err := write(dir, temp, it, false); err != nil {
			return staged, fmt.Errorf("write %s: %w", it.name, err)
		}
	}
	return staged, nil
}

// write makes a new file with exactly that mode and owner; sync brings it to the disk.
func write(dir *os.Root, name string, it item, sync bool) (err error) {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(it.content); err != nil {
		return err
	}
	if err := f.Chown(it.owner.UID, it.owner.GID); err != nil {
		return fault.WithHint(fault.New(fault.Refused, "give it to the container's user %d: %w", it.owner.UID, err), "run as root")
	}
	if err := f.Chmod(it.mode); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	return f.Sync()
}

// same reports whether the file is there already, with that content, mode and owner.
func same(dir *os.Root, it item) bool {
	info, err := dir.Lstat(it.name)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != it.mode || info.Size() != int64(len(it.content)) || ownerOf(info) != it.owner {
		return false
	}
	have, err := dir.ReadFile(it.name)
	return err == nil && string(have) == string(it.content)
}

// removeOthers removes what no item names, temporary files of a killed run included.
func removeOthers(dir *os.Root, items []item) ([]string, error) {
	var gone []string
	for _, sub := range []string{secretsDir, filesDir} {
		entries, err := fs.ReadDir(dir.FS(), sub)
		if err != nil {
			return gone, err
		}
		for _, e := range entries {
			name := path.Join(sub, e.Name())
			if slices.ContainsFunc(items, func(it item) bool { return it.name == name }) {
				continue
			}
			if err := dir.RemoveAll(name); err != nil {
				return gone, err
			}
			gone = append(gone, name)
		}
	}
	return gone, nil
}

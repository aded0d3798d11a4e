// Package ground makes places to test in: a network namespace with a Docker
// engine of its own inside. It never talks to the machine's own engine and
// opens no port of the machine.
//
// What a place owns carries its id, so that whoever comes next can recognise
// all of it, also after a crash:
//
//	/run/netns/svckit-ID       the namespace; every process inside is the place's
//	/run/svckit-lab/ID         a tmpfs: socket, logs, run folders
//	/var/lib/svckit-lab/ID     images and containers
//	/sys/fs/cgroup/…/svckit-ID the containers' control groups
//
// A lab is the place with the lab's name plus every place NAME.SOMETHING that
// tests made beside it.
package ground

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	runRoot  = "/run/svckit-lab"
	dataRoot = "/var/lib/svckit-lab"
	nsRoot   = "/run/netns"
	prefix   = "svckit-"
)

// Place names one network namespace with what belongs to it. Make one with NewPlace.
type Place struct{ id string }

// NewPlace checks a name: a lab ("test"), or a place beside it ("test.e1").
// Unix socket paths are short, so names are too.
func NewPlace(id string) (Place, error) {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}(\.[a-z0-9]{1,12})?$`).MatchString(id) {
		return Place{}, fmt.Errorf("lab name %q: want at most 20 of a-z, 0-9 and -", id)
	}
	return Place{id}, nil
}

// String is the place's id.
func (p Place) String() string { return p.id }

// Namespace is the path of the network namespace.
func (p Place) Namespace() string { return filepath.Join(nsRoot, prefix+p.id) }

// Run is the folder on a tmpfs.
func (p Place) Run() string { return filepath.Join(runRoot, p.id) }

// Data is the folder on disk.
func (p Place) Data() string { return filepath.Join(dataRoot, p.id) }

// Host is the address of the place's engine.
func (p Place) Host() string { return "unix://" + p.Run() + "/docker.sock" }

// Inside is the prefix that runs a program in the place's network.
// (`ip netns exec` would hide the control groups.)
func (p Place) Inside() []string { return []string{"nsenter", "--net=" + p.Namespace()} }

// placesOf finds the lab's place and all places beside it that left a trace.
func placesOf(lab string) ([]Place, error) {
	all, err := Places()
	return slices.DeleteFunc(all, func(p Place) bool {
		return p.id != lab && !strings.HasPrefix(p.id, lab+".")
	}), err
}

// Places finds every place of which anything exists, sorted by id.
func Places() ([]Place, error) {
	var ids []string
	for _, root := range []struct{ dir, prefix string }{
		{nsRoot, prefix}, {runRoot, ""}, {dataRoot, ""}, {"/sys/fs/cgroup", prefix}, {"/sys/fs/cgroup/pids", prefix},
	} {
		entries, err := os.ReadDir(root.dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("look for labs: %w", err)
		}
		for _, e := range entries {
			id, ours := strings.CutPrefix(e.Name(), root.prefix)
			if ours && !strings.HasSuffix(id, lockSuffix) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	var places []Place
	for _, id := range slices.Compact(ids) {
		if p, err := NewPlace(id); err == nil {
			places = append(places, p)
		}
	}
	return places, nil
}

// Labs finds every lab of which anything exists, running or not.
func Labs() ([]Place, error) {
	places, err := Places()
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, p := range places {
		lab, _, _ := strings.Cut(p.id, ".")
		ids[lab] = true
	}
	locks, _ := filepath.Glob(runRoot + "/*" + lockSuffix)
	for _, file := range locks {
		ids[strings.TrimSuffix(filepath.Base(file), lockSuffix)] = true
	}
	var labs []Place
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if p, err := NewPlace(id); err == nil {
			labs = append(labs, p)
		}
	}
	return labs, nil
}

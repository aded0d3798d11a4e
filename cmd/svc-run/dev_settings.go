package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/tool"
)

const (
	devRelease = "dev"            // the release of a developer's containers
	devEnv     = "dev.env"        // config for this machine alone
	devImages  = "svckit-dev/"    // repository of a developer's images: one per app is kept
	devStop    = 10 * time.Second // longest time between TERM and KILL
	devSettled = time.Second      // how long one without a check must run
	devLock    = 10 * time.Second // how long a run of `up` beside this one is waited for
	devEnd     = 45 * time.Second // for taking everything down
)

// developerSettings are the node's settings for a developer's machine: nothing
// is published beyond it, and the run folder needs no root.
func developerSettings(w *here.Node, s *tool.Session) error {
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	usual := node.Default()
	if settings.Address == "" {
		settings.Address = "127.0.0.1"
	}
	if settings.DNSMargin == usual.DNSMargin {
		settings.DNSMargin = 0
	}
	if settings.RunDir == usual.RunDir && os.Geteuid() != 0 {
		if settings.RunDir, err = privateRunDir(w.Getenv); err != nil {
			return err
		}
	}
	w.Use(settings)
	return nil
}

// privateRunDir is a folder on a tmpfs that only this user can write to.
func privateRunDir(getenv func(string) string) (string, error) {
	dir := "/dev/shm/svckit-" + strconv.Itoa(os.Geteuid())
	if run := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		dir = filepath.Join(run, "svckit")
	}
	// Anybody may make files in /dev/shm: a folder that was there before must be ours.
	if err := os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
		return "", fault.WithHint(fault.New(fault.Failed, "make run folder: %w", err), "set SVC_RUN_DIR to a folder of yours on a tmpfs")
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fault.WithHint(fault.New(fault.Refused, "use run folder %s: it is not a folder that only you can write to", dir),
			"remove it, or set SVC_RUN_DIR to a folder of yours on a tmpfs")
	}
	return dir, nil
}

// ownContainers makes containers that belong to this process: labelled with it,
// never started again by the engine, their output followed.
type ownContainers struct {
	engine
	owner   string // a fleet.Holder as JSON
	started func(id string)
	read    func(id string) // waits until the output of one that ended was shown
}

// engine is what ownContainers passes on.
type engine interface {
	Create(ctx context.Context, c fleet.Container) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
}

func (o ownContainers) Create(ctx context.Context, c fleet.Container) (string, error) {
	c.Labels[fleet.LabelOwner] = o.owner
	c.Restart = "no" // what ends is shown, and waits for a change
	return o.engine.Create(ctx, c)
}

func (o ownContainers) Start(ctx context.Context, id string) error {
	err := o.engine.Start(ctx, id)
	if err == nil {
		o.started(id)
	}
	return err
}

// Remove lets the last words of a container be read first.
func (o ownContainers) Remove(ctx context.Context, id string) error {
	if err := o.engine.Stop(ctx, id); err != nil {
		return err
	}
	o.read(id)
	return o.engine.Remove(ctx, id)
}

// ownViews hides the containers of an app that belong to somebody else, so that
// no plan touches them.
type ownViews struct {
	views
	app   string
	owner fleet.Holder
}

// views is what ownViews passes on.
type views interface {
	Instances(ctx context.Context, app, service string) ([]fleet.Instance, error)
	Instance(ctx context.Context, id string) (fleet.Instance, error)
	Processes(ctx context.Context, id string) ([]fleet.Process, error)
	Tail(ctx context.Context, id string, lines int) ([]string, error)
}

func (o ownViews) Instances(ctx context.Context, app, service string) ([]fleet.Instance, error) {
	all, err := o.views.Instances(ctx, app, service)
	var out []fleet.Instance
	for _, i := range all {
		if i.App != o.app || belongs(i, o.owner) {
			out = append(out, i)
		}
	}
	return out, err
}

// belongs reports whether a container is one of this very process.
func belongs(i fleet.Instance, h fleet.Holder) bool {
	o := i.Owner
	return o != nil && o.PID == h.PID && o.Started == h.Started && o.Boot == h.Boot && o.Space == h.Space
}

// leftover reports whether a container's owner is certainly dead.
func leftover(i fleet.Instance, alive func(fleet.Holder) bool) bool {
	return i.Owner != nil && !alive(*i.Owner)
}

// owner describes this process.
func owner(w *here.Node, s *tool.Session) (fleet.Holder, string, error) {
	h, err := node.Holder(node.Who(w.Getenv), hostname(), s.Program+" "+s.Command, w.Now())
	if err != nil {
		return h, "", err
	}
	text, err := json.Marshal(h)
	return h, string(text), err
}

// consulProgram finds the program for an agent of our own; "" when there is none.
func consulProgram(given string) (string, error) {
	if given != "" {
		path, err := exec.LookPath(given)
		if err != nil {
			return "", fault.New(fault.NotFound, "find consul: %w", err)
		}
		return filepath.Abs(path)
	}
	path, err := exec.LookPath("consul")
	if err != nil {
		return "", nil //nolint:nilerr // that there is none is an answer
	}
	return filepath.Abs(path)
}

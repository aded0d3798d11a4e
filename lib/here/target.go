package here

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// SpecFile is the name of a spec in the folder of its source.
const SpecFile = "app.yaml"

// maxSpec bounds an app.yaml in bytes.
const maxSpec = 1 << 20

// Target is what a command is called on.
type Target struct {
	App     string
	Service string // "" is every service of the app
}

func (t Target) String() string {
	if t.Service == "" {
		return t.App
	}
	return t.App + "/" + t.Service
}

// Target finds out what arg means here. local is the spec in the folder when it
// was needed to know, else nil.
func (w *Node) Target(arg string) (t Target, local *spec.App, err error) {
	if t, ok, err := absolute(arg); ok || err != nil {
		return t, nil, err
	}
	local, err = w.Spec()
	if err != nil {
		return Target{}, nil, err
	}
	t, err = relative(arg, local)
	return t, local, err
}

// Spec reads the app.yaml of the folder; nil when there is none.
func (w *Node) Spec() (*spec.App, error) {
	path := filepath.Join(w.Folder, SpecFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if len(text) > maxSpec {
		return nil, fault.New(fault.Invalid, "read spec: %s is longer than %d bytes", path, maxSpec)
	}
	app, problems := spec.Decode(SpecFile, text)
	if err := spec.Invalid("read "+SpecFile, problems); err != nil {
		return nil, err
	}
	return &app, nil
}

// absolute reads APP/SERVICE, which means the same everywhere.
func absolute(arg string) (t Target, ok bool, err error) {
	app, service, err := spec.ParseRef(orAny(arg))
	if err != nil {
		return Target{}, false, err
	}
	if app == "" {
		return Target{}, false, nil
	}
	return Target{App: app, Service: service}, true, nil
}

// orAny stands in for no argument, whose name needs no check.
func orAny(arg string) string {
	if arg == "" {
		return "a"
	}
	return arg
}

// relative reads SERVICE, APP or nothing in a folder whose spec is local (nil: it has none).
func relative(arg string, local *spec.App) (Target, error) {
	switch {
	case local == nil && arg == "":
		return Target{}, fault.WithHint(fault.New(fault.Usage, "no %s here, so the app must be named", SpecFile), "name it as APP or APP/SERVICE")
	case local == nil:
		return Target{App: arg}, nil
	case arg == "" || arg == local.Name:
		return Target{App: local.Name}, nil
	}
	if _, ok := local.Service(arg); ok {
		return Target{App: local.Name, Service: arg}, nil
	}
	return Target{App: arg}, nil
}

// One insists on a single service: the only one of the app, if none was named.
func One(t Target, app *spec.App) (Target, error) {
	if t.Service != "" || app == nil {
		return t, nil
	}
	if len(app.Services) == 1 {
		return Target{App: t.App, Service: app.Services[0].Key}, nil
	}
	e := fault.New(fault.Usage, "%s has %d services, so one must be named", t.App, len(app.Services))
	for _, s := range app.Services {
		e.Detail = append(e.Detail, t.App+"/"+s.Key)
	}
	return Target{}, e
}

// Service is the one service that a command is called on.
func (w *Node) Service(args []string) (Target, error) {
	if len(args) > 1 {
		return Target{}, fault.New(fault.Usage, "expected one service, got %d arguments", len(args))
	}
	arg := ""
	if len(args) == 1 {
		arg = args[0]
	}
	t, local, err := w.Target(arg)
	if err != nil {
		return Target{}, err
	}
	if t, err = One(t, local); err == nil && t.Service == "" {
		err = fault.WithHint(fault.New(fault.Usage, "%s names no service", t.App), "name it as %s/SERVICE", t.App)
	}
	return t, err
}

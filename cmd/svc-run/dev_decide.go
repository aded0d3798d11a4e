package main

import (
	"path"
	"slices"
	"strings"

	"svckit/lib/fleet"
	"svckit/lib/spec"
	"svckit/lib/watch"
)

// reaction is what a change of files leads to for one service.
type reaction string

// The reactions, from the quickest to the slowest.
const (
	doReload  reaction = "reload"  // HUP to its master, which loads the mounted code again
	doRestart reaction = "restart" // the same container, stopped and started
	doBring   reaction = "bring"   // build if needed, plan and walk, as up does
)

// standing is what a reaction depends on.
type standing struct {
	mounted bool // the container sees the source itself
	running bool
	master  spec.Master
	inputs  []string // files that more than the code is made of: app.yaml, dev.env, templates, Dockerfile
}

// react decides what a change of these paths leads to, and why.
func react(changed []string, in standing) (reaction, string) {
	for _, p := range changed {
		switch {
		case p == watch.Everything:
			return doBring, "more changed than could be followed"
		case slices.Contains(in.inputs, p), makesImage(p):
			return doBring, p + " changed"
		}
	}
	what := named(changed)
	switch {
	case !in.running:
		return doBring, what + " changed, and it does not run"
	case !in.mounted:
		return doBring, what + " changed"
	case in.master == spec.Gunicorn || in.master == spec.UWSGI:
		return doReload, what + " changed"
	}
	return doRestart, what + " changed"
}

// makesImage reports whether a file says what is installed into the image.
func makesImage(p string) bool {
	base := path.Base(p)
	switch base {
	case ".dockerignore", "Gemfile", "Gemfile.lock", "pyproject.toml", "setup.py", "setup.cfg", "poetry.lock", "uv.lock",
		"package.json", "package-lock.json", "npm-shrinkwrap.json", "go.mod", "go.sum":
		return true
	}
	return strings.HasSuffix(base, ".txt") && (strings.HasPrefix(base, "requirements") || strings.HasPrefix(base, "constraints")) ||
		strings.HasSuffix(base, ".gemspec") || strings.HasSuffix(base, ".dockerignore")
}

// named is a list of paths for a line of talk.
func named(paths []string) string {
	switch len(paths) {
	case 0:
		return "nothing"
	case 1:
		return paths[0]
	}
	return paths[0] + " and " + count(len(paths)-1, "other")
}

// mountAt is where a container sees the source instead of the copy in its image,
// or "" and why it is the copy.
//
// Runtime python installs what it needs outside of its WORKDIR, so a mount hides
// nothing. In node's lies node_modules, in ruby's the Gemfile.lock of the build; go
// and static have no source in the image; what an own Dockerfile puts where is not known.
func mountAt(app spec.App, s spec.Service, image fleet.Image) (target, why string) {
	switch {
	case s.Code.Mount != "":
		return s.Code.Mount, ""
	case app.Build.Runtime == spec.Python:
		if path.IsAbs(image.WorkDir) && path.Clean(image.WorkDir) != "/" {
			return path.Clean(image.WorkDir), ""
		}
		return "", "its image has no WORKDIR"
	case app.Build.Runtime == "":
		return "", "set code.mount in app.yaml to mount the source"
	}
	return "", "runtime " + string(app.Build.Runtime) + " is built, not mounted"
}

// developers adapts a service to one developer: nobody's requests can be lost, so
// nothing is waited for, and cores are shared. Code is mounted from the source, or
// what the image holds.
func developers(s spec.Service) spec.Service {
	s.Stop.Drain = 0
	s.Stop.Timeout = min(s.Stop.Timeout, devStop)
	s.Check.MinHealthy = 0
	if s.Check.Type == spec.NoCheck || s.Check.Type == spec.CheckTTL {
		s.Check.MinHealthy = devSettled // nothing is asked: one that ends at once must be seen
	}
	s.Resources.CPU, s.Resources.CPUBinding = 0, false
	s.Code = spec.Code{}
	return s
}

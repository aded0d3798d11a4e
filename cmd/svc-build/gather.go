package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"svckit/lib/dockerfile"
	"svckit/lib/fault"
	"svckit/lib/source"
	"svckit/lib/spec"
)

// Bounds of a release record, which must fit into one value of Consul (512 KiB).
const (
	maxSpec     = 64 << 10
	maxTemplate = 256 << 10 // all templates together
)

// subject is what one build is about: everything that is known before it begins.
type subject struct {
	options
	dir       string
	spec      spec.App
	text      string            // app.yaml, byte for byte
	templates map[string]string // path → text
	tree      *source.Tree
	origin    source.Origin
	release   string
	repo      string // without tag
	generated bool   // the Dockerfile is
	secrets   map[string][]byte
	created   time.Time // of the source: the same source gives the same image
}

// ref is repo:tag.
func (s subject) ref() string { return s.repo + ":" + s.release }

// gather reads and checks all that a build needs, so that nothing is found missing after minutes.
func gather(ctx context.Context, o options, getenv func(string) string) (subject, error) {
	s := subject{options: o, dir: filepath.Dir(o.file)}
	var err error
	if s.spec, s.text, err = readSpec(o.file); err != nil {
		return s, err
	}
	if s.templates, err = readTemplates(s.dir, s.spec); err != nil {
		return s, err
	}
	if s.secrets, err = source.ReadSecrets(o.secrets, s.spec.Build.Secrets, getenv); err != nil {
		return s, err
	}
	if s.repo, err = repository(s.spec, o); err != nil {
		return s, err
	}
	text, err := dockerfile.For(os.DirFS(s.dir), o.file, s.spec)
	if err != nil {
		return s, err
	}
	s.generated = text != nil
	if s.tree, err = source.Scan(ctx, s.dir, s.spec.Build.Dockerfile, text); err != nil {
		return s, err
	}
	return s, s.name(ctx)
}

// name finds out what the source is called.
func (s *subject) name(ctx context.Context) (err error) {
	if s.origin, err = source.Inspect(ctx, s.dir); err != nil {
		return err
	}
	hash := ""
	s.created = s.origin.Time
	if !s.origin.Known() || s.origin.Dirty {
		s.created = s.tree.Newest()
		if hash, err = s.tree.Hash(ctx, []byte(s.text)); err != nil {
			return err
		}
	}
	s.release = source.ReleaseName(s.origin.Git, hash)
	if s.tag != "" {
		s.release = s.tag
	}
	return nil
}

func readSpec(file string) (spec.App, string, error) {
	text, err := source.ReadFile(filepath.Dir(file), filepath.Base(file), maxSpec)
	if errors.Is(err, fs.ErrNotExist) {
		return spec.App{}, "", fault.WithHint(fault.New(fault.NotFound, "read spec: there is no %s", file),
			"svc-build init --runtime python NAME makes a project; -f names another file")
	}
	if err != nil {
		return spec.App{}, "", err
	}
	app, problems := spec.Decode(file, text)
	return app, string(text), spec.Invalid(file, problems)
}

// readTemplates reads the templates that the services name: they travel in the release.
func readTemplates(dir string, app spec.App) (map[string]string, error) {
	texts := map[string]string{}
	var problems []spec.Problem
	total := 0
	for _, service := range app.Services {
		for _, f := range service.Config.Files {
			if _, ok := texts[f.Template]; ok {
				continue
			}
			text, err := source.ReadFile(dir, f.Template, maxTemplate)
			if err == nil && !utf8.Valid(text) {
				err = errors.New("not UTF-8")
			}
			if err != nil {
				problems = append(problems, spec.Problem{Path: "services." + service.Key + ".config.files", Msg: fmt.Sprintf("template %s: %v", f.Template, err)})
				continue
			}
			texts[f.Template] = string(text)
			total += len(text)
		}
	}
	if total > maxTemplate {
		problems = append(problems, spec.Problem{Msg: fmt.Sprintf("the templates have %d KiB together, at most %d KiB fit into a release", total>>10, maxTemplate>>10)})
	}
	return texts, spec.Invalid("read templates", problems)
}

// repository is where the image goes. Without build.image an image can only stay here.
func repository(app spec.App, o options) (string, error) {
	switch {
	case app.Build.Image != "":
		return app.Build.Image, nil
	case o.push:
		return "", spec.Invalid(o.file, []spec.Problem{{File: o.file, Path: "build.image", Msg: "missing: --push needs a repository, e.g. registry.example:5000/" + app.Name}})
	}
	return app.Name, nil
}

// labels are the image's OCI annotations (org.opencontainers.image.*). Nothing in them
// changes while the source does not.
func (s subject) labels() map[string]string {
	const oci = "org.opencontainers.image."
	out := map[string]string{
		oci + "title": s.spec.Name, oci + "version": s.release, oci + "created": s.created.Format(time.RFC3339),
	}
	if s.origin.Known() {
		out[oci+"revision"] = s.origin.Commit
		if s.origin.Dirty {
			out[oci+"revision"] += "-dirty"
		}
	}
	if s.origin.Remote != "" {
		out[oci+"source"] = s.origin.Remote
	}
	return out
}

// names lists keys in order, for a plan: values may be nobody's business.
func names[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

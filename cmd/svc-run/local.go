package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/joho/godotenv"
	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/delivery"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/registry"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// upLocal is `up --local`: everything that Consul's KV would say comes from files
// of this machine. The agent is used for registration where it answers.
func upLocal(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	if c.String("image") == "" {
		return fault.WithHint(fault.New(fault.Usage, "--local needs --image"), "svc-build prints the image's name")
	}
	if c.String("release") != "" || c.Bool("promote") {
		return fault.New(fault.Usage, "--release and --promote need Consul's KV, which --local does not use")
	}
	folder, err := readFolder(c.String("file"))
	if err != nil {
		return err
	}
	service, err := folder.service(s.Args)
	if err != nil {
		return err
	}
	d, err := openLocal(ctx, w, s, here.Target{App: folder.app.Name, Service: service.Key})
	if err != nil {
		return err
	}
	d.Wait = c.Duration("wait-lock")
	return d.Run(ctx, func(ctx context.Context) (apply.Job, error) {
		layers, err := localConfig(d, c.String("env-file"), service)
		if err != nil {
			return apply.Job{}, err
		}
		image, err := pinned(ctx, d, c.String("image"))
		if err != nil {
			return apply.Job{}, err
		}
		release := fleet.Release{App: folder.app.Name, Name: "local", Image: image, Templates: folder.templates}
		job, err := apply.NewJob(d.Site, apply.Source{App: folder.app.Name, Service: service, Release: release, Layers: layers}, c.Int("instances"))
		job.Notify = folder.app.Notify
		if one, ok := d.World.Registrar.(here.Alone); ok && err == nil {
			err = one.Adopt(ctx, d.World.Views, job)
		}
		return job, err
	})
}

// folder is a source folder with its spec.
type folder struct {
	dir       string
	app       spec.App
	text      []byte
	templates map[string]string
}

// readFolder reads app.yaml and the templates it names.
func readFolder(file string) (folder, error) {
	text, err := readBounded(file, 64<<10)
	if errors.Is(err, os.ErrNotExist) {
		return folder{}, fault.WithHint(fault.New(fault.NotFound, "read spec: %w", err), "run it in a folder with app.yaml, or name the file with --file")
	}
	if err != nil {
		return folder{}, err
	}
	app, problems := spec.Decode(file, text)
	if err := spec.Invalid(file, problems); err != nil {
		return folder{}, err
	}
	f := folder{dir: filepath.Dir(file), app: app, text: text, templates: map[string]string{}}
	for _, s := range app.Services {
		for _, t := range s.Config.Files {
			text, err := readBounded(filepath.Join(f.dir, filepath.FromSlash(t.Template)), 256<<10)
			if err != nil {
				return folder{}, fault.New(fault.Invalid, "read template of service %s: %w", s.Key, err)
			}
			f.templates[t.Template] = string(text)
		}
	}
	return f, nil
}

// service is the one that the arguments name; with one service none need be named.
func (f folder) service(args []string) (spec.Service, error) {
	keys := make([]string, 0, len(f.app.Services))
	for _, s := range f.app.Services {
		keys = append(keys, s.Key)
	}
	switch {
	case len(args) == 0 && len(keys) == 1:
		return f.app.Services[0], nil
	case len(args) != 1:
		return spec.Service{}, fault.New(fault.Usage, "name one service of %s: %s", f.app.Name, strings.Join(keys, ", "))
	}
	app, key, err := spec.ParseRef(args[0])
	if err != nil {
		return spec.Service{}, fault.New(fault.Usage, "%w", err)
	}
	s, ok := f.app.Service(key)
	if !ok || app != "" && app != f.app.Name {
		return spec.Service{}, fault.New(fault.NotFound, "%s is not in %s: it has %s", args[0], f.app.Name, strings.Join(keys, ", "))
	}
	return s, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fault.New(fault.Invalid, "read %s: expected a file of at most %d KiB", path, limit>>10)
	}
	return os.ReadFile(path)
}

// openLocal opens the engine and, where one answers, the agent.
func openLocal(ctx context.Context, w *here.Node, s *tool.Session, of here.Target) (*here.Deploy, error) {
	d, err := here.OpenEngine(ctx, w, s, of)
	if err != nil {
		return nil, err
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	d.Agent, err = client.Self(ctx)
	switch {
	case err == nil:
		d.World.Registrar = here.AgentOnly{Client: client}
	case fault.KindOf(err) == fault.Unreachable:
		s.Say("note: no Consul agent answers; the service runs, and nobody finds it by name")
		d.World.Registrar = here.Alone{}
		if d.Agent, err = here.LastAgent(ctx, d.World.Views); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	d.Site.Trusted = true
	return d, d.Settle(ctx)
}

// localConfig is the config of local mode: a file of KEY=VALUE lines, else what
// this node kept from the last time that Consul answered.
func localConfig(d *here.Deploy, file string, s spec.Service) (spec.Layers, error) {
	if file != "" {
		return fileConfig(file, s)
	}
	values, at, err := delivery.LoadLast(d.Settings.StateDir, d.App, d.Service)
	if errors.Is(err, fleet.ErrNotFound) {
		return spec.Layers{}, nil
	}
	if err != nil {
		return spec.Layers{}, fmt.Errorf("read last good config: %w", err)
	}
	d.Session.Say("note: config is the last good one of this node, from %s", at.Format(time.RFC3339))
	return spec.Layers{Service: values.Env, Secrets: values.Secrets}, nil
}

// fileConfig reads KEY=VALUE lines. One file serves both: a key that the service
// names as a secret is one.
func fileConfig(file string, s spec.Service) (spec.Layers, error) {
	env, err := godotenv.Read(file)
	if err != nil {
		return spec.Layers{}, fault.New(fault.Invalid, "read %s: %w", file, err)
	}
	l := spec.Layers{Service: map[string]string{}, Secrets: map[string]string{}}
	for k, v := range env {
		if slices.Contains(s.Config.Secrets, k) {
			l.Secrets[k] = v
		} else {
			l.Service[k] = v
		}
	}
	return l, nil
}

// pinned turns an image's name into one that does not move: repo@sha256:…, else,
// for an image that was built here and never pushed, its ID.
//
// A tag that was pulled or pushed here is asked of its registry again, since it
// may have moved; when the registry does not answer, what is here is used.
func pinned(ctx context.Context, d *here.Deploy, ref string) (string, error) {
	if _, digest, ok := strings.Cut(ref, "@"); ok {
		// What svc-build prints of an image that it did not push names its ID.
		if image, err := d.Engine.Image(ctx, digest); err == nil && image.ID == digest {
			return digest, nil
		}
		return ref, nil
	}
	image, err := d.Engine.Image(ctx, ref)
	here := err == nil
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return "", err
	}
	byID := strings.HasPrefix(image.ID, ref) || strings.HasPrefix(image.ID, "sha256:"+ref)
	if here && (byID || len(image.Digests) == 0) {
		return image.ID, nil
	}
	info, err := d.Engine.Info(ctx)
	if err != nil {
		return "", err
	}
	repo := repository(ref)
	digest, err := registry.Digest(ctx, ref, registry.Insecure(ref, info.Insecure))
	if err == nil {
		return repo + "@" + digest, nil
	}
	for _, known := range image.Digests {
		if strings.HasPrefix(known, repo+"@") {
			d.Session.Say("note: whether %s has moved is not known, the image of this node is used: %v", ref, err)
			return known, nil
		}
	}
	if here {
		return image.ID, nil
	}
	return "", err
}

// repository is an image's name without its tag.
func repository(ref string) string {
	if at := strings.LastIndex(ref, ":"); at > strings.LastIndex(ref, "/") {
		return ref[:at]
	}
	return ref
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"svckit/lib/fault"
	"svckit/lib/source"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

//go:embed scaffold
var scaffolds embed.FS

// project is what a new folder is made from.
type project struct {
	name, registry, base string
	runtime              spec.Runtime
	ownBase              bool // --base: the base image brings what the app needs
}

func initFlags() []cli.Flag {
	return []cli.Flag{
		tool.DryRun(),
		&cli.StringFlag{Name: "runtime", Usage: "`RUNTIME` of the code: python, go, node, ruby or static"},
		&cli.StringFlag{Name: "registry", Value: "registry.service.consul:5000", Usage: "the image goes to `HOST`/NAME"},
		&cli.StringFlag{Name: "base", Usage: "build on `IMAGE`, which already brings the runtime (and, for python, gunicorn)"},
	}
}

// initProject makes a folder NAME in the current one: whole or not at all, and never over something.
func (w world) initProject(ctx context.Context, s *tool.Session, c *cli.Context) error {
	p, err := readProject(s.Args[0], c)
	if err != nil {
		return err
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(p.name); err == nil {
		return fault.WithHint(fault.New(fault.Refused, "make project %s: there is something of that name", p.name), "choose another name, or move it away")
	}
	if s.DryRun {
		return s.Result(map[string]any{"changed": false, "plan": names(files)}, func(out io.Writer) {
			for _, name := range names(files) {
				fmt.Fprintln(out, path.Join(p.name, name))
			}
		})
	}
	committed, err := p.make(ctx, files)
	if err != nil {
		return err
	}
	if !committed {
		s.Say("note: no git repository was made: git is missing, or this folder is in one already")
	}
	s.Say("next: cd %s && svc-run dev", p.name)
	return s.Result(map[string]any{"project": p.name, "runtime": p.runtime, "git": committed, "changed": true},
		func(out io.Writer) { fmt.Fprintln(out, p.name) })
}

var appSyntax = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func readProject(name string, c *cli.Context) (project, error) {
	p := project{name: name, runtime: spec.Runtime(c.String("runtime")), registry: strings.TrimSuffix(c.String("registry"), "/"), base: c.String("base")}
	if !appSyntax.MatchString(name) {
		return p, usage("expected a small letter, then at most 39 small letters, digits and -", "%q cannot be the name of an app", name)
	}
	usual := map[spec.Runtime]string{
		spec.Python: "python:3.12-slim", spec.Go: "golang:1.26-bookworm", spec.Node: "node:22-slim",
		spec.Ruby: "ruby:3.3", spec.Static: "nginxinc/nginx-unprivileged:stable-alpine",
	}
	if usual[p.runtime] == "" {
		return p, usage("expected --runtime python, go, node, ruby or static", "unknown runtime %q", p.runtime)
	}
	for _, text := range []string{p.base, p.registry} {
		if strings.ContainsAny(text, "\"\\ \n\t{}") {
			return p, usage("", "%q cannot be part of an image's name", text)
		}
	}
	p.ownBase = p.base != ""
	if !p.ownBase {
		p.base = usual[p.runtime]
	}
	return p, nil
}

// files renders the project: path → content.
func (p project) files() (map[string][]byte, error) {
	requirements := "gunicorn>=22,<24"
	if p.ownBase {
		requirements = "# The base image brings gunicorn: name here only what it lacks."
	}
	fill := strings.NewReplacer("{{name}}", p.name, "{{registry}}", p.registry, "{{base}}", p.base, "{{requirements}}", requirements)
	root := path.Join("scaffold", string(p.runtime))
	out := map[string][]byte{}
	err := fs.WalkDir(scaffolds, root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := scaffolds.ReadFile(at)
		if err != nil {
			return err
		}
		out[targetName(strings.TrimPrefix(at, root+"/"))] = []byte(fill.Replace(string(text)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read scaffold %s: %w", p.runtime, err)
	}
	return out, nil
}

// targetName undoes what keeps a scaffold's files from acting on our own source tree.
func targetName(at string) string {
	dir, base := path.Split(at)
	if rest, ok := strings.CutPrefix(base, "dot-"); ok {
		base = "." + rest
	}
	return dir + strings.TrimSuffix(base, ".tmpl")
}

// make writes the files into a hidden folder beside the target and renames it, which
// fails rather than replaces.
func (p project) make(ctx context.Context, files map[string][]byte) (committed bool, err error) {
	fail := func(err error) (bool, error) { return false, fmt.Errorf("make project %s: %w", p.name, err) }
	draft, err := os.MkdirTemp(".", "."+p.name+"-")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(draft) }() // after the rename there is nothing of that name
	if err := os.Chmod(draft, 0o755); err != nil {
		return fail(err)
	}
	for _, name := range names(files) {
		full := filepath.Join(draft, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fail(err)
		}
		if err := os.WriteFile(full, files[name], 0o644); err != nil {
			return fail(err)
		}
	}
	if committed, err = source.Start(ctx, draft, "Start "+p.name); err != nil {
		return fail(err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, draft, unix.AT_FDCWD, p.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system without that promise
		err = os.Rename(draft, p.name)
	}
	if err != nil {
		return fail(err)
	}
	return committed, nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func configCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "show the config of a service, and where each key comes from", ArgsUsage: "[APP/SERVICE]",
		Description: `Config is read from Consul as "up" would read it: the service's keys over the
app's over the shared ones. Secrets are shown by name and size only. Missing
required keys are listed, with exit code 11. The spec is the app.yaml of the
folder when it is of this app, else the current release's, else the newest one's.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "release", Usage: "the spec of this `RELEASE`"},
			&cli.BoolFlag{Name: "spec", Usage: "print the spec with every default instead"},
			&cli.BoolFlag{Name: "env", Usage: "print KEY='value' lines for a shell instead"},
		},
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if c.Bool("spec") && c.Bool("env") {
				return fault.New(fault.Usage, "--spec and --env exclude each other")
			}
			t, local, err := w.Target(c.Args().First())
			if err != nil {
				return err
			}
			found, err := specOf(ctx, w, s, t, local, c.String("release"))
			if err != nil {
				return err
			}
			if c.Bool("spec") {
				text := string(found.app.Marshal())
				return s.Result(specResult{t.App, found.from, text}, func(w io.Writer) { fmt.Fprint(w, text) })
			}
			return config(ctx, w, s, t, found, c.Bool("env"))
		}),
	}
}

type specResult struct {
	App  string `json:"app"`
	From string `json:"from"` // app.yaml, or the release
	Spec string `json:"spec"` // YAML
}

// foundSpec is a spec with the place it comes from.
type foundSpec struct {
	app  spec.App
	from string
}

// specOf finds the spec that config speaks of.
func specOf(ctx context.Context, w *here.Node, s *tool.Session, t here.Target, local *spec.App, release string) (foundSpec, error) {
	if local == nil && release == "" {
		local, _ = w.Spec() // a broken one of this folder may be of another app
	}
	if release == "" && local != nil && local.Name == t.App {
		return foundSpec{*local, here.SpecFile}, nil
	}
	client, err := w.Consul(s)
	if err != nil {
		return foundSpec{}, err
	}
	r, err := pickRelease(ctx, client, t, release)
	if err != nil {
		return foundSpec{}, err
	}
	app, problems := spec.Decode("release "+r.Name, []byte(r.Spec))
	return foundSpec{app, "release " + r.Name}, spec.Invalid("read spec of release "+r.Name, problems)
}

// pickRelease returns the named release, else what "up" would run.
func pickRelease(ctx context.Context, book apply.Book, t here.Target, name string) (fleet.Release, error) {
	if name == "" && t.Service == "" {
		current, err := book.Current(ctx, t.App)
		if err != nil {
			return fleet.Release{}, err
		}
		name = currentOf(current)
	}
	return apply.Choose(ctx, book, t.App, t.Service, name)
}

// currentOf returns the current release of an app whose services all have the same one.
func currentOf(c fleet.Current) string {
	var all []string
	for _, p := range c.Services {
		all = append(all, p.Release)
	}
	if all = sorted(all); len(all) == 1 {
		return all[0]
	}
	return ""
}

// layerReader is what config asks of Consul.
type layerReader interface {
	Layers(ctx context.Context, app, service string) (spec.Layers, error)
}

func config(ctx context.Context, w *here.Node, s *tool.Session, t here.Target, found foundSpec, env bool) error {
	t, err := here.One(t, &found.app)
	if err != nil {
		return err
	}
	service, ok := found.app.Service(t.Service)
	if !ok {
		return fault.New(fault.NotFound, "read config of %s: %s has no such service", t, found.from)
	}
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	return showConfig(ctx, s, client, t, service, found.from, env)
}

func showConfig(ctx context.Context, s *tool.Session, c layerReader, t here.Target, service spec.Service, from string, env bool) error {
	layers, err := c.Layers(ctx, t.App, t.Service)
	if err != nil {
		return err
	}
	s.Hide(slices.Collect(maps.Values(layers.Secrets))...)
	values, problems := spec.MergeConfig(service, layers)
	list := configList(t, from, service, layers, values, problems)
	if err := s.Result(list, func(w io.Writer) {
		if env {
			list.writeEnv(w)
		} else {
			list.write(w, s)
		}
	}); err != nil {
		return err
	}
	for _, k := range layers.Skipped {
		s.Say("skipped: %s", k)
	}
	return spec.Invalid("read config of "+t.String(), problems)
}

// configResult is what config prints.
type configResult struct {
	App      string               `json:"app"`
	Service  string               `json:"service"`
	From     string               `json:"from"` // whose spec said what is required
	Env      map[string]configKey `json:"env"`
	Secrets  map[string]int       `json:"secrets"`  // name → bytes; -1 when it is missing
	Skipped  []string             `json:"skipped"`  // keys that could not be used, with the reason
	Problems []string             `json:"problems"` // why "up" would refuse
}

type configKey struct {
	Value    string `json:"value"`
	Origin   string `json:"origin"` // shared, app or service
	Required bool   `json:"required"`
}

func configList(t here.Target, from string, service spec.Service, l spec.Layers, v spec.Values, problems []spec.Problem) configResult {
	out := configResult{
		App: t.App, Service: t.Service, From: from, Env: map[string]configKey{}, Secrets: map[string]int{},
		Skipped: append([]string{}, l.Skipped...), Problems: []string{},
	}
	for key, value := range v.Env {
		out.Env[key] = configKey{Value: value, Origin: v.Origin[key], Required: slices.Contains(service.Config.Env, key)}
	}
	for _, name := range service.Config.Secrets {
		out.Secrets[name] = -1
		if value, ok := v.Secrets[name]; ok {
			out.Secrets[name] = len(value)
		}
	}
	for _, p := range problems {
		out.Problems = append(out.Problems, p.String())
	}
	return out
}

func (l configResult) write(w io.Writer, s *tool.Session) {
	t := s.Table("KEY", "FROM", "VALUE")
	for _, key := range slices.Sorted(maps.Keys(l.Env)) {
		k := l.Env[key]
		t.Cells(cell(key), cell(k.Origin), cell(cut(k.Value, 80)))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Secrets)) {
		if n := l.Secrets[name]; n < 0 {
			t.Cells(cell(name), cell("secret"), tool.Cell{Text: "missing", Tint: tool.Bad})
		} else {
			t.Cells(cell(name), cell("secret"), tool.Cell{Text: fmt.Sprintf("(%d bytes)", n), Tint: tool.Faint})
		}
	}
	t.Write(w)
}

// writeEnv writes lines that a shell can source. Secrets are not among them.
func (l configResult) writeEnv(w io.Writer) {
	for _, key := range slices.Sorted(maps.Keys(l.Env)) {
		fmt.Fprintf(w, "%s=%s\n", key, shellQuote(l.Env[key].Value))
	}
}

// shellQuote writes a value so that a POSIX shell reads it back unchanged.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

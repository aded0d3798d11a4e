package spec

import (
	"fmt"
	"slices"
	"strings"

	y "svckit/lib/strictyaml"
)

// Bounds of an app.yaml, far above what an app needs.
const (
	maxServices = 64
	maxItems    = 256 // of any list
	maxProblems = 100 // that are listed one by one
)

// Decode reads app.yaml. It returns every problem at once, sorted by place,
// with file as given; the App is whole, defaulted and valid only when there is
// none. The notation is strict: an unknown key or a wrong type is a problem.
func Decode(file string, text []byte) (App, []Problem) {
	root, bad := y.Parse(text)
	if len(bad) > 0 {
		return App{}, places(file, bad)
	}
	d := decoder{Reader: y.Reader{Elsewhere: misplaced()}}
	app := d.app(root)
	if bad := d.Problems(); len(bad) > 0 {
		return App{}, places(file, bad)
	}
	return app, nil
}

// places gives problems their file and cuts off what nobody would read.
func places(file string, bad []y.Problem) []Problem {
	var out []Problem
	for i, p := range bad {
		if i == maxProblems {
			return append(out, Problem{File: file, Msg: fmt.Sprintf("%d more problems", len(bad)-i)})
		}
		out = append(out, Problem{File: file, Line: p.Line, Col: p.Col, Path: p.Path, Msg: p.Msg})
	}
	return out
}

// misplaced keys, each with the section that it belongs to.
func misplaced() map[string]string {
	out := map[string]string{}
	for section, keys := range map[string]string{
		"build": "dockerfile runtime image args test", "check": "http tcp grpc ttl interval min_healthy deadline",
		"stop": "signal drain", "deploy": "batch canary floor window", "code": "mount", "config": "env files", "resources": "cpu memory cpu_binding",
		"scale": "unit strategy target wait min max min_nodes spread survive pool priority wait_over start_up on_blind seasonal schedules exactly worker", "scale.down": "after step",
		"cron": "within missed busy exclusive", "a service": "command port network publish kind master volumes tags schedule overlap smoke",
	} {
		for _, k := range strings.Fields(keys) {
			out[k] = section
		}
	}
	return out
}

// decoder reads the sections of app.yaml, one method each.
type decoder struct {
	y.Reader
	held []held // places on which services can collide
}

func (d *decoder) app(root y.Value) App {
	f := d.Fields(root, "a mapping that begins with app: NAME", "app", "notify", "build", "deploy", "services")
	a := App{Name: d.Text(f.Get("app"), "", appRule())}
	d.require(f, "app", "expected the name of the app")
	a.Notify = d.notify(f.Get("notify"))
	a.Build = d.build(f.Get("build"))
	a.Deploy = d.deploy(f.Get("deploy"))
	services := f.Get("services")
	d.require(f, "services", "expected at least one service")
	entries := d.Entries(services, "a mapping of services such as {web: {port: 8000}}", maxServices)
	if services.Kind == y.Map && len(services.Entries) == 0 {
		d.Addf(services, "expected at least one service, found none")
	}
	for _, e := range entries {
		a.Services = append(a.Services, d.service(a.Name, e))
	}
	d.collisions()
	slices.SortFunc(a.Services, func(a, b Service) int { return strings.Compare(a.Key, b.Key) })
	return a
}

// require notes a key that is missing from a mapping.
func (d *decoder) require(f y.Fields, key, want string) {
	if f.Read() && !f.Get(key).Given() {
		d.Addf(f.Get(key), "missing: %s", want)
	}
}

func (d *decoder) notify(v y.Value) (out []Notify) {
	for _, item := range d.List(v, `a list such as [{webhook: "https://…"}]`, 16) {
		f := d.Fields(item, "a mapping such as {webhook: URL}", "webhook")
		d.require(f, "webhook", "expected an http or https URL")
		out = append(out, Notify{Webhook: d.Text(f.Get("webhook"), "", webhookRule())})
	}
	return out
}

func (d *decoder) build(v y.Value) Build {
	f := d.Fields(v, "a mapping such as {image: REPOSITORY}", "dockerfile", "runtime", "image", "args", "secrets", "test")
	b := Build{
		Runtime: y.OneOf(&d.Reader, f.Get("runtime"), "", Python, Go, Node, Ruby, Static),
		Image:   d.Text(f.Get("image"), "", imageRule()),
		Test:    d.words(f.Get("test"), "a list of arguments such as [python, -m, pytest]; no shell reads it"),
	}
	switch dockerfile := f.Get("dockerfile"); {
	case dockerfile.Given() && f.Get("runtime").Given():
		d.Addf(f.Get("runtime"), "expected either dockerfile or runtime, found both")
	case !f.Get("runtime").Given():
		b.Dockerfile = d.Text(dockerfile, "Dockerfile", insideRule("the path of a Dockerfile"))
	}
	for _, e := range d.Entries(f.Get("args"), "a mapping such as {BASE: debian}", maxItems) {
		if !keySyntax.MatchString(e.Key.Text) {
			d.Addf(e.Key, "expected the name of a build argument: letters, digits and _, not beginning with a digit")
			continue
		}
		if b.Args == nil {
			b.Args = map[string]string{}
		}
		b.Args[e.Key.Text] = d.Word(e.Value, y.Rule{Want: "a text"})
	}
	b.Secrets = d.sorted(f.Get("secrets"), "a list of ids such as [pip]", y.Rule{Want: "the id of a build secret: letters, digits, _ . and -", OK: secretID.MatchString})
	return b
}

// words reads the arguments of a command.
func (d *decoder) words(v y.Value, want string) []string {
	out := d.Words(v, want, maxItems)
	if len(out) > 0 && v.Items[0].Kind == y.Text && v.Items[0].Text == "" {
		d.Addf(v.Items[0], "expected a program, found an empty text")
	}
	return out
}

// sorted reads a list of different texts and sorts it.
func (d *decoder) sorted(v y.Value, want string, rule y.Rule) []string {
	var out []string
	for _, item := range d.List(v, want, maxItems) {
		s := d.Text(item, "", rule)
		switch {
		case s == "":
		case slices.Contains(out, s):
			d.Addf(item, "duplicate: %s is already in the list", s)
		default:
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

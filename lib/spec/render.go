package spec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// Bounds of a template. Templates come with a release, so they are not trusted
// to end by themselves or to stay small.
const (
	maxTemplate = 256 << 10 // bytes of its text
	maxRendered = 1 << 20   // bytes of its result
	maxMade     = 16 << 20  // bytes that its functions make on the way
	maxSteps    = 200_000   // nodes of the template that are walked
)

// RenderFiles renders the templates of a service into v.Files, sorted by To.
// templates maps the path of each template to its text. All problems of all
// templates are returned, with the template as file; v.Files are then not set.
// Problems never hold a value of the config or a secret.
//
// A template is Go's text/template. Its dot is About. Besides what is built in
// it has config "KEY", secret "KEY" (both with an optional fallback as second
// argument), has "KEY", default FALLBACK VALUE, json, quote and split SEP TEXT.
// It reaches no file and no network.
func RenderFiles(s Service, templates map[string]string, v *Values, about About) []Problem {
	var bad []Problem
	var out []Rendered
	for _, f := range s.Config.Files {
		text, ok := templates[f.Template]
		if !ok {
			bad = append(bad, Problem{File: f.Template, Msg: "the template is not there"})
			continue
		}
		r := renderer{name: f.Template, service: s, values: v}
		content := r.render(text, about)
		bad = append(bad, r.problems...)
		out = append(out, Rendered{To: f.To, Content: content})
	}
	if len(bad) > 0 {
		return bad
	}
	slices.SortFunc(out, func(a, b Rendered) int { return cmp.Compare(a.To, b.To) })
	v.Files = out
	return nil
}

// renderer renders one template.
type renderer struct {
	name     string
	service  Service
	values   *Values
	sites    []site // where config and secret are called
	problems []Problem
	steps    int // nodes walked so far
	made     int // bytes made so far
}

// site is one call of config or secret in the text of a template.
type site struct {
	line, col int
	key       string // "" when it is computed
}

func (r *renderer) render(text string, about About) []byte {
	if len(text) > maxTemplate {
		r.problems = append(r.problems, Problem{File: r.name, Msg: fmt.Sprintf("the template has %d bytes, expected at most %d", len(text), maxTemplate)})
		return nil
	}
	t, err := template.New(r.name).Funcs(r.funcs()).Parse(text)
	if err != nil {
		p := r.place(err)
		p.Msg = clip(p.Msg, 300) // of the template's own text only
		r.problems = append(r.problems, p)
		return nil
	}
	t.Funcs(template.FuncMap{"tick": r.tick}) // after parsing, so that no template can call it
	for _, part := range t.Templates() {
		if part.Tree != nil && part.Tree.Root != nil {
			r.instrument(part.Tree)
		}
	}
	w := bounded{}
	if err := t.Execute(&w, about); err != nil {
		p := r.place(err)
		p.Msg = r.withhold(p.Msg)
		r.problems = append(r.problems, p)
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	r.problems = slices.Compact(r.problems) // a loop reports one site many times
	return w.b.Bytes()
}

// place turns an error of text/template, "template: NAME:LINE:COL: executing
// … at <…>: message", into a problem with a place.
func (r *renderer) place(err error) Problem {
	p := Problem{File: r.name}
	msg := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), r.name+":")
	for _, n := range []*int{&p.Line, &p.Col} {
		digits, rest, ok := strings.Cut(msg, ":")
		if i, err := strconv.Atoi(digits); ok && err == nil {
			*n, msg = i, rest
		}
	}
	msg = strings.ReplaceAll(strings.TrimSpace(msg), "\n", " ")
	if strings.HasPrefix(msg, "executing ") {
		_, msg, _ = strings.Cut(msg, ">: ")
	}
	var own ownError
	if errors.As(err, &own) {
		msg = own.Error()
	}
	p.Msg = msg
	return p
}

// withhold drops a message of text/template that repeats what a template was
// working on, which may be a password.
func (r *renderer) withhold(msg string) string {
	if strings.HasPrefix(msg, "range can't iterate over") {
		return "range can't iterate over this: expected a list, such as split makes one, or a number"
	}
	holds := func(values map[string]string) bool {
		for _, v := range values {
			if len(v) > 5 && (strings.Contains(msg, v) || strings.Contains(msg, strings.Trim(strconv.Quote(v), `"`))) {
				return true
			}
		}
		return false
	}
	if holds(r.values.Secrets) || holds(r.values.Env) {
		return "the template fails here (the message is withheld, since it repeats a value)"
	}
	return clip(msg, 300)
}

// ownError is an error of our functions: safe to show.
type ownError string

func (e ownError) Error() string { return string(e) }

// bounded is a buffer that refuses to grow beyond maxRendered.
type bounded struct{ b bytes.Buffer }

func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > maxRendered {
		return 0, ownError(fmt.Sprintf("the result is larger than %d bytes", maxRendered))
	}
	return w.b.Write(p)
}

package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// funcs are the functions of a template. What is built in and can make a text
// grow without bound is replaced by a counted one.
func (r *renderer) funcs() template.FuncMap {
	return template.FuncMap{
		"config": func(args ...any) (string, error) {
			return r.lookup("config", r.values.Env, args)
		},
		"secret": func(args ...any) (string, error) {
			return r.lookup("secret", r.values.Secrets, args)
		},
		"has": func(key string) bool {
			_, ok := r.values.Env[key]
			return ok
		},
		"default": func(fallback, value any) any {
			if truth, ok := template.IsTrue(value); ok && truth {
				return value
			}
			return fallback
		},
		"json": r.json,
		"quote": func(s string) (string, error) {
			return r.counted(4*len(s)+2, func() string { return strconv.Quote(s) })
		},
		"split": r.split,
		"print": func(args ...any) (string, error) {
			return r.counted(size(args), func() string { return fmt.Sprint(args...) })
		},
		"println": func(args ...any) (string, error) {
			return r.counted(size(args), func() string { return fmt.Sprintln(args...) })
		},
		"printf": r.printf,
		"html": func(s string) (string, error) {
			return r.counted(5*len(s), func() string { return template.HTMLEscapeString(s) })
		},
		"js": func(s string) (string, error) {
			return r.counted(6*len(s), func() string { return template.JSEscapeString(s) })
		},
		"urlquery": func(s string) (string, error) {
			return r.counted(3*len(s), func() string { return url.QueryEscape(s) })
		},
	}
}

// tick pays for one run of a body.
func (r *renderer) tick(cost int) (string, error) {
	if r.steps += cost; r.steps > maxSteps {
		return "", ownError("the template runs too long")
	}
	return "", nil
}

// counted makes a text of at most so many bytes, if there is room for it.
func (r *renderer) counted(most int, f func() string) (string, error) {
	if most > 6*maxRendered {
		return "", ownError(fmt.Sprintf("the text is larger than %d bytes", maxRendered))
	}
	if r.made += most; r.made > maxMade {
		return "", ownError(fmt.Sprintf("the template makes more than %d bytes on its way", maxMade))
	}
	s := f()
	if len(s) > maxRendered {
		return "", ownError(fmt.Sprintf("the text is larger than %d bytes", maxRendered))
	}
	return s, nil
}

// size estimates what values need when they are printed.
func size(args []any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case string:
			n += len(a) + 1
		case []string:
			for _, s := range a {
				n += len(s) + 1
			}
		case About:
			n += len(a.App) + len(a.Service) + len(a.Release) + len(a.Node) + len(a.Zone) + len(a.Datacenter) + 32
		default:
			n += 64
		}
	}
	return n
}

// lookup is config and secret: the site's number, the key, and maybe a fallback.
func (r *renderer) lookup(what string, values map[string]string, args []any) (string, error) {
	wrong := ownError(fmt.Sprintf(`expected %s "KEY" or %s "KEY" "FALLBACK"`, what, what))
	if len(args) < 2 || len(args) > 3 {
		return "", wrong
	}
	n, isSite := args[0].(int)
	key, isText := args[1].(string)
	if !isSite || !isText || n < 0 || n >= len(r.sites) {
		return "", wrong
	}
	if v, ok := values[key]; ok {
		return v, nil
	}
	if len(args) == 3 {
		fallback, ok := args[2].(string)
		if !ok {
			return "", wrong
		}
		return fallback, nil
	}
	s := r.sites[n]
	r.problems = append(r.problems, Problem{File: r.name, Line: s.line, Col: s.col, Msg: r.missing(what, s.key)})
	return "", nil
}

// missing words a key that is not there. A computed key may be made of a secret, so it is not shown.
func (r *renderer) missing(what, key string) string {
	_, isSecret := r.values.Secrets[key]
	_, isConfig := r.values.Env[key]
	switch {
	case key == "":
		return what + " of a computed key is missing"
	case what == "config" && isSecret:
		return fmt.Sprintf("config %q is missing: there is a secret of that name, write secret %q", clip(key, 80), clip(key, 80))
	case what == "config":
		return fmt.Sprintf("config %q is missing: set it in Consul, or give a fallback as second argument", clip(key, 80))
	case isConfig:
		return fmt.Sprintf("secret %q is missing: there is a config key of that name, write config %q", clip(key, 80), clip(key, 80))
	case !slices.Contains(r.service.Config.Secrets, key):
		return fmt.Sprintf("secret %q is missing: it is not named in config.secrets of the service", clip(key, 80))
	}
	return fmt.Sprintf("secret %q is missing: set it in Consul", clip(key, 80))
}

func (r *renderer) json(v any) (string, error) {
	return r.counted(6*size([]any{v}), func() string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(v) != nil {
			return "null"
		}
		return strings.TrimSuffix(b.String(), "\n")
	})
}

func (r *renderer) split(sep, s string) ([]string, error) {
	const header = 16 // bytes of a string beside its text
	if _, err := r.counted((strings.Count(s, sep)+1)*header, func() string { return "" }); err != nil {
		return nil, err
	}
	if s == "" {
		return nil, nil
	}
	return strings.Split(s, sep), nil
}

// wideVerb finds what makes a short format give a long text: a width or
// precision of four digits or more, one that is an argument, or an argument used twice.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|[*\[])`)

func (r *renderer) printf(format string, args ...any) (string, error) {
	if wideVerb.MatchString(format) {
		return "", ownError("printf takes widths of at most 999, no * and no [n]")
	}
	const widest = 999 // of one verb
	return r.counted(4*size(args)+len(format)+widest*strings.Count(format, "%"), func() string { return fmt.Sprintf(format, args...) })
}

// TemplatesOf lists the templates that the services of an app name, sorted.
func TemplatesOf(a App) []string {
	paths := map[string]bool{}
	for _, s := range a.Services {
		for _, f := range s.Config.Files {
			paths[f.Template] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

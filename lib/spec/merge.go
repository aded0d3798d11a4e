package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what a container is given. Linux takes no single variable of more
// than 128 KiB, "NAME=value" with its closing NUL (MAX_ARG_STRLEN in execve(2)),
// and a quarter of the stack limit, 2 MiB by default, for all arguments and variables.
const (
	maxVariable = 128 << 10
	maxEnv      = 1 << 20
	maxSecrets  = 4 << 20
)

// level is one layer of config with the place of its keys in Consul.
type level struct {
	name   string // as in Values.Origin
	root   string // with a slash at the end
	values map[string]string
}

// levels of config, the strongest first.
func (l Layers) levels(s Service) []level {
	p := l.prefix()
	return []level{
		{"service", p + "/apps/" + s.App + "/" + s.Key + "/config/", l.Service},
		{"app", p + "/apps/" + s.App + "/config/", l.App},
		{"shared", p + "/shared/config/", l.Shared},
	}
}

func (l Layers) prefix() string {
	if l.Prefix == "" {
		return "svc"
	}
	return l.Prefix
}

// MergeConfig lays the three levels over each other, service over app over
// shared, and picks the secrets that the service names. The values are complete
// only when there is no problem; Files stay empty. A problem names the keys in
// Consul that it is about, and never a value.
func MergeConfig(s Service, l Layers) (Values, []Problem) {
	v := Values{Env: map[string]string{}, Origin: map[string]string{}, Secrets: map[string]string{}}
	var bad []Problem
	where := map[string]string{} // config key → the key in Consul it came from
	for _, lv := range l.levels(s) {
		for _, key := range slices.Sorted(maps.Keys(lv.values)) {
			if p := checkName(s, lv.root, key); p != nil {
				bad = append(bad, *p)
				continue
			}
			if _, stronger := v.Env[key]; stronger {
				continue
			}
			v.Env[key], v.Origin[key], where[key] = lv.values[key], lv.name, lv.root+key
		}
	}
	bad = append(bad, checkEnv(v.Env, where)...)
	bad = append(bad, missingEnv(s, l, v.Env)...)
	bad = append(bad, v.pickSecrets(s, l)...)
	return v, bad
}

// checkName judges the name of a config key. Every config key becomes a
// variable, so one that is a secret of this service must not lie among them.
func checkName(s Service, root, key string) *Problem {
	p := Problem{Path: root + clip(key, 80)}
	switch {
	case !keySyntax.MatchString(key):
		p.Msg = "expected a key of at most 128 letters, digits and _, not beginning with a digit: it becomes an environment variable"
	case reservedKey(key):
		p.Msg = "keys that begin with " + reservedPrefix + " are reserved"
	case slices.Contains(s.Config.Secrets, key):
		p.Msg = "is a secret of this service: as config it would be passed in the environment; keep it under secrets/ only"
	default:
		return nil
	}
	return &p
}

func checkEnv(env, where map[string]string) (bad []Problem) {
	total := 0
	for _, key := range slices.Sorted(maps.Keys(env)) {
		size := len(key) + len(env[key]) + 2
		total += size
		msg := ""
		switch {
		case strings.ContainsRune(env[key], 0):
			msg = "has a NUL byte, which no environment variable can hold: make it a secret, which is a file"
		case !utf8.ValidString(env[key]):
			msg = "is not UTF-8 text, which the engine would change in an environment variable: make it a secret, which is a file"
		case size > maxVariable:
			msg = fmt.Sprintf("has %d bytes, an environment variable of this name at most %d: make it a secret, which is a file",
				len(env[key]), maxVariable-len(key)-2)
		}
		if msg != "" {
			bad = append(bad, Problem{Path: where[key], Msg: msg})
		}
	}
	if total > maxEnv {
		bad = append(bad, Problem{Path: "config", Msg: fmt.Sprintf("all variables together have %d bytes, at most %d fit: make large ones secrets, which are files", total, maxEnv)})
	}
	return bad
}

func missingEnv(s Service, l Layers, env map[string]string) (bad []Problem) {
	for _, key := range s.Config.Env {
		if _, ok := env[key]; ok {
			continue
		}
		var tried []string
		for _, lv := range l.levels(s) {
			tried = append(tried, lv.root+key)
		}
		bad = append(bad, Problem{Path: "config.env." + key, Msg: "missing: looked for " + strings.Join(tried, ", ") + l.skipped(key)})
	}
	return bad
}

// pickSecrets takes the named secrets, and only those.
func (v *Values) pickSecrets(s Service, l Layers) (bad []Problem) {
	total := 0
	for _, key := range s.Config.Secrets {
		at := l.prefix() + "/apps/" + s.App + "/secrets/" + key
		value, ok := l.Secrets[key]
		if !ok {
			bad = append(bad, Problem{Path: "config.secrets." + key, Msg: "missing: looked for " + at + l.skipped(key)})
			continue
		}
		total += len(value)
		v.Secrets[key] = value
	}
	if total > maxSecrets {
		bad = append(bad, Problem{Path: "config.secrets", Msg: fmt.Sprintf("all secrets together have %d bytes, expected at most %d", total, maxSecrets)})
	}
	return bad
}

// skipped adds why a key that is there was not read.
func (l Layers) skipped(key string) string {
	for _, line := range l.Skipped {
		if _, rest, ok := strings.Cut(line, "/"+key); ok && (rest == "" || !keySyntax.MatchString(rest[:1]) && !strings.ContainsAny(rest[:1], "0123456789")) {
			return "; skipped: " + clip(line, 200)
		}
	}
	return ""
}

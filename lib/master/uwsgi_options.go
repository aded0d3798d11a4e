package master

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"gopkg.in/ini.v1"

	"svckit/lib/proc"
)

// options are what a uwsgi was started with: name without dashes → its values, in order.
type options map[string][]string

// uwsgiFiles bounds how many ini files one includes.
const uwsgiFiles = 16

func (o options) last(name string) string {
	if all := o[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// on reports whether a switch is on, under any of its names.
func (o options) on(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		value, given := o.last(name), len(o[name]) > 0
		return given && !slices.Contains([]string{"false", "no", "off", "0"}, value)
	})
}

// first is the value of the first of these names that is given.
func (o options) first(names ...string) string {
	for _, name := range names {
		if v := o.last(name); v != "" {
			return v
		}
	}
	return ""
}

// uwsgiOptions reads the command line of a uwsgi and the ini files it names, as
// the process sees them. Other kinds of config files are refused: their options are not known.
func uwsgiOptions(command []string, pid int) (options, error) {
	in, err := lookInside(pid)
	if err != nil {
		return nil, err
	}
	return readOptions(command, in.dir, in.env, func(name string) ([]byte, error) { return proc.Read(pid, name) })
}

// reader gathers the options of one uwsgi.
type optionReader struct {
	opts  options
	dir   string
	env   []string
	read  func(name string) ([]byte, error)
	files int
}

func readOptions(command []string, dir string, env []string, read func(string) ([]byte, error)) (options, error) {
	at := slices.IndexFunc(command, func(word string) bool { return strings.HasPrefix(programName(word), "uwsgi") })
	if at < 0 {
		return nil, fmt.Errorf("its command does not name uwsgi: %s", shown(strings.Join(command, " ")))
	}
	r := &optionReader{opts: options{}, dir: dir, env: env, read: read}
	words := command[at+1:]
	for k := 0; k < len(words); k++ {
		word := words[k]
		switch {
		case strings.HasPrefix(word, "--"):
			name, value, given := strings.Cut(word[2:], "=")
			if !given && k+1 < len(words) && takesValue(name, words[k+1]) {
				k++
				value = words[k]
			}
			if err := r.set(name, value); err != nil {
				return nil, err
			}
		case strings.HasPrefix(word, "-") && len(word) > 1:
			name, value := shortOption(word[1:2]), word[2:]
			if value == "" && name != "" && k+1 < len(words) && takesValue(name, words[k+1]) {
				k++
				value = words[k]
			}
			if name != "" {
				if err := r.set(name, value); err != nil {
					return nil, err
				}
			}
		default:
			if err := r.file(word); err != nil {
				return nil, err
			}
		}
	}
	return r.opts, nil
}

// shortOption is the long name of the short options that matter here.
func shortOption(letter string) string {
	return map[string]string{
		"s": "socket", "p": "processes", "M": "master", "H": "home", "w": "module", "l": "listen", "d": "daemonize", "i": "single-interpreter",
	}[letter]
}

// takesValue tells a switch from an option with a value.
func takesValue(name, next string) bool {
	switches := []string{
		"master", "lazy", "lazy-apps", "need-app", "need-apps", "need-plugin", "strict", "die-on-term", "vacuum", "enable-threads", "thunder-lock",
		"single-interpreter", "disable-logging", "log-4xx", "log-5xx", "no-orphans", "auto-procname", "memory-report", "die-on-idle", "http-keepalive",
		"cheap", "no-server", "show-config", "wsgi-env-behaviour", "ignore-sigpipe", "ignore-write-errors", "disable-write-exception", "buffer-size-dynamic",
	}
	return !slices.Contains(switches, name) && !strings.HasPrefix(next, "--")
}

func (r *optionReader) set(name, value string) error {
	switch name {
	case "ini", "ini-paste", "ini-paste-logged", "include", "inherit":
		return r.file(value)
	case "xml", "yaml", "yml", "json", "sqlite3", "ldap", "config", "emperor":
		return fmt.Errorf("it is configured by --%s, which svckit cannot read: use an ini file", name)
	}
	if value == "" {
		value = "true"
	}
	r.opts[name] = append(r.opts[name], value)
	return nil
}

// file reads the section uwsgi, or the one named behind a colon, of an ini file.
func (r *optionReader) file(name string) error {
	if r.files++; r.files > uwsgiFiles {
		return fmt.Errorf("more than %d ini files", uwsgiFiles)
	}
	name, section, _ := strings.Cut(name, ":")
	if section == "" {
		section = "uwsgi"
	}
	if path.Ext(name) != ".ini" {
		return fmt.Errorf("%s is no ini file: what it says is not known", shown(name))
	}
	if !path.IsAbs(name) {
		name = path.Join(r.dir, name)
	}
	text, err := r.read(name)
	if err != nil {
		return err
	}
	parsed, err := ini.LoadSources(ini.LoadOptions{
		AllowShadows: true, AllowDuplicateShadowValues: true, AllowBooleanKeys: true, IgnoreInlineComment: true, IgnoreContinuation: true,
		PreserveSurroundedQuote: true, KeyValueDelimiters: "=", SkipUnrecognizableLines: true,
	}, text)
	if err != nil {
		return fmt.Errorf("read %s: %w", shown(name), err)
	}
	if !parsed.HasSection(section) {
		return fmt.Errorf("%s has no section %s", shown(name), shown(section))
	}
	for _, key := range parsed.Section(section).Keys() {
		for _, value := range key.ValueWithShadows() {
			if err := r.set(key.Name(), r.expand(value, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// expand fills in the placeholders of uwsgi's ini files that name places:
// %d the folder of the file, %p its path, %n its name, %(option), $(VARIABLE).
func (r *optionReader) expand(value, file string) string {
	if !strings.ContainsAny(value, "%$") {
		return value
	}
	pairs := []string{
		"%d", strings.TrimSuffix(path.Dir(file), "/") + "/", "%p", file, "%n", strings.TrimSuffix(path.Base(file), path.Ext(file)),
	}
	for name, values := range r.opts {
		pairs = append(pairs, "%("+name+")", values[len(values)-1])
	}
	for _, pair := range r.env {
		name, v, _ := strings.Cut(pair, "=")
		pairs = append(pairs, "$("+name+")", v)
	}
	return strings.NewReplacer(pairs...).Replace(value)
}

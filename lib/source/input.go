package source

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"svckit/lib/fault"
)

// Secret says where a build secret comes from: a file or a variable.
type Secret struct{ id, file, env string }

const maxSecret = 500 << 10 // BuildKit's own bound

var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseArgs reads build arguments, each NAME=VALUE. A value may be nobody's business, so
// an error names only the argument.
func ParseArgs(texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !argName.MatchString(name) || !ok {
			return nil, usage("expected NAME=VALUE", "--build-arg %q", name)
		}
		out[name] = value
	}
	return out, nil
}

// MergeArgs lays the arguments of the command line over those of the spec.
func MergeArgs(spec, flags map[string]string) map[string]string {
	out := maps.Clone(spec)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, flags)
	return out
}

// ParseSecrets reads build secrets, each id=ID,src=FILE or id=ID,env=NAME.
func ParseSecrets(texts []string) ([]Secret, error) {
	var out []Secret
	for _, text := range texts {
		s, err := parseSecret(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// parseSecret reads id=ID,src=FILE or id=ID,env=NAME.
func parseSecret(text string) (Secret, error) {
	var s Secret
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "id":
			s.id = value
		case "src", "source":
			s.file = value
		case "env":
			s.env = value
		default:
			return s, usage("expected id=ID,src=FILE or id=ID,env=NAME", "--secret with unknown part %q", name)
		}
	}
	if s.id == "" || (s.file == "") == (s.env == "") {
		return s, usage("expected id=ID,src=FILE or id=ID,env=NAME", "--secret %q needs an id, and either src or env", s.id)
	}
	return s, nil
}

// ReadSecrets reads the values of the secrets that the spec names. One that is missing,
// and one that the spec does not name, are both errors: the first would fail inside the
// build, the second is a mistake that nobody would see.
func ReadSecrets(given []Secret, wanted []string, getenv func(string) string) (map[string][]byte, error) {
	values := map[string][]byte{}
	for _, s := range given {
		if !slices.Contains(wanted, s.id) {
			return nil, usage("add it to build.secrets in app.yaml", "--secret %s: the spec names no such build secret", s.id)
		}
		value, err := s.read(getenv)
		if err != nil {
			return nil, err
		}
		values[s.id] = value
	}
	var missing []string
	for _, id := range wanted {
		if _, ok := values[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, usage(fmt.Sprintf("--secret id=%s,src=FILE, or env=NAME", missing[0]), "build secrets are missing: %s", strings.Join(missing, ", "))
	}
	return values, nil
}

func (s Secret) read(getenv func(string) string) ([]byte, error) {
	if s.env != "" {
		value := getenv(s.env)
		if value == "" {
			return nil, usage("", "--secret %s: the variable %s is empty or not set", s.id, s.env)
		}
		return []byte(value), nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, fault.New(fault.Usage, "--secret %s: %w", s.id, err)
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(value) > maxSecret {
		err = errors.New("longer than 500 KiB")
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "--secret %s: %w", s.id, err)
	}
	return value, nil
}

func usage(hint, format string, args ...any) error {
	return fault.WithHint(fault.New(fault.Usage, format, args...), "%s", hint)
}

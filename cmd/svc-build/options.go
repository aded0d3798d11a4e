package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/tool"
)

// options is what the user asked of one build.
type options struct {
	file      string // app.yaml
	push      bool
	record    bool
	skipTest  bool
	noCache   bool
	pull      bool
	tag       string
	args      map[string]string
	secrets   []secretSource
	testLimit time.Duration
}

// secretSource is where a build secret comes from: a file or a variable.
type secretSource struct{ id, file, env string }

const (
	maxSecret    = 500 << 10 // BuildKit's own bound
	maxTestLimit = 12 * time.Hour
)

func fileFlag() cli.Flag {
	return &cli.StringFlag{Name: "file", Aliases: []string{"f"}, Value: "app.yaml", Usage: "the spec `FILE`; its folder is the source"}
}

func buildFlags() []cli.Flag {
	return []cli.Flag{
		fileFlag(), tool.DryRun(),
		&cli.BoolFlag{Name: "push", Usage: "push the image and record the release in Consul"},
		&cli.BoolFlag{Name: "no-record", Usage: "push without a record: Consul is not needed"},
		&cli.StringFlag{Name: "tag", Usage: "use `NAME` for the release and the image's tag"},
		&cli.StringSliceFlag{Name: "build-arg", Usage: "build argument `NAME=VALUE`, over build.args of the spec"},
		&cli.StringSliceFlag{Name: "secret", Usage: "build secret `id=ID,src=FILE|env=NAME`; it lands in no layer"},
		&cli.BoolFlag{Name: "no-cache", Usage: "run every build step again"},
		&cli.BoolFlag{Name: "pull", Usage: "look for a newer base image"},
		&cli.DurationFlag{Name: "test-timeout", Value: 10 * time.Minute, Usage: "end the test after `TIME`"},
		&cli.BoolFlag{Name: "skip-test", Usage: "do not run build.test; the record says so"},
	}
}

func readOptions(c *cli.Context) (options, error) {
	o := options{
		file: c.String("file"), push: c.Bool("push"), record: c.Bool("push") && !c.Bool("no-record"), skipTest: c.Bool("skip-test"),
		noCache: c.Bool("no-cache"), pull: c.Bool("pull"), tag: c.String("tag"), testLimit: c.Duration("test-timeout"),
		args: map[string]string{},
	}
	if c.Bool("no-record") && !o.push {
		return o, usage("add --push, or leave --no-record out", "--no-record without --push: nothing would be recorded anyway")
	}
	if o.testLimit <= 0 || o.testLimit > maxTestLimit {
		return o, usage("", "--test-timeout %s: expected more than 0s and at most %s", o.testLimit, maxTestLimit)
	}
	if c.IsSet("tag") && !tagSyntax.MatchString(o.tag) {
		return o, usage("expected letters, digits, _ . and -, at most 128, not beginning with . or -", "--tag %q cannot be a tag of an image", o.tag)
	}
	for _, arg := range c.StringSlice("build-arg") {
		name, value, ok := strings.Cut(arg, "=")
		if !argName.MatchString(name) || !ok {
			return o, usage("expected NAME=VALUE", "--build-arg %q", name)
		}
		o.args[name] = value
	}
	for _, text := range c.StringSlice("secret") {
		s, err := parseSecret(text)
		if err != nil {
			return o, err
		}
		o.secrets = append(o.secrets, s)
	}
	return o, nil
}

var (
	tagSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	argName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// parseSecret reads id=ID,src=FILE or id=ID,env=NAME.
func parseSecret(text string) (secretSource, error) {
	var s secretSource
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

// readSecrets reads the values of the secrets that the spec names. One that is missing,
// and one that the spec does not name, are both errors: the first would fail inside the
// build, the second is a mistake that nobody would see.
func readSecrets(given []secretSource, wanted []string, getenv func(string) string) (map[string][]byte, error) {
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

func (s secretSource) read(getenv func(string) string) ([]byte, error) {
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

// mergeArgs lays the arguments of the command line over those of the spec.
func mergeArgs(spec, flags map[string]string) map[string]string {
	out := maps.Clone(spec)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, flags)
	return out
}

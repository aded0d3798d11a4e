package main

import (
	"regexp"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/source"
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
	secrets   []source.Secret
	testLimit time.Duration
}

const maxTestLimit = 12 * time.Hour

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
	var err error
	if o.args, err = source.ParseArgs(c.StringSlice("build-arg")); err != nil {
		return o, err
	}
	o.secrets, err = source.ParseSecrets(c.StringSlice("secret"))
	return o, err
}

var tagSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

func usage(hint, format string, args ...any) error {
	return fault.WithHint(fault.New(fault.Usage, format, args...), "%s", hint)
}

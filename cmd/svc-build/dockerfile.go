package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"svckit/lib/dockerfile"
	"svckit/lib/fault"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func dockerfileFlags() []cli.Flag {
	return []cli.Flag{
		fileFlag(),
		&cli.StringFlag{Name: "runtime", Usage: "for `RUNTIME` instead of the spec's: python, go, node, ruby or static"},
	}
}

// dockerfile prints what a build would use, without building.
func (w world) dockerfile(_ context.Context, s *tool.Session, c *cli.Context) error {
	file := c.String("file")
	app, _, err := readSpec(file)
	if err != nil {
		return err
	}
	runtime := spec.Runtime(c.String("runtime"))
	if runtime == "" {
		runtime = app.Build.Runtime
	}
	if runtime == "" {
		return fault.WithHint(fault.New(fault.Invalid, "generate Dockerfile: %s names a Dockerfile of its own, %s", file, app.Build.Dockerfile),
			"svc-build dockerfile --runtime python shows what one would be")
	}
	text, err := dockerfile.Generate(runtime, dockerfile.Look(os.DirFS(filepath.Dir(file)), app.Name))
	if err != nil {
		return err
	}
	return s.Result(map[string]string{"runtime": string(runtime), "dockerfile": text}, func(out io.Writer) { _, _ = io.WriteString(out, text) })
}

package main

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/tool"
)

// world is what svc-build needs from outside. Tests give another one.
type world struct {
	engine func(ctx context.Context, log hclog.Logger) (engine, error)
	ledger func(prefix string, log hclog.Logger) (ledger, error)
	digest func(ctx context.Context, ref string, insecure bool) (string, error) // asks the registry
	getenv func(string) string
	now    func() time.Time
}

// engine is the container engine that images are made with.
type engine interface {
	maker
	Info(ctx context.Context) (fleet.Engine, error)
	Image(ctx context.Context, ref string) (fleet.Image, error)
	Close() error
}

// maker does the engine's part of a plan.
type maker interface {
	Build(ctx context.Context, r docker.BuildRequest) (imageID string, err error)
	RunTest(ctx context.Context, r docker.TestRequest) (took time.Duration, err error)
	Push(ctx context.Context, ref string, p fleet.Progress) (digest string, err error)
}

// ledger is where releases and the journal are kept.
type ledger interface {
	Self(ctx context.Context) (fleet.Agent, error)
	Release(ctx context.Context, app, name string) (fleet.Release, error)
	PutRelease(ctx context.Context, r fleet.Release) error
	Record(ctx context.Context, a fleet.Audit) error
}

func program(w world) *cli.App {
	return &cli.App{
		Name:  "svc-build",
		Usage: "build, test and push the image of a source folder, and record it as a release",
		Description: `Builds the folder of app.yaml with BuildKit, runs build.test in the image and, with --push, pushes it and
records the release in Consul. The release and the tag of the image are named after the git commit, with
-dirty- when something is not committed; outside git after the content.

stdout is one line: with --push REPOSITORY@sha256:… with the digest that the registry confirmed, without it
the same form with the id of the local image. Nothing is pushed or recorded when the build or the test fails.`,
		Flags:  buildFlags(),
		Action: tool.Action(w.build),
		Commands: []*cli.Command{
			{
				Name: "init", Usage: "make a new project that builds and runs at once", ArgsUsage: "NAME",
				Flags: initFlags(), Action: tool.Action(w.initProject),
			},
			{
				Name: "dockerfile", Usage: "print the Dockerfile that is generated for the runtime",
				Flags: dockerfileFlags(), Action: tool.Action(w.dockerfile),
			},
		},
	}
}

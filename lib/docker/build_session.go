package docker

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"

	"svckit/lib/fault"
)

// buildSession is the line on which the engine asks back during a build: for the
// files of the context, for the credentials of a private base image and for build secrets.
type buildSession struct{ s *session.Session }

// openSession offers credentials and secrets to the engine. A line that breaks ends the
// build through cancel, because a step that waits for an answer would wait for ever.
func (e *Engine) openSession(ctx context.Context, cancel context.CancelCauseFunc, source fsutil.FS, secrets map[string][]byte) (*buildSession, error) {
	cfg, err := dockerConfig()
	if err != nil {
		return nil, err
	}
	s, err := session.NewSession(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("open build session: %w", err)
	}
	s.Allow(authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{ConfigFile: cfg}))
	s.Allow(secretsprovider.FromMap(secrets))
	// The names under which the Dockerfile frontend asks for the two.
	s.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": source, "dockerfile": source}))
	go func() {
		err := s.Run(ctx, func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return e.api.DialHijack(ctx, "/session", proto, meta)
		})
		if err != nil && ctx.Err() == nil {
			cancel(fault.New(fault.Unreachable, "open build session: %w", err))
		}
	}()
	return &buildSession{s}, nil
}

func (b *buildSession) id() string { return b.s.ID() }

func (b *buildSession) close() { _ = b.s.Close() }

// dockerConfig reads the user's Docker settings: $DOCKER_CONFIG/config.json, else
// ~/.docker/config.json. No file is no settings; a broken one is an error, because
// going on without credentials would fail later and say less.
func dockerConfig() (*configfile.ConfigFile, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, _ := os.UserHomeDir()
		if home == "" { // a process without a home has no settings
			return configfile.New(""), nil
		}
		dir = filepath.Join(home, ".docker")
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read Docker settings: %w", err)
	}
	return cfg, nil
}

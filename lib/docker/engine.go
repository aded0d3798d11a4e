// Package docker is the only place that speaks to the container engine.
package docker

import (
	"context"

	"github.com/docker/docker/client"
	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Engine is the connection to one container engine.
type Engine struct {
	api *client.Client
	log hclog.Logger
}

// Open connects to the engine that DOCKER_HOST and its sisters name.
func Open(ctx context.Context, log hclog.Logger) (*Engine, error) {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fault.New(fault.Unreachable, "reach Docker: %w", err)
	}
	if _, err := api.Ping(ctx); err != nil {
		return nil, fault.New(fault.Unreachable, "reach Docker: %w", err)
	}
	return &Engine{api: api, log: log}, nil
}

// Close ends the connection.
func (e *Engine) Close() error { return e.api.Close() }

// Image reads the config of a local image.
func (e *Engine) Image(ctx context.Context, ref string) (fleet.Image, error) {
	raw, err := e.api.ImageInspect(ctx, ref)
	if client.IsErrNotFound(err) {
		return fleet.Image{}, fault.New(fault.NotFound, "inspect image %s: %w", ref, fleet.ErrNotFound)
	}
	if err != nil {
		return fleet.Image{}, err
	}
	return fleet.Image{ID: raw.ID, Digests: raw.RepoDigests}, nil
}

// Info says what engine this is.
func (e *Engine) Info(ctx context.Context) (fleet.Engine, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return fleet.Engine{}, fault.New(fault.Unreachable, "ask Docker: %w", err)
	}
	out := fleet.Engine{Version: info.ServerVersion, API: e.api.ClientVersion()}
	if info.RegistryConfig != nil {
		for _, n := range info.RegistryConfig.InsecureRegistryCIDRs {
			out.Insecure = append(out.Insecure, n.String())
		}
		for host, index := range info.RegistryConfig.IndexConfigs {
			if !index.Secure {
				out.Insecure = append(out.Insecure, host)
			}
		}
	}
	return out, nil
}

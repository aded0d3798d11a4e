package docker

import (
	"fmt"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"

	"svckit/lib/fault"
)

func registryOf(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.Domain(named)
}

// hubKey is what Docker Hub is called in Docker's settings.
const hubKey = "https://index.docker.io/v1/"

// registryAuth looks up the credentials of ref's registry, asking a credential helper
// where one is set, in the engine's header form.
func registryAuth(ref string) (string, error) {
	cfg, err := dockerConfig()
	if err != nil {
		return "", err
	}
	key := registryOf(ref)
	if key == "docker.io" {
		key = hubKey
	}
	found, err := cfg.GetAuthConfig(key)
	if err != nil {
		return "", fault.WithHint(fmt.Errorf("read credentials of %s: %w", key, err), "docker login %s", key)
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: found.Username, Password: found.Password, Auth: found.Auth, ServerAddress: found.ServerAddress,
		IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
	})
}

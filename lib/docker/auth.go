package docker

import (
	"fmt"

	"github.com/docker/docker/api/types/registry"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// registryAuth is the value of the engine's X-Registry-Auth header for the
// registry of an image reference: what `docker login` left in the Docker config
// (DOCKER_CONFIG, default ~/.docker), credential helpers included. Without
// credentials it is that of an anonymous user, never "".
func registryAuth(ref string) (string, error) {
	parsed, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return "", fmt.Errorf("read reference %q: %w", oneLine(ref), err)
	}
	host := parsed.Context().RegistryStr()
	found, err := authn.DefaultKeychain.Resolve(parsed.Context())
	if err != nil {
		return "", fmt.Errorf("look up the login for %s: %w", host, err)
	}
	got, err := found.Authorization()
	if err != nil {
		return "", fmt.Errorf("look up the login for %s: %w", host, err)
	}
	config := registry.AuthConfig{
		Username: got.Username, Password: got.Password, Auth: got.Auth,
		IdentityToken: got.IdentityToken, RegistryToken: got.RegistryToken,
	}
	if config != (registry.AuthConfig{}) {
		config.ServerAddress = host
	}
	return registry.EncodeAuthConfig(config)
}

package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/registry"
	"github.com/google/go-cmp/cmp"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestThePulledBytesOfAllLayersAreAddedUp(t *testing.T) {
	const stream = `{"status":"Pulling from shortener","id":"1.0"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"a"}
{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"b"}
{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"b"}
{"status":"Download complete","progressDetail":{},"id":"a"}
{"status":"Extracting","progressDetail":{"current":1,"total":100},"id":"a"}
{"status":"Already exists","id":"c"}
{"status":"Pull complete","progressDetail":{},"id":"b"}
{"status":"Digest: sha256:0"}
`
	var got [][2]int64
	err := readTransfer(strings.NewReader(stream), "shortener:1.0", func(what string, done, total int64) {
		if what != "shortener:1.0" {
			t.Errorf("progress of %q", what)
		}
		got = append(got, [2]int64{done, total})
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][2]int64{{10, 100}, {15, 150}, {105, 150}, {150, 150}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAPullThatFailsOrEndsInsideItsAnswerIsAnError(t *testing.T) {
	rows := []struct{ name, stream, want string }{
		{"error in the answer", `{"status":"x"}` + "\n" + `{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}`, "manifest unknown"},
		{"answer cut off", `{"status":"Downl`, "read the engine's answer: unexpected EOF"},
		{"no JSON", `<html>`, "read the engine's answer: invalid character '<'"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := readTransfer(strings.NewReader(row.stream), "x", nil)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func TestTheEnginesWordsOfARegistryGetAKindAndAHint(t *testing.T) {
	const ref = "registry.service.consul:5000/shortener:1"
	rows := []struct {
		name, text string
		kind       fault.Kind
		hint       string
	}{
		{"refused", "Get http://registry.service.consul:5000/v2/: dial tcp 10.0.0.1:5000: connect: connection refused", fault.Unreachable, "is the registry registry.service.consul:5000 up, and reached from this node?"},
		{"no such host", "Get https://x/v2/: dial tcp: lookup x: no such host", fault.Unreachable, "is the registry registry.service.consul:5000 up, and reached from this node?"},
		{"no TLS", "Get https://x/v2/: http: server gave HTTP response to HTTPS client", fault.Unreachable, `a registry without TLS must be listed in insecure-registries of /etc/docker/daemon.json: "registry.service.consul:5000"`},
		{"registry is ill", "received unexpected HTTP status: 503 Service Unavailable", fault.Unreachable, "is the registry registry.service.consul:5000 up, and reached from this node?"},
		{"no tag", "manifest for registry.service.consul:5000/shortener:1 not found: manifest unknown: manifest unknown", fault.NotFound, ""},
		{"no login", "Get http://x/v2/: no basic auth credentials", fault.Failed, "`docker login registry.service.consul:5000`"},
		{"denied", "pull access denied for shortener, repository does not exist or may require 'docker login': denied", fault.Failed, "`docker login registry.service.consul:5000`"},
		{"disk full", "write /x: no space left on device", fault.Failed, "the disk of Docker's data root is full: `docker system df`"},
		{"something else", "layers from manifest don't match image configuration", fault.Failed, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := registryError("pull "+ref, ref, row.text)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != row.kind || f.Hint != row.hint {
				t.Errorf("%+v, want %s and hint %q", f, row.kind, row.hint)
			}
			if errors.Is(err, fleet.ErrNotFound) != (row.kind == fault.NotFound) {
				t.Errorf("errors.Is(ErrNotFound) does not fit %s", row.kind)
			}
		})
	}
}

func TestOnlyADigestIsAskedOfAMirror(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	rows := []struct {
		name, ref, mirror, want string
		ok                      bool
	}{
		{"digest", "registry.service.consul:5000/team/shortener" + digest, "mirror:5000", "mirror:5000/team/shortener" + digest, true},
		{"digest with a tag", "registry:5000/shortener:1" + digest, "mirror:5000/", "mirror:5000/shortener" + digest, true},
		{"Docker Hub", "python" + digest, "mirror/hub", "mirror/hub/library/python" + digest, true},
		{"tag", "registry:5000/shortener:1", "mirror", "", false},
		{"nonsense", "UPPER case", "mirror", "", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got, ok := Mirrored(row.ref, row.mirror); got != row.want || ok != row.ok {
				t.Errorf("%q %v, want %q %v", got, ok, row.want, row.ok)
			}
		})
	}
}

func TestTheLoginOfARegistryComesFromTheDockerConfig(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	helper := "#!/bin/sh\n[ \"$1\" = get ] && printf '{\"ServerURL\":\"helped:5000\",\"Username\":\"helper\",\"Secret\":\"from-helper\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-svckit"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	config := `{"auths":{"plain:5000":{"auth":"dXNlcjpwYXNz"}},"credHelpers":{"helped:5000":"svckit"}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		ref  string
		want registry.AuthConfig
	}{
		{"plain:5000/shortener:1", registry.AuthConfig{Username: "user", Password: "pass", ServerAddress: "plain:5000"}},
		{"helped:5000/shortener@sha256:" + strings.Repeat("0", 64), registry.AuthConfig{Username: "helper", Password: "from-helper", ServerAddress: "helped:5000"}},
		{"other:5000/shortener", registry.AuthConfig{}},
	}
	for _, row := range rows {
		t.Run(row.ref, func(t *testing.T) {
			header, err := registryAuth(row.ref)
			if err != nil {
				t.Fatal(err)
			}
			got, err := registry.DecodeAuthConfig(header)
			if err != nil {
				t.Fatal(err)
			}
			got.Auth = ""
			if diff := cmp.Diff(&row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestABrokenDockerConfigIsAnErrorWithoutItsContent(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"x":{"auth":"geheim%%"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := registryAuth("x/y:1")
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error %v, want one without the login", err)
	}
}

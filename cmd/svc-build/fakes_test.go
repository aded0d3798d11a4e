package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/tool"
)

// fakes stand for the engine, the registry and Consul. Each call is noted; fail makes one fail.
type fakes struct {
	calls    []string
	fail     map[string]error
	image    string // id of the local image before
	registry string // digest that the tag names
	pushed   string // digest that the engine names
	known    *fleet.Release
	put      []fleet.Release
	journal  []fleet.Audit
	built    docker.BuildRequest
	context  []byte
	tested   docker.TestRequest
}

func (f *fakes) call(name string) error {
	f.calls = append(f.calls, name)
	return f.fail[name]
}

func (f *fakes) Build(ctx context.Context, r docker.BuildRequest) (string, error) {
	f.built = r
	err := r.Context.Walk(ctx, "", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		file, err := r.Context.Open(path)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(file)
		f.context = append(f.context, text...)
		return errors.Join(err, file.Close())
	})
	if err != nil {
		return "", err
	}
	return imageID, f.call("build")
}

func (f *fakes) RunTest(_ context.Context, r docker.TestRequest) (time.Duration, error) {
	f.tested = r
	return 1500 * time.Millisecond, f.call("test")
}

func (f *fakes) Push(context.Context, string, fleet.Progress) (string, error) {
	if f.pushed == "" {
		f.pushed = digest
	}
	if err := f.call("push"); err != nil {
		return "", err
	}
	if f.registry == "" {
		f.registry = f.pushed
	}
	return f.pushed, nil
}

func (f *fakes) Info(context.Context) (fleet.Engine, error) {
	return fleet.Engine{Insecure: []string{"127.0.0.0/8", "reg.example:5000"}}, f.call("info")
}

func (f *fakes) Image(context.Context, string) (fleet.Image, error) {
	if f.image == "" {
		return fleet.Image{}, errors.Join(f.call("image"), fleet.ErrNotFound)
	}
	return fleet.Image{ID: f.image}, f.call("image")
}

func (f *fakes) Close() error { return nil }

func (f *fakes) Self(context.Context) (fleet.Agent, error) {
	return fleet.Agent{Node: "node1"}, f.call("self")
}

func (f *fakes) Release(context.Context, string, string) (fleet.Release, error) {
	if f.known == nil {
		return fleet.Release{}, errors.Join(f.call("release"), fleet.ErrNotFound)
	}
	return *f.known, f.call("release")
}

func (f *fakes) PutRelease(_ context.Context, r fleet.Release) error {
	if err := f.call("record"); err != nil {
		return err
	}
	f.put = append(f.put, r)
	return nil
}

func (f *fakes) Record(_ context.Context, a fleet.Audit) error {
	f.journal = append(f.journal, a)
	return f.fail["journal"]
}

func (f *fakes) world(env map[string]string) world {
	clock := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return world{
		engine: func(context.Context, hclog.Logger) (engine, error) { return f, f.call("engine") },
		ledger: func(string, hclog.Logger) (ledger, error) { return f, f.call("ledger") },
		digest: func(_ context.Context, _ string, insecure bool) (string, error) {
			if !insecure {
				return "", errors.New("asked with TLS")
			}
			if err := f.call("digest"); err != nil {
				return "", err
			}
			if f.registry == "" {
				return "", fault.New(fault.NotFound, "%w", fleet.ErrNotFound)
			}
			return f.registry, nil
		},
		getenv: func(name string) string { return env[name] },
		now:    func() time.Time { clock = clock.Add(time.Second); return clock },
	}
}

const appYAML = `app: shop
build:
  image: reg.example:5000/shop
  args: {BASE: debian}
  test: [python3, -m, unittest]
services:
  web:
    command: [gunicorn, "app:application"]
    port: 8000
    check: {http: /healthz}
    config: {files: [{template: settings.tmpl, to: /etc/shop/settings.json}]}
`

// folder makes a source folder and returns the path of its app.yaml.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"app.yaml": appYAML, "Dockerfile": "FROM scratch\n", "settings.tmpl": "{}\n", "app.py": "x = 1\n"}
	maps.Copy(all, files)
	for name, text := range all {
		if text == "" {
			continue
		}
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "app.yaml")
}

func run(t *testing.T, w world, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	settings := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SVC_CONFIG", settings)
	var out, talk bytes.Buffer
	code = tool.Run(t.Context(), program(w), append([]string{"svc-build"}, words...), strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String()
}

func commitAll(t *testing.T, dir string) string {
	t.Helper()
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_COMMITTER_DATE=2024-05-06T07:08:09+02:00", "GIT_AUTHOR_DATE=2024-05-06T07:08:09+02:00")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte(".git\n.dockerignore\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first")
	return git("rev-parse", "HEAD")
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

//go:build real

package docker

import (
	"context"
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/source"
)

func buildEngine(t *testing.T) *Engine {
	t.Helper()
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	e, err := Open(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestX(t *testing.T) {
	e := buildEngine(t)
	dir := t.TempDir()
	os.WriteFile(dir+"/Dockerfile", []byte("FROM svckit/base:bookworm\nCOPY . /x\nRUN [\"ls\",\"-la\",\"/x\"]\nRUN echo hi; exit 3\n"), 0o644)
	os.WriteFile(dir+"/.dockerignore", []byte("Dockerfile\n*.txt"), 0o644)
	tree, err := source.Scan(t.Context(), dir, "Dockerfile", nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Build(context.Background(), BuildRequest{Context: tree.Tar(t.Context()), Dockerfile: tree.Dockerfile(), Out: os.Stderr})
	t.Logf("%v %#v", id, err)
}

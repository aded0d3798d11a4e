// Command svc-build turns a source folder and its app.yaml into a tested image in a
// registry and a release record in Consul.
package main

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/registry"
	"svckit/lib/tool"
)

func main() { tool.Main(program(outside())) }

// outside is the real world.
func outside() world {
	return world{
		engine: func(ctx context.Context, log hclog.Logger) (engine, error) { return docker.Open(ctx, log) },
		ledger: func(prefix string, log hclog.Logger) (ledger, error) { return consul.Open(prefix, log) },
		digest: registry.Digest,
		getenv: os.Getenv,
		now:    time.Now,
	}
}

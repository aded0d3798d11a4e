//go:build real

package apply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/delivery"
	"svckit/lib/dnsd"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/probe"
)

func TestTheRealPartsConform(t *testing.T) {
	agent := lab.Consul(t)
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	engine, err := docker.Open(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	client, err := consul.Open("svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	app := fmt.Sprintf("c%06x", rand.Uint32()&0xffffff)
	conform(t, stage{
		world: apply.World{
			Containers: engine, Views: engine, Tuner: engine, Images: engine, Registrar: client, Files: delivery.Folders{},
			Probe: probe.Once, Log: hclog.NewNullLogger(),
			Resolve: func(ctx context.Context, name string) ([]fleet.Endpoint, time.Duration, error) {
				a, err := dnsd.Lookup(ctx, agent.DNS, name)
				return a.Endpoints, a.TTL, err
			},
		},
		image: lab.AppImage(t, lab.Registry(t), app, "r1", "good"), app: app,
		address: "127.0.0.1", port: lab.FreePorts(t, 1)[0], runDir: lab.RunDir(t),
	})
}

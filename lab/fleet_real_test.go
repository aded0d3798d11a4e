//go:build real

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"svckit/lab"
)

func TestHostsOfAFleetAreLostAndComeBack(t *testing.T) {
	began := time.Now()
	f := lab.NewFleet(t, lab.Datacenter{Servers: 3, Hosts: 2, Zones: []string{"a", "b"}, Pool: "production"})
	t.Logf("up in %s", time.Since(began).Round(100*time.Millisecond))
	one, two := f.Hosts[0], f.Hosts[1]
	image := lab.AppImage(t, f.Registry, "app", "r1", "")
	for _, h := range f.Hosts {
		docker(t, h.Docker(), "run", "--detach", "--name=app", "--restart=always", image)
		docker(t, h.Docker(), "run", "--detach", "--name=base", "--init", "--restart=always", lab.BaseImage, "sleep", "600")
	}
	t.Logf("containers run after %s", time.Since(began).Round(100*time.Millisecond))

	two.CutOff(t)
	await(t, 2*time.Minute, "the host that is cut off is critical", func() error { return health(f.Servers[0], two.Name(), "critical") })
	if names := docker(t, two.Docker(), "ps", "--format={{.Names}}"); names != "base\napp" {
		t.Errorf("on the host that is cut off run %q", names)
	}
	two.Rejoin(t)
	await(t, 2*time.Minute, "the host that is back is passing", func() error { return health(f.Servers[0], two.Name(), "passing") })

	one.Kill(t)
	await(t, 2*time.Minute, "the host that is dead is critical", func() error { return health(f.Servers[0], one.Name(), "critical") })
	await(t, 2*time.Minute, "the other host is passing", func() error { return health(f.Servers[0], two.Name(), "passing") })
	one.Start(t)
	one.AwaitJoined(t)
	await(t, 2*time.Minute, "its containers are back", func() error {
		if names := docker(t, one.Docker(), "ps", "--format={{.Names}}"); names != "base\napp" {
			return fmt.Errorf("there run %q", names)
		}
		return nil
	})

	f.Servers[0].Kill(t)
	await(t, 2*time.Minute, "a server that is dead is critical", func() error { return health(one, "srv1", "critical") })
	f.Servers[0].Start(t)
	f.Servers[0].AwaitJoined(t)
}

// health is nil when a host's agent says that of a node.
func health(at *lab.Host, node, want string) error {
	res, err := http.Get(at.Consul() + "/v1/health/node/" + node)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var checks []struct{ CheckID, Status string }
	if err := json.NewDecoder(res.Body).Decode(&checks); err != nil {
		return err
	}
	for _, c := range checks {
		if c.CheckID == "serfHealth" {
			if c.Status != want {
				return fmt.Errorf("%s is %s", node, c.Status)
			}
			return nil
		}
	}
	return errors.New("no check of the node")
}

func await(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := f()
		if err == nil {
			t.Logf("%s after %s", what, time.Since(began).Round(100*time.Millisecond))
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%s: not in %s: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

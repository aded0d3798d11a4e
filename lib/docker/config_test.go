package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
)

func complete() fleet.Container {
	return fleet.Container{
		Name: "shortener-web-1", Image: "repo@sha256:x", Command: []string{"serve"}, Network: "bridge",
		Env:        map[string]string{"B": "2", "A": "1=1"},
		Labels:     map[string]string{fleet.LabelApp: "shortener"},
		Ports:      []fleet.PortMap{{Host: "10.0.0.7", HostPort: 20001, Container: 8000}},
		Mounts:     []fleet.Mount{{Source: "/srv", Target: "/srv", ReadOnly: true}, {Source: "data", Target: "/data"}},
		Links:      map[string]string{"/etc/app/settings.json": "/run/svckit/files/x"},
		DNS:        []string{"10.0.0.7"},
		StopSignal: "SIGQUIT", StopWait: 1500 * time.Millisecond, Restart: "always",
		CPU: 1.15, Cores: []int{2, 0}, Memory: 512 << 20,
	}
}

func TestAContainerIsConvertedToTheEnginesForm(t *testing.T) {
	config, host := configOf(complete())
	two, yes := 2, true
	wantConfig := &container.Config{
		Image: "repo@sha256:x", Cmd: []string{"serve"}, Env: []string{"A=1=1", "B=2"},
		Labels:       map[string]string{fleet.LabelApp: "shortener", fleet.LabelEnv: "A,B"},
		ExposedPorts: nat.PortSet{"8000/tcp": {}}, StopSignal: "SIGQUIT", StopTimeout: &two,
	}
	wantHost := &container.HostConfig{
		NetworkMode:   "bridge",
		PortBindings:  nat.PortMap{"8000/tcp": {{HostIP: "10.0.0.7", HostPort: "20001"}}},
		RestartPolicy: container.RestartPolicy{Name: "always"}, Init: &yes,
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: "/srv", Target: "/srv", ReadOnly: true},
			{Type: mount.TypeVolume, Source: "data", Target: "/data"},
		},
		DNS:       []string{"10.0.0.7"},
		Resources: container.Resources{NanoCPUs: 1_150_000_000, CpusetCpus: "0,2", Memory: 512 << 20, MemorySwap: 512 << 20},
	}
	if diff := cmp.Diff(wantConfig, config); diff != "" {
		t.Errorf("config (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(wantHost, host); diff != "" {
		t.Errorf("host config (-want +got)\n%s", diff)
	}
}

func TestAContainerThatWouldMisbehaveIsRefused(t *testing.T) {
	rows := []struct {
		name   string
		change func(*fleet.Container)
		want   string
	}{
		{"no name", func(c *fleet.Container) { c.Name = "" }, "name, image and network must be given"},
		{"no stop signal", func(c *fleet.Container) { c.StopSignal = "" }, "a stop signal must be given"},
		{"unless-stopped", func(c *fleet.Container) { c.Restart = "unless-stopped" }, `restart policy "unless-stopped"`},
		{"comma in a variable", func(c *fleet.Container) { c.Env = map[string]string{"A,B": "geheim"} }, `environment variable "A,B" cannot be set`},
		{"zero byte in a value", func(c *fleet.Container) { c.Env = map[string]string{"A": "geheim\x00"} }, `environment variable "A" cannot be set`},
		{"relative mount", func(c *fleet.Container) { c.Mounts = []fleet.Mount{{Source: "/x", Target: "x"}} }, "is not an absolute path"},
		{"random host port", func(c *fleet.Container) { c.Ports[0].HostPort = 0 }, "port 0:8000 is not 1-65535"},
		{"host name for an address", func(c *fleet.Container) { c.Ports[0].Host = "node1" }, `"node1" is not an IP address`},
		{"ports on the host network", func(c *fleet.Container) { c.Network = "host" }, "ports cannot be published on network host"},
		{"link into a mount", func(c *fleet.Container) { c.Links = map[string]string{"/data/x": "/run/y"} }, "lies in the mount of /data"},
		{"link that climbs", func(c *fleet.Container) { c.Links = map[string]string{"/a/../b": "/run/y"} }, "clean absolute paths"},
		{"link to a relative place", func(c *fleet.Container) { c.Links = map[string]string{"/a": "b"} }, "clean absolute paths"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := complete()
			row.change(&c)
			err := validate(c)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q in it", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v shows the value", err)
			}
		})
	}
	if err := validate(complete()); err != nil {
		t.Errorf("a good container: %v", err)
	}
}

func TestAMountBesideALinkIsNoMountAboveIt(t *testing.T) {
	for _, row := range []struct {
		p, dir string
		want   bool
	}{
		{"/data/x", "/data", true}, {"/data", "/data", true}, {"/database", "/data", false}, {"/x", "/", true}, {"/", "/data", false},
	} {
		if got := within(row.p, row.dir); got != row.want {
			t.Errorf("within(%q, %q) = %v, want %v", row.p, row.dir, got, row.want)
		}
	}
}

func TestTheArchiveOfLinksHoldsMissingFoldersAndTheLinks(t *testing.T) {
	text, err := linkArchive([]string{"/etc/app", "/etc/app/deep"}, map[string]string{"/etc/app/deep/b": "/run/2", "/a": "/run/1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(h.Typeflag)+" "+h.Name+" "+h.Linkname)
	}
	want := []string{"5 etc/app/ ", "5 etc/app/deep/ ", "2 a /run/1", "2 etc/app/deep/b /run/2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

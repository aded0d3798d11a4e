package ground

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// laidOut is a fleet that exists on paper alone.
func laidOut(t *testing.T, dcs ...Datacenter) *Fleet {
	t.Helper()
	f := &Fleet{lab: Place{"test"}, number: 3, dcs: dcs}
	if err := f.layOut(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEachHostOfAFleetHasANamePlaceAndAddressOfItsOwn(t *testing.T) {
	f := laidOut(t, Datacenter{Servers: 2, Hosts: 3, Zones: []string{"a", "b"}, Pool: "web"}, Datacenter{Hosts: 1, Bare: true})
	var got []string
	for _, h := range f.All() {
		engine := "bare"
		if h.HasEngine() {
			engine = "engine"
		}
		kind := "client"
		if h.Server {
			kind = "server"
		}
		got = append(got, strings.Join([]string{h.Name, h.String(), h.DC, h.Addr, h.Zone, h.Pool, kind, engine}, " "))
	}
	want := []string{
		"srv1 test.f3srv1 dc1 10.88.3.2   server bare",
		"srv2 test.f3srv2 dc1 10.88.3.3   server bare",
		"node1 test.f3node1 dc1 10.88.3.10 a web client engine",
		"node2 test.f3node2 dc1 10.88.3.11 b web client engine",
		"node3 test.f3node3 dc1 10.88.3.12 a web client engine",
		"dc2-node1 test.f3dc2node1 dc2 10.88.3.30   server bare",
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}

func TestFleetsThatAreTooLargeAreRefused(t *testing.T) {
	for _, dcs := range [][]Datacenter{
		{{}}, {{Hosts: 13}}, {{Hosts: 1, Servers: 8}}, make([]Datacenter, 11), {{Name: "a-datacenter-with-a-long-name", Hosts: 1}, {Name: "another-long-name", Hosts: 1}},
	} {
		f := &Fleet{lab: Place{"test"}, dcs: dcs}
		if err := f.layOut(); err == nil {
			t.Errorf("%+v was laid out", dcs)
		}
	}
}

func TestAgentsAreToldWhomToJoin(t *testing.T) {
	f := laidOut(t, Datacenter{Servers: 2, Hosts: 1, Zones: []string{"a"}}, Datacenter{Hosts: 1})
	for _, row := range []struct {
		host string
		want []string
		not  string
	}{
		{"srv2", []string{`bootstrap_expect = 2`, `retry_join = ["10.88.3.2","10.88.3.3"]`, `retry_join_wan = ["10.88.3.2","10.88.3.30"]`}, "zone"},
		{"node1", []string{`node_name = "node1"`, `datacenter = "dc1"`, `bind_addr = "10.88.3.10"`, `retry_join = ["10.88.3.2","10.88.3.3"]`, `zone = "a"`}, "server"},
		{"dc2-node1", []string{`datacenter = "dc2"`, `bootstrap_expect = 1`, `retry_join = ["10.88.3.30"]`}, "zone"},
	} {
		for _, h := range f.All() {
			if h.Name != row.host {
				continue
			}
			config := h.agentConfig()
			for _, line := range row.want {
				if !strings.Contains(config, line) {
					t.Errorf("%s lacks %s:\n%s", row.host, line, config)
				}
			}
			if strings.Contains(config, row.not) {
				t.Errorf("%s has %s:\n%s", row.host, row.not, config)
			}
		}
	}
}

func TestImageOfASeedIsNamedForItsRegistry(t *testing.T) {
	const notes = `{"Repositories":{"10.88.0.1:5000/base":{"10.88.0.1:5000/base@sha256:1":"sha256:2"},"svckit/base":{"svckit/base:bookworm":"sha256:2"}}}`
	for _, row := range []struct{ registry, want string }{
		{"10.88.7.1:5000", `{"Repositories":{"10.88.7.1:5000/base":{"10.88.7.1:5000/base@sha256:1":"sha256:2"},"svckit/base":{"svckit/base:bookworm":"sha256:2"}}}`},
		{"10.88.0.1:5000", notes},
		{"", `{"Repositories":{"svckit/base":{"svckit/base:bookworm":"sha256:2"}}}`},
	} {
		file := filepath.Join(t.TempDir(), "repositories.json")
		if err := os.WriteFile(file, []byte(notes), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := nameImage(file, row.registry, "base@sha256:1"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != row.want {
			t.Errorf("for %q: %s", row.registry, got)
		}
	}
}

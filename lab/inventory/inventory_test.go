package inventory

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func host(name, dc string) Host { return Host{Name: name, Addr: "10.0.0.1", DC: dc, Zone: "a"} }

func TestServersAreThreeOfADatacenterOrItsFirstHost(t *testing.T) {
	for _, row := range []struct {
		name    string
		hosts   []Host
		servers []string
	}{
		{"four hosts", []Host{host("n1", "dc1"), host("n2", "dc1"), host("n3", "dc1"), host("n4", "dc1")}, []string{"n1", "n2", "n3"}},
		{"two hosts", []Host{host("n1", "dc1"), host("n2", "dc1")}, []string{"n1"}},
		{"three and one far away", []Host{host("n1", "dc1"), host("n2", "dc1"), host("n3", "dc1"), host("f1", "dc2")}, []string{"f1", "n1", "n2", "n3"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Write(dir, Fleet{Hosts: row.hosts, Collection: "/ansible"}, Vars{"n1": {"svckit_zone": "b"}}); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(dir + "/inventory.yml")
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				All struct {
					Children map[string]struct{ Hosts map[string]map[string]any }
				}
			}
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if servers := slices.Sorted(maps.Keys(got.All.Children["consul_servers"].Hosts)); !slices.Equal(servers, row.servers) {
				t.Errorf("servers %v, want %v", servers, row.servers)
			}
			if zone := got.All.Children["svckit_nodes"].Hosts["n1"]["svckit_zone"]; zone != "b" {
				t.Errorf("zone of n1 %v, want that of the test, b", zone)
			}
		})
	}
}

func TestPlayKnowsTheCollectionAndRunsWhereMachinesAreReached(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second time over what is there
		if err := Write(dir, Fleet{Inside: []string{"echo", "inside"}, Collection: "/ansible"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for book, want := range map[string]string{"site": "inside ansible-playbook svckit.svckit.site -e a=b c", "./my.yml": "inside ansible-playbook ./my.yml -e a=b c"} {
		out, err := exec.Command(dir+"/play", book, "-e", "a=b c").Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	if to, err := os.Readlink(dir + "/ansible_collections/svckit/svckit"); err != nil || to != "/ansible" {
		t.Errorf("the collection is %q, %v", to, err)
	}
}

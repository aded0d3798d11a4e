package node

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const full = `# a node
name: node1
zone: a
address: 10.0.0.7
prefix: team/svc
ports: 30000-30999
run_dir: /run/x
state_dir: /var/lib/x
code_dir: /srv/code
dns: 127.0.0.1:8600
container_dns: [169.254.20.10, "fd00::10"]
dns_margin: 500ms
host_paths: [/srv/data]
registries: ["registry.service.consul:5000", mirror.example]
keep_images: 5
dns_listen: ["10.0.0.7:53"]
dns_link: 169.254.20.10
dns_allow: [10.0.0.0/8]
dns_upstreams: [9.9.9.9, "10.0.0.2:5353"]
dns_ttl: 5s
dns_one: true
dns_limit: 8
dns_srv_scale: 256
dns_watches: 60
dns_rate: 0
dns_hold: 0s
dns_max_age: 72h
`

func fullSettings() Settings {
	return Settings{
		Name: "node1", Zone: "a", Address: "10.0.0.7", Prefix: "team/svc", Ports: Range{30000, 30999},
		RunDir: "/run/x", StateDir: "/var/lib/x", CodeDir: "/srv/code", DNS: "127.0.0.1:8600", ContainerDNS: []string{"169.254.20.10", "fd00::10"},
		DNSMargin: 500 * time.Millisecond, HostPaths: []string{"/srv/data"},
		Registries: []string{"registry.service.consul:5000", "mirror.example"}, Keep: 5,
		DNSListen: []string{"10.0.0.7:53"}, DNSLink: "169.254.20.10", DNSAllow: []string{"10.0.0.0/8"}, DNSUpstreams: []string{"9.9.9.9", "10.0.0.2:5353"}, DNSTTL: 5 * time.Second,
		DNSOne: true, DNSLimit: 8, DNSScale: 256, DNSWatches: 60, DNSMaxAge: 72 * time.Hour,
	}
}

func TestEveryKeyOfTheFileIsRead(t *testing.T) {
	got, err := Load(write(t, full), env())
	if err != nil || !reflect.DeepEqual(got, fullSettings()) {
		t.Errorf("got %+v, %v\nexpected %+v", got, err, fullSettings())
	}
}

func TestVariablesOverrideTheFile(t *testing.T) {
	got, err := Load(write(t, full), env(
		"SVC_NODE", "n2", "SVC_ZONE", "b", "SVC_ADDRESS", "fd00::7", "SVC_PREFIX", "svc/", "SVC_PORTS", "20000-20009", "SVC_RUN_DIR", "/run/y",
		"SVC_STATE_DIR", "/var/lib/y", "SVC_CODE_DIR", "/srv/y", "SVC_DNS", "[::1]:53", "SVC_CONTAINER_DNS", "10.0.0.1, 10.0.0.2", "SVC_DNS_MARGIN", "2s",
		"SVC_HOST_PATHS", "/a,/b", "SVC_REGISTRIES", "localhost:5000", "SVC_KEEP_IMAGES", "0",
		"SVC_DNS_LISTEN", "127.0.0.1:53,127.0.0.2:53", "SVC_DNS_LINK", "169.254.20.11", "SVC_DNS_ALLOW", "10.0.0.0/9", "SVC_DNS_UPSTREAMS", "9.9.9.10", "SVC_DNS_TTL", "0s",
		"SVC_DNS_ONE", "false", "SVC_DNS_LIMIT", "0", "SVC_DNS_SRV_SCALE", "1", "SVC_DNS_WATCHES", "0", "SVC_DNS_RATE", "7", "SVC_DNS_HOLD", "1m", "SVC_DNS_MAX_AGE", "1h"))
	want := Settings{
		Name: "n2", Zone: "b", Address: "fd00::7", Prefix: "svc", Ports: Range{20000, 20009}, RunDir: "/run/y", StateDir: "/var/lib/y", CodeDir: "/srv/y",
		DNS: "[::1]:53", ContainerDNS: []string{"10.0.0.1", "10.0.0.2"}, DNSMargin: 2 * time.Second,
		HostPaths: []string{"/a", "/b"}, Registries: []string{"localhost:5000"}, Keep: 0,
		DNSListen: []string{"127.0.0.1:53", "127.0.0.2:53"}, DNSLink: "169.254.20.11", DNSAllow: []string{"10.0.0.0/9"}, DNSUpstreams: []string{"9.9.9.10"},
		DNSScale: 1, DNSRate: 7, DNSHold: time.Minute, DNSMaxAge: time.Hour,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nexpected %+v", got, err, want)
	}
}

func TestWithoutAFileTheDefaultsHold(t *testing.T) {
	want := Settings{
		Prefix: "svc", Ports: Range{20000, 29999}, RunDir: "/run/svckit", StateDir: "/var/lib/svckit", CodeDir: "/var/lib/svckit/code", DNSMargin: time.Second, Keep: 3,
		DNSScale: 1, DNSWatches: 120, DNSRate: 5000, DNSHold: 2 * time.Minute, DNSMaxAge: 24 * time.Hour,
	}
	for name, text := range map[string]string{"empty": "", "comments": "# zone: a\n\n"} {
		got, err := Load(write(t, text), env())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v\nexpected %+v", name, got, err, want)
		}
	}
}

func TestOnlyTheDefaultFileMayBeMissing(t *testing.T) {
	if _, err := os.Stat(DefaultPath); errors.Is(err, os.ErrNotExist) {
		if _, err := Load("", env()); err != nil {
			t.Errorf("without %s: %v", DefaultPath, err)
		}
	}
	_, err := Load(filepath.Join(t.TempDir(), "gone.yaml"), env())
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("a missing file that was named: %v, expected not-found", err)
	}
	_, err = Load(t.TempDir(), env())
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a folder: %v, expected invalid", err)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	path := write(t, `zoen: a
address: 0.0.0.0
prefix: /svc/
ports: 80-90
run_dir: run
dns: 127.0.0.1
container_dns: 10.0.0.1
dns_margin: 5
host_paths: [/a/../b]
registries: ["http://x"]
keep_images: -1
dns_one: maybe
dns_srv_scale: 0
dns_max_age: 1000h
zone: 7
keep_images: 2
`)
	_, err := Load(path, env("SVC_PORTS", "20000", "SVC_DNS_MARGIN", "1h", "SVC_CONTAINER_DNS", "10.0.0.1,x"))
	want := []string{
		`FILE:1: zoen: unknown key: did you mean zone?`,
		`FILE:2: address: expected an IP address, found "0.0.0.0"`,
		`FILE:3: prefix: expected a key prefix such as svc, without / at its front, // and .., found "/svc/"`,
		`FILE:4: ports: expected a range of ports from 1024 to 65535 such as 20000-29999, found "80-90"`,
		`FILE:5: run_dir: expected a clean absolute path, found "run"`,
		`FILE:6: dns: expected an IP address and a port such as 127.0.0.1:8600, or off, found "127.0.0.1"`,
		`FILE:7: container_dns: expected a list, each item an IP address, found "10.0.0.1"`,
		`FILE:8: dns_margin: expected a duration with a unit of at most 5m such as 1s, found the number 5: put it in quotes if it is meant`,
		`FILE:9: host_paths[0]: expected a clean absolute path, found "/a/../b"`,
		`FILE:10: registries[0]: expected a registry such as registry.service.consul:5000, found "http://…"`,
		`FILE:11: keep_images: expected a whole number from 0 to 1000, found "-1"`,
		`FILE:12: dns_one: expected true or false, found "maybe"`,
		`FILE:13: dns_srv_scale: expected a whole number from 1 to 65535, found "0"`,
		`FILE:14: dns_max_age: expected a duration with a unit of at most 168h such as 24h, found "1000h"`,
		`FILE:16: keep_images: duplicate key: it is already set on line 11`,
		`SVC_PORTS: expected a range of ports from 1024 to 65535 such as 20000-29999, found "20000"`,
		`SVC_CONTAINER_DNS: expected an IP address, found "x"`,
		`SVC_DNS_MARGIN: expected a duration with a unit of at most 5m such as 1s, found "1h"`,
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid {
		t.Fatalf("got %v, expected a fault of kind invalid", err)
	}
	got := strings.ReplaceAll(strings.Join(f.Detail, "\n"), path, "FILE")
	if got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nexpected\n%s", got, strings.Join(want, "\n"))
	}
}

func FuzzDecodeNeverPanicsAndGivesUsableSettings(f *testing.F) {
	f.Add([]byte(full), "SVC_PORTS", "20000-29999")
	f.Add([]byte("{}"), "SVC_PREFIX", "a/b")
	f.Add([]byte("zone: ["), "SVC_HOST_PATHS", "/a,,/b")
	f.Fuzz(func(t *testing.T, text []byte, name, value string) {
		s, problems := Decode("node.yaml", text, env(name, value))
		if len(problems) > 0 {
			if !reflect.DeepEqual(s, Settings{}) {
				t.Errorf("problems and settings: %+v", s)
			}
			return
		}
		if s.Ports.First < 1024 || s.Ports.Last > 65535 || s.Ports.First > s.Ports.Last || s.RunDir == "" || s.StateDir == "" || s.CodeDir == "" ||
			strings.HasPrefix(s.Prefix, "/") || s.Prefix == "" || s.Keep < 0 || s.DNSMargin < 0 {
			t.Errorf("unusable settings: %+v", s)
		}
	})
}

//go:build real

package play

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/inventory"
)

// Machines with nothing but sshd become a fleet by the playbook of the collection, over ssh and with the rights that it
// gives; what a team does with a fleet every day loses no request.
func TestPlaybooksOnMachinesWithNothingButSSH(t *testing.T) {
	f := Start(t, inventory.Vars{"all": {"svckit_settings": map[string]any{"dns_margin": "200ms"}}},
		lab.Datacenter{Hosts: 4, Zones: []string{"a", "b"}}, lab.Datacenter{Hosts: 1, Zones: []string{"far"}})
	f.Run(t, "site")
	for _, row := range []struct {
		name string
		test func(t *testing.T, f *Fleet)
	}{
		{"a second run changes nothing", func(t *testing.T, f *Fleet) { f.Same(t, "site") }},
		{"units run under systemd", unitsRun},
		{"Consul is one cluster of two datacenters that denies by default", consulDenies},
		{"a service runs on three nodes", servicesRun},
		{"check mode tells the plan and does nothing", checkTells},
		{"a reload under load loses nothing", reloadLosesNothing},
		{"a drain that leaves too few is refused", drainIsRefused},
		{"releases go over the fleet and come back", releasesGo},
		{"each node is drained once, and nobody misses it", drainLosesNothing},
		{"sizes are set once", sizesAreSet},
		{"status changes nothing", func(t *testing.T, f *Fleet) { f.Same(t, "status", "-e", "service=shop/web") }},
		{"a new configuration goes through the servers one at a time", serversGoOneByOne},
	} {
		if !t.Run(row.name, func(t *testing.T) { row.test(t, f) }) {
			f.tell(t)
			return // what follows stands on it
		}
	}
}

// on runs a shell's line on a host and returns what it printed; nodes have their token in the environment.
func (f *Fleet) on(t *testing.T, host, line string) string {
	t.Helper()
	out, err := f.shell(t, host, line)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", host, line, err, out)
	}
	return out
}

func (f *Fleet) shell(t *testing.T, host, line string) (string, error) {
	t.Helper()
	h := f.host(t, host)
	out, err := h.Command(t, "sh", "-euc", "export CONSUL_HTTP_TOKEN_FILE=/etc/svckit/consul.token HOME=/root; "+line).CombinedOutput()
	return string(out), err
}

func (f *Fleet) host(t *testing.T, name string) *lab.Host {
	t.Helper()
	for _, h := range f.Hosts {
		if h.Name() == name {
			return h
		}
	}
	t.Fatalf("no host %s", name)
	return nil
}

// tell logs what the daemons of each host said last.
func (f *Fleet) tell(t *testing.T) {
	for _, h := range f.Hosts {
		out, err := f.shell(t, h.Name(), "systemctl --failed --no-legend; journalctl --no-pager --lines=25 --unit=consul --unit='sv*' | cut -c1-250")
		t.Logf("%s: %v\n%s", h.Name(), err, out)
	}
}

// eventually waits until what a host's line prints is taken for good.
func (f *Fleet) eventually(t *testing.T, host, line string, good func(string) bool) string {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := f.shell(t, host, line)
		if err == nil && good(out) {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s: not so in 5 minutes: %v\n%s", host, line, err, out)
		}
	}
}

func unitsRun(t *testing.T, f *Fleet) {
	const units = "consul docker svc-dns svc-reload-watch svckit-scaled-node svckit-restore"
	for n, h := range f.Hosts {
		line := "systemctl is-active " + units
		if n < 2 {
			line += " svckit-scaled-run"
		}
		f.eventually(t, h.Name(), line, func(string) bool { return true }) // it fails while one is not active
		f.eventually(t, h.Name(), "svc-run doctor --json", func(string) bool { return true })
	}
}

func consulDenies(t *testing.T, f *Fleet) {
	f.eventually(t, "node1", "consul members -wan", func(out string) bool {
		return strings.Count(out, "alive") == 4 // three servers here, one there
	})
	f.eventually(t, "dc2-node1", "curl -fsS -H \"X-Consul-Token: $(cat /etc/svckit/consul.token)\" '127.0.0.1:8500/v1/catalog/nodes?dc=dc1'", func(out string) bool {
		return strings.Count(out, `"Node":`) == 4
	})
	f.eventually(t, "node4", "getent hosts consul.service.consul", func(out string) bool { return strings.Contains(out, "10.88.") })
	for path, want := range map[string]string{"/v1/kv/svc/apps/shop/current": "403", "/v1/agent/self": "403", "/v1/status/leader": "200"} {
		if got := f.on(t, "node4", "curl -sS -o /dev/null -w '%{http_code}' '127.0.0.1:8500"+path+"'"); got != want {
			t.Errorf("%s without a token: %s, want %s", path, got, want)
		}
	}
	// Another protocol than TLS gets nothing from a server's RPC port, and gossip is not readable without the key.
	out, err := f.shell(t, "node4", "grep -c '\"encrypt\"' /etc/consul.d/consul.json; stat -c %a /etc/consul.d/key.pem")
	if err != nil || strings.TrimSpace(out) != "1\n640" {
		t.Errorf("gossip key and mode of the private key: %q, %v", out, err)
	}
}

func checkTells(t *testing.T, f *Fleet) {
	dir := f.code(t, "never")
	before := f.on(t, "node1", "docker ps --no-trunc --quiet; ls /var/lib/svckit/code/*/*")
	f.on(t, "node1", "mkdir -p /root/never")
	if err := copyInto(f.host(t, "node1").File("/root/never/app.py"), dir+"/app.py"); err != nil {
		t.Fatal(err)
	}
	book := filepath.Join(f.Dir, "check.yml")
	text := `- hosts: node1
  tasks:
    - svckit.svckit.svc_reload: {service: shop/web, source: /root/never}
    - svckit.svckit.svc_run: {command: down, service: shop/web}
    - svckit.svckit.svc_run: {command: drain}
`
	if err := os.WriteFile(book, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := f.Run(t, book, "--check", "--diff")
	if r.Changed["node1"] != 3 {
		t.Errorf("changed %v, want 3", r.Changed)
	}
	for _, step := range []string{"switch ", "reload ", "withdraw ", "remove ", "aside "} {
		if !regexp.MustCompile(`(?m)^(shop/\w+: )?` + step).MatchString(r.Out) {
			t.Errorf("the diff has no step %q\n%s", step, r.Out)
		}
	}
	if after := f.on(t, "node1", "docker ps --no-trunc --quiet; ls /var/lib/svckit/code/*/*"); after != before {
		t.Errorf("check mode changed the node:\n%s\nwas\n%s", after, before)
	}
	// A failure is the program's own, with its exit code.
	if err := os.WriteFile(book, []byte("- hosts: node1\n  tasks:\n    - svckit.svckit.svc_run: {service: shop/nothing}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.Try(t, book); r.Err == nil || r.Failed["node1"] != 1 || !strings.Contains(r.Out, "service nothing is not in release") || !strings.Contains(r.Out, `"rc": 12`) {
		t.Errorf("a service that is not there: %v\n%s", r.Err, r.Out)
	}
}

func copyInto(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

func reloadLosesNothing(t *testing.T, f *Fleet) {
	l := f.load(t, "shop", 8001)
	for _, code := range []string{"two", "three"} { // one alone is over before there were enough requests
		dir := f.code(t, code)
		for _, service := range []string{"web", "fixed"} {
			args := []string{"-e", "nodes=node1:node2:node3", "-e", "service=shop/" + service, "-e", "source=" + dir}
			if r := f.Run(t, "reload", args...); r.Total() < 3 {
				t.Errorf("changed %v", r.Changed)
			}
			if code == "two" {
				f.Same(t, "reload", args...)
			}
		}
	}
	l.stop()
	f.eventually(t, "node4", "curl -fsS --max-time 3 http://shop-fixed.service.consul:8001/", func(out string) bool { return out == "three\n" })
}

// answering names the nodes whose instances of a service Consul takes for passing.
func (f *Fleet) answering(t *testing.T, service string) string {
	t.Helper()
	client := f.Hosts[0].Client()
	defer client.CloseIdleConnections()
	token, err := os.ReadFile(f.Hosts[0].File("/etc/svckit/consul.token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8500/v1/health/service/"+service+"?passing", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", strings.TrimSpace(string(token)))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	var list []struct{ Node struct{ Node string } }
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	names := ""
	for _, name := range []string{"node1", "node2", "node3", "node4"} {
		for _, i := range list {
			if i.Node.Node == name {
				names += name + " "
			}
		}
	}
	return strings.TrimSpace(names)
}

func drainLosesNothing(t *testing.T, f *Fleet) {
	l := f.load(t, "store", 8002)
	for n, node := range []string{"node3", "node1", "node2", "node4"} {
		if r := f.Run(t, "drain_node", "-e", "node="+node, "-e", "hold=30m"); r.Changed[node] != 2 {
			t.Errorf("changed %v, want 2", r.Changed)
		}
		if n == 0 {
			f.Same(t, "drain_node", "-e", "node="+node, "-e", "hold=30m")
			isDrained(t, f)
		}
		if r := f.Run(t, "return_node", "-e", "node="+node); r.Changed[node] != 2 {
			t.Errorf("changed %v, want 2", r.Changed)
		}
		if n == 0 {
			f.Same(t, "return_node", "-e", "node="+node)
		}
	}
	l.stop()
	wantAnswering(t, f, "node1 node2 node3")
}

// isDrained looks at node3.
func isDrained(t *testing.T, f *Fleet) {
	t.Helper()
	wantAnswering(t, f, "node1 node2")
	if out := f.on(t, "node3", "docker ps --quiet | wc -l"); strings.TrimSpace(out) != "4" {
		t.Errorf("%s containers run on the drained node, want 4: they wait for its return", strings.TrimSpace(out))
	}
}

// wantAnswering wants both apps found on these nodes; node4 has only one of them.
func wantAnswering(t *testing.T, f *Fleet, nodes string) {
	t.Helper()
	for service, more := range map[string]string{"shop-web": "", "shop-fixed": "", "store-web": " node4", "store-fixed": " node4"} {
		if got := f.answering(t, service); got != nodes+more {
			t.Errorf("%s is answered by %s, want %s", service, got, nodes+more)
		}
	}
}

// drainIsRefused: with a floor that the others do not make, nothing is touched.
func drainIsRefused(t *testing.T, f *Fleet) {
	r := f.Try(t, "drain_node", "-e", "node=node3", "-e", "floor=3")
	if r.Err == nil || !strings.Contains(r.Out, "2 instances elsewhere, and 3 must pass while this node is out") || !strings.Contains(r.Out, `"rc": 17`) {
		t.Errorf("%v\n%s", r.Err, r.Out)
	}
	if got := f.answering(t, "shop-web"); got != "node1 node2 node3" {
		t.Errorf("it is answered by %s", got)
	}
	f.Run(t, "return_node", "-e", "node=node3")
}

func sizesAreSet(t *testing.T, f *Fleet) {
	args := []string{"-e", "command=freeze", "-e", "service=all", "-e", "mode=no-down"}
	if r := f.Run(t, "scale", append(args, "--check")...); r.Total() != 1 {
		t.Errorf("check: changed %v", r.Changed)
	}
	if r := f.Run(t, "scale", args...); r.Total() != 1 {
		t.Errorf("changed %v", r.Changed)
	}
	f.Same(t, "scale", args...)
	f.Same(t, "scale", append(args, "--check")...)
	f.Run(t, "scale", "-e", "command=thaw", "-e", "service=all")
	f.Same(t, "scale", "-e", "command=thaw", "-e", "service=all")
}

// serversGoOneByOne changes Consul's configuration; while one server restarts, the others lead on.
func serversGoOneByOne(t *testing.T, f *Fleet) {
	more := []string{"--tags", "consul", "-e", `{"consul_extra": {"log_level": "info"}}`}
	before := f.on(t, "node1", "systemctl show --property=ExecMainPID --value consul")
	f.Run(t, "site", more...)
	if after := f.on(t, "node1", "systemctl show --property=ExecMainPID --value consul"); after == before {
		t.Error("Consul was not restarted")
	}
	f.Same(t, "site", more...)
	if got := f.answering(t, "shop-web"); got != "node1 node2 node3" {
		t.Errorf("afterwards it is answered by %s", got)
	}
}

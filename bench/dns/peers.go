package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// peer is one server in one role.
type peer struct {
	name    string
	address string   // host:port
	ask     string   // the name to ask for
	pid     int      // of a server that runs already
	argv    []string // else: how it is started
	env     []string
}

func (g *ground) peers() []peer {
	at := "127.0.0.1:" + peerPort
	list := []peer{
		{name: "svc-dns", address: at, ask: consulName, argv: []string{"svc-dns", "serve", "--listen", at, "--metrics", "off", "--quiet", "--upstream", "127.0.0.1:9"}, env: []string{
			"GOMAXPROCS=1", "CONSUL_HTTP_ADDR=" + consulHTTP, "SVC_RUN_DIR=" + g.dir + "/run", "SVC_STATE_DIR=" + g.dir + "/state", "SVC_CONFIG=",
		}},
		{name: "Consul, server agent", address: consulDNS, ask: consulName, pid: g.agents[0].Process.Pid},
		{name: "Consul, client agent with use_cache", address: cachedDNS, ask: consulName, pid: g.agents[1].Process.Pid},
		{name: "dnsmasq, caching Consul", address: at, ask: consulName, argv: dnsmasq("--server=/consul/127.0.0.1#" + port(consulDNS))},
		{name: "dnsmasq, static", address: at, ask: staticName, argv: dnsmasq(static(func(a string) string { return "--host-record=" + staticName + "," + a })...)},
	}
	if bin := os.Getenv("UNBOUND"); bin != "" {
		list = append(list,
			peer{name: "unbound, caching Consul", address: at, ask: consulName, argv: []string{bin, "-d", "-p", "-c", g.file("unbound.conf", g.unbound(fmt.Sprintf(
				"forward-zone:\n  name: consul.\n  forward-addr: 127.0.0.1@%s\n", port(consulDNS)), ""))}},
			peer{name: "unbound, static", address: at, ask: staticName, argv: []string{bin, "-d", "-p", "-c", g.file("unbound.conf", g.unbound("", "  local-zone: static.test. static\n"+
				strings.Join(static(func(a string) string { return fmt.Sprintf("  local-data: \"%s. A %s\"", staticName, a) }), "\n")+"\n"))}},
		)
	}
	if bin := os.Getenv("COREDNS"); bin != "" {
		hosts := g.file("hosts", strings.Join(static(func(a string) string { return a + " " + staticName }), "\n")+"\n")
		one := []string{"GOMAXPROCS=1"}
		list = append(list,
			peer{name: "CoreDNS, caching Consul", address: at, ask: consulName, env: one, argv: []string{bin, "-conf", g.file("Corefile", fmt.Sprintf(
				".:%s {\n bind 127.0.0.1\n cache 30\n forward . %s\n}\n", peerPort, consulDNS))}},
			peer{name: "CoreDNS, static", address: at, ask: staticName, env: one, argv: []string{bin, "-conf", g.file("Corefile", fmt.Sprintf(
				".:%s {\n bind 127.0.0.1\n hosts %s\n}\n", peerPort, hosts))}},
		)
	}
	return list
}

func static(line func(address string) string) (out []string) {
	for n := range instances {
		out = append(out, line(fmt.Sprintf("10.0.0.%d", n+1)))
	}
	return out
}

func dnsmasq(args ...string) []string {
	return append([]string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--cache-size=1000", "--dns-forward-max=1000",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + peerPort, "--user=root",
	}, args...)
}

func (g *ground) unbound(zones, data string) string {
	return fmt.Sprintf(`server:
  interface: 127.0.0.1@%s
  port: %s
  do-daemonize: no
  do-not-query-localhost: no
  chroot: ""
  username: ""
  directory: "%s"
  pidfile: "%s/unbound.pid"
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
  access-control: 127.0.0.0/8 allow
%s%s`, peerPort, peerPort, g.dir, g.dir, data, zones)
}

func (p peer) command() *exec.Cmd {
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	return cmd
}

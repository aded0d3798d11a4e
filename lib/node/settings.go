// Package node holds what is true of this machine only: the settings of
// /etc/svckit/node.yaml, overridden by SVC_* variables, overridden by flags.
package node

import "time"

// Settings are the node's own settings, complete with defaults.
//
// In node.yaml the keys are those of the variables in small letters without
// SVC_, and name for SVC_NODE: zone, run_dir, container_dns … Lists are
// comma-separated in variables.
type Settings struct {
	Name         string        // SVC_NODE: name in Consul; "" asks the agent
	Zone         string        // SVC_ZONE; "" asks the agent's node meta
	Address      string        // SVC_ADDRESS: where instances of this node are reached; "" asks the agent
	Prefix       string        // SVC_PREFIX: root of our keys, default "svc"
	Ports        Range         // SVC_PORTS: host ports for `publish: auto`, default 20000-29999
	RunDir       string        // SVC_RUN_DIR: rendered files and secrets, a tmpfs, default /run/svckit
	StateDir     string        // SVC_STATE_DIR: last good config, default /var/lib/svckit
	CodeDir      string        // SVC_CODE_DIR: code of services that have code.mount, default /var/lib/svckit/code
	DNS          string        // SVC_DNS: host:port that is asked whether DNS shows an instance; "" asks the agent for its own, "off" asks none
	ContainerDNS []string      // SVC_CONTAINER_DNS: nameservers given to containers, comma-separated
	DNSMargin    time.Duration // SVC_DNS_MARGIN: waited after DNS forgot an instance, on top of the TTL, default 1s
	HostPaths    []string      // SVC_HOST_PATHS: paths of the host that a spec out of KV may mount
	Registries   []string      // SVC_REGISTRIES: mirrors, tried in order before the image's own registry
	Keep         int           // SVC_KEEP_IMAGES: images kept per app after a success, default 3
	DNSListen    []string      // SVC_DNS_LISTEN: where svc-dns listens, ip:port, default 127.0.0.1:53
	DNSLink      string        // SVC_DNS_LINK: address of the interface that svc-dns makes, e.g. 169.254.20.10; "" makes none
	DNSAllow     []string      // SVC_DNS_ALLOW: networks whose clients svc-dns answers, beside loopback and Docker's bridges
	DNSUpstreams []string      // SVC_DNS_UPSTREAMS: servers that svc-dns asks for names outside Consul; none: those of /etc/resolv.conf
	DNSTTL       time.Duration // SVC_DNS_TTL: how long clients of svc-dns may keep an answer, default 0s
	DNSOne       bool          // SVC_DNS_ONE: svc-dns answers one record for each question, default false
	DNSLimit     int           // SVC_DNS_LIMIT: most addresses of one answer, default 0: all
	DNSScale     int           // SVC_DNS_SRV_SCALE: weights in SRV records are multiplied by it, default 1
	DNSWatches   int           // SVC_DNS_WATCHES: services followed by blocking queries, default 120
	DNSRate      int           // SVC_DNS_RATE: questions a second of one client that are not in memory, default 5000; 0: any number
	DNSHold      time.Duration // SVC_DNS_HOLD: how long instances of a restarting agent are held, default 2m
	DNSMaxAge    time.Duration // SVC_DNS_MAX_AGE: how long the last good answers are given while Consul is away, default 24h
	ScaledListen string        // SVC_SCALED_LISTEN: where scaled node serves its samples, ip:port; "" is port 9654 of this node's address where clients are known, else of 127.0.0.1
	ScaledToken  string        // SVC_SCALED_TOKEN_FILE: file with the token that clients of scaled node show; "" none
	ScaledCert   string        // SVC_SCALED_CERT: certificate of scaled node, PEM; "" plain HTTP
	ScaledKey    string        // SVC_SCALED_KEY: its key
	ScaledCA     string        // SVC_SCALED_CA: CA of the certificates that clients of scaled node show; "" they need none
}

// Range is an inclusive range of ports, "20000-29999".
type Range struct{ First, Last int }

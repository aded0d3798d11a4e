package main

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/answer"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/follow"
	"svckit/lib/node"
)

func serveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Usage: "answer at `IP:PORT`, UDP and TCP; may be repeated (default: dns_listen, else 127.0.0.1:53)"},
		&cli.StringFlag{Name: "link", Usage: "make an interface with the address `IP`, e.g. 169.254.20.10, and answer at its port 53 too (default: dns_link)"},
		&cli.StringSliceFlag{Name: "allow", Usage: "answer clients of `NETWORK` too, beside loopback and Docker's bridges; may be repeated (default: dns_allow)"},
		&cli.StringSliceFlag{Name: "upstream", Usage: "ask `IP[:PORT]` for names outside Consul; may be repeated (default: dns_upstreams, else /etc/resolv.conf)"},
		&cli.StringFlag{Name: "agent-dns", Usage: "ask `IP:PORT` for what only the agent knows (default: what the agent says)"},
		&cli.DurationFlag{Name: "ttl", Usage: "let clients keep an answer for `TIME` (default: dns_ttl, else 0s)"},
		&cli.IntFlag{Name: "limit", Usage: "answer at most `N` addresses, chosen by weight; 0: all that fit (default: dns_limit, else 0)"},
		&cli.BoolFlag{Name: "one", Usage: "answer one record for each question, picked by weight: for clients that sort answers (default: dns_one)"},
		&cli.IntFlag{Name: "srv-scale", Usage: "multiply weights in SRV records by `N`; 256 for HAProxy, which divides them by that (default: dns_srv_scale, else 1)"},
		&cli.BoolFlag{Name: "only-passing", Usage: "leave out instances whose checks warn"},
		&cli.BoolFlag{Name: "any-zone", Usage: "do not prefer instances of this node's zone"},
		&cli.DurationFlag{Name: "hold", Usage: "hold the instances of a node whose agent restarts for at most `TIME` (default: dns_hold, else 2m)"},
		&cli.DurationFlag{Name: "max-age", Usage: "answer what was last known for at most `TIME` while Consul is away (default: dns_max_age, else 24h)"},
		&cli.IntFlag{Name: "watches", Usage: "follow at most `N` services by blocking queries; the others are read when they are asked for (default: dns_watches, else 120)"},
		&cli.IntFlag{Name: "rate", Usage: "let a client ask `N` questions a second that are not in memory; 0: any number (default: dns_rate, else 5000)"},
		&cli.IntFlag{Name: "cache", Value: 10000, Usage: "remember `N` answers of other servers"},
		&cli.IntFlag{Name: "loops", Usage: "read each address with `N` loops (default: one for each core)"},
		&cli.StringFlag{Name: "metrics", Value: "127.0.0.1:9653", Usage: "serve Prometheus metrics at `IP:PORT`; off: nowhere"},
	}
}

// options are what serve is told by flags, variables and settings.
type options struct {
	listen, upstreams []string
	link              netip.Addr
	allow             []netip.Prefix
	agentDNS, metrics string
	one               bool
	rate, cache       int
	loops             int
	follow            follow.Settings
}

// number is a flag if it is given, else the node's setting.
func number(c *cli.Context, name string, setting int) int {
	if c.IsSet(name) {
		return c.Int(name)
	}
	return setting
}

func duration(c *cli.Context, name string, setting time.Duration) time.Duration {
	if c.IsSet(name) {
		return c.Duration(name)
	}
	return setting
}

func readOptions(c *cli.Context, n node.Settings) (options, error) {
	o := options{
		listen: first(c.StringSlice("listen"), n.DNSListen, []string{"127.0.0.1:53"}), upstreams: first(c.StringSlice("upstream"), n.DNSUpstreams),
		agentDNS: c.String("agent-dns"), metrics: c.String("metrics"), one: n.DNSOne, rate: number(c, "rate", n.DNSRate), cache: c.Int("cache"),
		loops: c.Int("loops"), follow: follow.Defaults(),
	}
	for _, name := range []string{"limit", "watches", "rate", "cache", "loops", "srv-scale"} {
		if v := c.Int(name); v < 0 || v > 1_000_000 {
			return o, fault.New(fault.Usage, "--%s must be from 0 to 1000000", name)
		}
	}
	for _, name := range []string{"ttl", "hold", "max-age"} {
		if v := c.Duration(name); v < 0 || v > 7*24*time.Hour {
			return o, fault.New(fault.Usage, "--%s must be from 0s to 168h", name)
		}
	}
	if c.IsSet("one") {
		o.one = c.Bool("one")
	}
	o.follow.Hold, o.follow.MaxAge = duration(c, "hold", n.DNSHold), duration(c, "max-age", n.DNSMaxAge)
	o.follow.Watches, o.follow.File = number(c, "watches", n.DNSWatches), snapshotPath(n)
	o.follow.Policy = answer.Policy{
		TTL: uint32(duration(c, "ttl", n.DNSTTL) / time.Second), Limit: number(c, "limit", n.DNSLimit), Scale: number(c, "srv-scale", n.DNSScale),
		OnlyPassing: c.Bool("only-passing"), Zone: n.Zone,
	}
	return o, o.addresses(c, n)
}

// addresses reads what must be addresses and networks.
func (o *options) addresses(c *cli.Context, n node.Settings) error {
	if text := cmp.Or(c.String("link"), n.DNSLink); text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fault.New(fault.Usage, "--link %s: expected an IP address such as 169.254.20.10", text)
		}
		o.link, o.listen = a, append(slices.Clone(o.listen), netip.AddrPortFrom(a, 53).String())
	}
	for _, text := range first(c.StringSlice("allow"), n.DNSAllow) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fault.New(fault.Usage, "--allow %s: expected a network such as 10.0.0.0/8", text)
		}
		o.allow = append(o.allow, p)
	}
	for i, text := range o.upstreams {
		if _, err := netip.ParseAddr(text); err == nil {
			o.upstreams[i] = net.JoinHostPort(text, "53")
		} else if _, err := netip.ParseAddrPort(text); err != nil {
			return fault.New(fault.Usage, "--upstream %s: expected an IP address, with a port or without", text)
		}
	}
	return nil
}

// know fills in what the agent says of itself. Without an agent the last known names of domain and datacenter stay.
func (o *options) know(a fleet.Agent, anyZone bool) {
	p := &o.follow.Policy
	p.Domain, p.Datacenter = strings.ToLower(cmp.Or(a.Domain, "consul")), strings.ToLower(a.Datacenter)
	p.Zone = cmp.Or(p.Zone, a.Meta[fleet.MetaZone])
	if anyZone {
		p.Zone = ""
	}
	o.agentDNS = cmp.Or(o.agentDNS, a.DNS)
}

func first(lists ...[]string) []string {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

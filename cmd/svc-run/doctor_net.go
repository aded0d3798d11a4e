package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"svckit/lib/node"
)

// portRanges reads which ports the kernel gives to outgoing connections, and which it must not.
func portRanges(read func(path string) ([]byte, error)) (ephemeral node.Range, reserved []node.Range) {
	if text, err := read("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if w := strings.Fields(string(text)); len(w) == 2 {
			ephemeral = rangeOf(w[0], w[1])
		}
	}
	if text, err := read("/proc/sys/net/ipv4/ip_local_reserved_ports"); err == nil {
		for _, part := range strings.Split(strings.TrimSpace(string(text)), ",") {
			first, last, both := strings.Cut(part, "-")
			if !both {
				last = first
			}
			if r := rangeOf(first, last); r != (node.Range{}) {
				reserved = append(reserved, r)
			}
		}
	}
	return ephemeral, reserved
}

func rangeOf(first, last string) node.Range {
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return node.Range{}
	}
	return node.Range{First: int(a), Last: int(b)}
}

// listeningPorts reads the TCP ports of this machine that somebody listens on,
// sorted; nil when the kernel does not tell.
func listeningPorts(read func(path string) ([]byte, error)) []int {
	const listen = "0A" // TCP_LISTEN, include/net/tcp_states.h
	var ports []int
	known := false
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := read(path)
		if err != nil {
			continue
		}
		known = true
		for line := range strings.Lines(string(text)) {
			w := strings.Fields(line)
			if len(w) < 4 || w[3] != listen {
				continue
			}
			_, hex, _ := strings.Cut(w[1], ":")
			if p, err := strconv.ParseUint(hex, 16, 16); err == nil {
				ports = append(ports, int(p))
			}
		}
	}
	if !known {
		return nil
	}
	slices.Sort(ports)
	return append([]int{}, slices.Compact(ports)...)
}

// lookup asks one DNS server, host:port, for the addresses of name.
func lookup(ctx context.Context, server, name string) (missing bool, err error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	_, err = resolver.LookupNetIP(ctx, "ip", name+".")
	var answer *net.DNSError
	switch {
	case errors.As(err, &answer) && answer.IsNotFound:
		return true, nil
	case errors.As(err, &answer):
		return false, errors.New(answer.Err)
	}
	return false, err
}

// maxRegistries bounds how many registries are asked.
const maxRegistries = 8

// registryHosts lists the registries that this node pulls from: mirrors, and those of what runs.
func registryHosts(f facts) []string {
	var hosts []string
	for _, r := range f.settings.Registries {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r, "https://"), "http://"), "/")
		hosts = append(hosts, host)
	}
	for _, i := range f.instances {
		host, _, named := strings.Cut(i.Image, "/")
		if named && (strings.ContainsAny(host, ".:") || host == "localhost") {
			hosts = append(hosts, host)
		}
	}
	hosts = sorted(hosts)
	return hosts[:min(len(hosts), maxRegistries)]
}

// askRegistries asks each registry how it speaks, and takes the time of its clock from the answer.
func askRegistries(ctx context.Context, hosts, insecure []string) ([]registryFact, []clockOffset) {
	client := &http.Client{
		Timeout:       askFor,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
	}
	var found []registryFact
	var offsets []clockOffset
	for _, host := range hosts {
		r := registryFact{host: host, insecure: acceptsPlain(host, insecure)}
		began := time.Now()
		date, err := askRegistry(ctx, client, "https", host)
		if plain := new(plainAnswer); errors.As(err, &plain) || err != nil && r.insecure {
			began = time.Now()
			if date, err = askRegistry(ctx, client, "http", host); err == nil {
				r.plain = true
			}
		}
		r.err = err
		found = append(found, r)
		if err == nil && !date.IsZero() && !isLoopback(host) {
			middle := began.Add(time.Since(began) / 2)
			offsets = append(offsets, clockOffset{from: host, ahead: middle.Sub(date) - time.Second/2}) // a Date has no fractions
		}
	}
	return found, offsets
}

// plainAnswer says that a server spoke HTTP where TLS was expected.
type plainAnswer struct{ err error }

func (p *plainAnswer) Error() string { return p.err.Error() }

func askRegistry(ctx context.Context, client *http.Client, scheme, host string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil)
	if err != nil {
		return time.Time{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
			return time.Time{}, &plainAnswer{err}
		}
		return time.Time{}, err
	}
	defer res.Body.Close()
	date, _ := http.ParseTime(res.Header.Get("Date"))
	return date, nil
}

// acceptsPlain reports whether the engine speaks to host without TLS: what its
// settings list, by name or network, and always loopback.
func acceptsPlain(host string, insecure []string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	for _, i := range insecure {
		if i == host || i == name {
			return true
		}
		if _, network, err := net.ParseCIDR(i); err == nil && ip != nil && network.Contains(ip) {
			return true
		}
	}
	return isLoopback(host)
}

func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

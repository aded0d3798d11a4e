// Package dnsd speaks DNS. This file is the client: what a name resolves to,
// asked of one server and nobody else.
package dnsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	queryTimeout = 3 * time.Second // of one exchange
	maxFollowUps = 256             // addresses that are asked for because the answer lacks them
)

// Answer is what a server says of a service.
type Answer struct {
	Endpoints []fleet.Endpoint // sorted by address and port, without doubles
	TTL       time.Duration    // the shortest of all records; of a missing name how long it may be taken as missing, 0 when unknown
	Missing   bool             // no such name, or nothing healthy under it: Consul does not tell these apart
	Truncated bool             // there are more than fit into one answer, also over TCP
}

// Lookup asks a server (host:port) for the SRV records of a name, with the
// addresses of their targets. It uses TCP, as only there Consul gives every
// instance. A server that does not answer, refuses or fails is fault.Unreachable.
func Lookup(ctx context.Context, server, name string) (Answer, error) {
	s, err := dial(ctx, server, name)
	if err != nil {
		return Answer{}, err
	}
	defer s.conn.Close()
	reply, err := s.ask(ctx, s.name, dns.TypeSRV)
	if err != nil {
		return Answer{}, err
	}
	found, err := decode(reply, s.name)
	if err != nil {
		return Answer{}, s.fault(err)
	}
	for i, target := range found.unresolved() {
		if i == maxFollowUps {
			return Answer{}, s.fault(fmt.Errorf("more than %d targets without an address", maxFollowUps))
		}
		addresses, ttl, err := s.resolve(ctx, target)
		if err != nil {
			return Answer{}, err
		}
		found.addresses[target], found.ttl = addresses, min(found.ttl, ttl)
	}
	return found.answer(), nil
}

// LookupA asks a server for the plain addresses of a name, A and then AAAA,
// sorted; none where the name is missing.
func LookupA(ctx context.Context, server, name string) ([]netip.Addr, error) {
	s, err := dial(ctx, server, name)
	if err != nil {
		return nil, err
	}
	defer s.conn.Close()
	addresses, _, err := s.resolve(ctx, s.name)
	return addresses, err
}

// session is one TCP connection to a server, for the queries of one lookup.
type session struct {
	client *dns.Client
	conn   *dns.Conn
	server string
	name   string // canonical: lower case, with the last dot
}

func dial(ctx context.Context, server, name string) (*session, error) {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	s := &session{client: &dns.Client{Net: "tcp", Timeout: queryTimeout}, server: server, name: dns.CanonicalName(name)}
	if _, ok := dns.IsDomainName(name); !ok || len(s.name) > 254 || strings.ContainsAny(name, " \t\r\n\\") || s.name == "." {
		return nil, fault.New(fault.Usage, "look up %q: not a DNS name", name)
	}
	conn, err := s.client.DialContext(ctx, server)
	if err != nil {
		return nil, s.fault(cause(ctx, err))
	}
	s.conn = conn
	return s, nil
}

func (s *session) fault(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("look up %s at %s: %w", s.name, s.server, err)
	}
	return fault.WithHint(fault.New(fault.Unreachable, "look up %s at %s: %w", strings.TrimSuffix(s.name, "."), s.server, err),
		"set SVC_DNS to a server that answers for Consul's domain, e.g. the agent's own 127.0.0.1:8600")
}

func (s *session) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, kind)
	q.SetEdns0(4096, false)
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reply, _, err := s.client.ExchangeWithConnContext(ctx, q, s.conn)
	if err != nil {
		return nil, s.fault(cause(ctx, err))
	}
	return reply, nil
}

// resolve asks for both kinds of address and returns them sorted, with the shortest TTL.
func (s *session) resolve(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	var all []netip.Addr
	ttl := forever
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		reply, err := s.ask(ctx, name, kind)
		if err != nil {
			return nil, 0, err
		}
		if err := check(reply, name, kind); err != nil {
			return nil, 0, s.fault(err)
		}
		for _, rr := range reply.Answer {
			if a, ok := address(rr); ok { // also behind a CNAME
				all, ttl = append(all, a), min(ttl, seconds(rr.Header().Ttl))
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), ttl, nil
}

// cause says in few words why an exchange failed.
func cause(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("no answer in time")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

const forever = time.Duration(1<<63 - 1)

// records is a decoded answer to an SRV question.
type records struct {
	targets   []srv
	addresses map[string][]netip.Addr // by canonical target
	ttl       time.Duration
	missing   bool
	truncated bool
}

type srv struct {
	target string
	port   int
	weight int
}

// decode takes what belongs to the question out of an answer; all else in it is ignored.
func decode(reply *dns.Msg, name string) (records, error) {
	r := records{addresses: map[string][]netip.Addr{}, ttl: forever, truncated: reply.Truncated}
	if err := check(reply, name, dns.TypeSRV); err != nil {
		return r, err
	}
	wanted := map[string]bool{}
	for _, rr := range reply.Answer {
		if v, ok := rr.(*dns.SRV); ok && dns.CanonicalName(v.Hdr.Name) == name {
			t := dns.CanonicalName(v.Target)
			r.targets = append(r.targets, srv{t, int(v.Port), int(v.Weight)})
			r.ttl, wanted[t] = min(r.ttl, seconds(v.Hdr.Ttl)), true
		}
	}
	if len(r.targets) == 0 {
		r.missing, r.ttl = true, negativeTTL(reply)
		return r, nil
	}
	for _, rr := range reply.Extra {
		target := dns.CanonicalName(rr.Header().Name)
		if a, ok := address(rr); ok && wanted[target] {
			r.addresses[target] = append(r.addresses[target], a)
			r.ttl = min(r.ttl, seconds(rr.Header().Ttl))
		}
	}
	return r, nil
}

// check reports whether reply answers the question; "no such name" is an answer.
func check(reply *dns.Msg, name string, kind uint16) error {
	switch {
	case !reply.Response || len(reply.Question) != 1 || dns.CanonicalName(reply.Question[0].Name) != name || reply.Question[0].Qtype != kind:
		return errors.New("answer to another question")
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return errors.New(cmp.Or(dns.RcodeToString[reply.Rcode], fmt.Sprint("rcode ", reply.Rcode)))
	}
	return nil
}

func (r records) unresolved() []string {
	var names []string
	for _, t := range r.targets {
		if len(r.addresses[t.target]) == 0 && !slices.Contains(names, t.target) {
			names = append(names, t.target)
		}
	}
	return names
}

func (r records) answer() Answer {
	a := Answer{TTL: r.ttl, Missing: r.missing, Truncated: r.truncated}
	for _, t := range r.targets {
		for _, ip := range r.addresses[t.target] {
			a.Endpoints = append(a.Endpoints, fleet.Endpoint{Address: ip.String(), Port: t.port, Weight: t.weight})
		}
	}
	slices.SortFunc(a.Endpoints, func(x, y fleet.Endpoint) int {
		return cmp.Or(strings.Compare(x.Address, y.Address), cmp.Compare(x.Port, y.Port), cmp.Compare(x.Weight, y.Weight))
	})
	a.Endpoints = slices.Compact(a.Endpoints)
	return a
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch v := rr.(type) {
	case *dns.A:
		ip, ok := netip.AddrFromSlice(v.A)
		return ip.Unmap(), ok
	case *dns.AAAA:
		ip, ok := netip.AddrFromSlice(v.AAAA)
		return ip, ok
	}
	return netip.Addr{}, false
}

// negativeTTL is how long "missing" may be believed: RFC 2308 §5.
func negativeTTL(reply *dns.Msg) time.Duration {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return 0
}

// seconds bounds a TTL: RFC 2181 §8 takes one with the highest bit as 0.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

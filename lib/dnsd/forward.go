package dnsd

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"

	"svckit/lib/answer"
)

// Forwarder asks other servers and remembers what they said. A question that is
// being asked already is not asked twice at the same time: several clients wait
// for one answer, and a loop of servers ends with the first time-out.
type Forwarder struct {
	Servers func() []string  // host:port, in order; those that Skip names are left out
	Skip    func() []string  // our own addresses
	Limit   int              // answers remembered; 0: none
	Now     func() time.Time // the clock

	Asked, Hits, Failures atomic.Int64

	flight singleflight.Group
	first  atomic.Int64 // index of the server that answered last
	mu     sync.Mutex
	cache  map[string]remembered
}

type remembered struct {
	m     *dns.Msg
	at    time.Time
	until time.Time
}

const (
	askTimeout = 2 * time.Second // of one server
	maxKeep    = time.Hour
	failKeep   = time.Second // RFC 2308 §7: a failure may be remembered, for up to five minutes
)

// Ask returns what the servers say of a name, in the library's form, for the
// type and DO bit of q; nil when none says anything. The caller may change it.
func (f *Forwarder) Ask(ctx context.Context, name string, q answer.Query) *dns.Msg {
	key := string(q.Key())
	if q.DO {
		key += "+do"
	}
	if m := f.recall(key); m != nil {
		f.Hits.Add(1)
		return m
	}
	result := f.flight.DoChan(key, func() (any, error) {
		m := f.exchange(context.WithoutCancel(ctx), dns.Fqdn(name), q.Type, q.DO)
		f.remember(key, m)
		return m, nil
	})
	select {
	case <-ctx.Done():
		return nil
	case r := <-result:
		if m, _ := r.Val.(*dns.Msg); m != nil {
			return m.Copy()
		}
	}
	return nil
}

// exchange asks one server after the other, beginning with the one that answered last.
func (f *Forwarder) exchange(ctx context.Context, name string, kind uint16, do bool) *dns.Msg {
	servers := f.Servers()
	own := f.Skip()
	var last *dns.Msg
	for i := range servers {
		at := (int(f.first.Load()) + i) % len(servers)
		if slices.Contains(own, servers[at]) {
			continue // a loop
		}
		f.Asked.Add(1)
		m := ask(ctx, servers[at], name, kind, do)
		if m == nil {
			f.Failures.Add(1)
			continue
		}
		last = m
		if m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError {
			f.first.Store(int64(at))
			return m
		}
	}
	return last
}

func ask(ctx context.Context, server, name string, kind uint16, do bool) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	q := new(dns.Msg).SetQuestion(name, kind)
	q.SetEdns0(1232, do)
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: askTimeout, UDPSize: answer.MaxUDP}
		m, _, err := c.ExchangeContext(ctx, q, server)
		if err != nil || !m.Response || len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, name) || m.Question[0].Qtype != kind {
			return nil
		}
		if !m.Truncated {
			return m
		}
		if network == "tcp" {
			return m
		}
	}
	return nil
}

// recall returns a remembered answer with its TTLs counted down.
func (f *Forwarder) recall(key string) *dns.Msg {
	now := f.Now()
	f.mu.Lock()
	r, ok := f.cache[key]
	f.mu.Unlock()
	if !ok || !now.Before(r.until) {
		return nil
	}
	m := r.m.Copy()
	age := uint32(now.Sub(r.at) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl -= min(h.Ttl, age)
			}
		}
	}
	return m
}

func (f *Forwarder) remember(key string, m *dns.Msg) {
	keep := keepFor(m)
	if keep <= 0 || f.Limit <= 0 {
		return
	}
	now := f.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache == nil {
		f.cache = map[string]remembered{}
	}
	if len(f.cache) >= f.Limit {
		f.makeRoom(now)
	}
	f.cache[key] = remembered{m.Copy(), now, now.Add(keep)}
}

// makeRoom forgets what is over among some entries, else one of them. It is called with f.mu held.
func (f *Forwarder) makeRoom(now time.Time) {
	tried := 0
	for key, r := range f.cache {
		if tried++; tried > 16 {
			break
		}
		if over := !now.Before(r.until); over || tried == 1 {
			delete(f.cache, key)
		}
	}
}

// keepFor is how long an answer may be remembered: its shortest TTL, or what RFC 2308 §5 says of "no".
func keepFor(m *dns.Msg) time.Duration {
	switch {
	case m == nil || m.Truncated:
		return 0
	case m.Rcode == dns.RcodeServerFailure:
		return failKeep
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return 0
	case m.Rcode == dns.RcodeNameError || len(m.Answer) == 0:
		return min(negativeTTL(m), maxKeep)
	}
	keep := maxKeep
	for _, rr := range m.Answer {
		keep = min(keep, seconds(rr.Header().Ttl))
	}
	return keep
}

// SystemServers reads the servers of a resolv.conf, as host:port.
func SystemServers(file string) ([]string, error) {
	config, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range config.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53).String())
		}
	}
	return out, nil
}

package dnsd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/miekg/dns"

	"svckit/lib/answer"
)

// oneName knows one reply ahead, and thinks about the names below it.
type oneName struct{ state answer.State }

func (oneName) Find([]byte, int64) *answer.Packed { return nil }

func (o oneName) Answer(_ context.Context, name answer.Name, kind uint16, _ []byte) (*answer.Packed, bool) {
	return answer.Resolve(name, kind, o.state, testPolicy())
}

func testPolicy() answer.Policy { return answer.Policy{Domain: "consul", Datacenter: "dc1"} }

// upstream is a server that answers with a handler until the test ends.
func upstream(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	s, err := Listen([]string{"127.0.0.1:0"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	udp, tcp := &dns.Server{PacketConn: s.UDP[0], Handler: h}, &dns.Server{Listener: s.TCP[0], Handler: h}
	go func() { _ = udp.ActivateAndServe() }()
	go func() { _ = tcp.ActivateAndServe() }()
	t.Cleanup(s.Close)
	return s.UDP[0].LocalAddr().String()
}

// running is a server of this package with an upstream.
func running(t *testing.T, servers ...string) (*Server, string) {
	t.Helper()
	return runningFor(t, 0, servers...)
}

// runningFor is running with a limit of questions a second for each client.
func runningFor(t *testing.T, perSecond int, servers ...string) (*Server, string) {
	t.Helper()
	clients, err := NewClients(nil, perSecond)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := Listen([]string{"127.0.0.1:0"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	own := sockets.Addresses()
	s := &Server{
		Table: oneName{}, Answerer: oneName{}, Policy: testPolicy(), Clients: clients, Log: hclog.NewNullLogger(),
		System: &Forwarder{Servers: func() []string { return servers }, Skip: func() []string { return own }, Limit: 100, Now: time.Now},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, sockets) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		sockets.Close()
	})
	return s, own[0]
}

func exchange(t *testing.T, network, server, name string, kind uint16) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 10 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, kind), server)
	if err != nil {
		t.Fatalf("ask for %s over %s: %v", name, network, err)
	}
	return m
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOtherNamesAreForwardedAndRemembered(t *testing.T) {
	var asked atomic.Int64
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		switch name := strings.ToLower(q.Question[0].Name); name {
		case "kept.example.":
			m.Answer = []dns.RR{rr(t, name+" 300 IN A 192.0.2.1")}
		case "brief.example.":
			m.Answer = []dns.RR{rr(t, name+" 0 IN A 192.0.2.2")}
		case "big.example.":
			for n := range 100 {
				m.Answer = append(m.Answer, rr(t, fmt.Sprintf("%s 300 IN A 192.0.2.%d", name, n)))
			}
			if w.LocalAddr().Network() == "udp" {
				m.Truncate(512)
			}
		default:
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{rr(t, "example. 300 IN SOA ns.example. x.example. 1 2 3 4 300")}
		}
		_ = w.WriteMsg(m)
	})
	_, at := running(t, up)
	for _, row := range []struct {
		name    string
		records int
		rcode   int
		times   int64 // asked when the question comes three times
	}{
		{"kept.example.", 1, dns.RcodeSuccess, 1},
		{"KEPT.example.", 1, dns.RcodeSuccess, 0},
		{"brief.example.", 1, dns.RcodeSuccess, 3},
		{"missing.example.", 0, dns.RcodeNameError, 1},
		{"big.example.", 100, dns.RcodeSuccess, 2}, // over UDP, then over TCP
		{`my\ printer.example.`, 0, dns.RcodeNameError, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := asked.Load()
			for range 3 {
				m := exchange(t, "tcp", at, row.name, dns.TypeA)
				if m.Rcode != row.rcode || len(m.Answer) != row.records || !m.RecursionAvailable || m.Question[0].Name != row.name {
					t.Errorf("%v", m)
				}
			}
			if n := asked.Load() - before; n != row.times {
				t.Errorf("asked %d times, want %d", n, row.times)
			}
		})
	}
	if m := exchange(t, "udp", at, "big.example.", dns.TypeA); !m.Truncated || len(m.Answer) == 0 {
		t.Errorf("over UDP: %v", m)
	}
}

// Two servers that forward to each other: each question ends, and does not multiply.
func TestALoopOfServersEnds(t *testing.T) {
	var passed atomic.Int64
	var back atomic.Pointer[string]
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		passed.Add(1)
		c := dns.Client{Timeout: 5 * time.Second}
		if m, _, err := c.Exchange(q.Copy(), *back.Load()); err == nil {
			_ = w.WriteMsg(m.SetReply(q))
		}
	})
	_, at := running(t, up)
	back.Store(&at)
	if m := exchange(t, "udp", at, "loop.example.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
	if n := passed.Load(); n > 2 {
		t.Errorf("the question went round %d times", n)
	}
}

func TestTheServersOwnAddressIsNotAsked(t *testing.T) {
	clients, err := NewClients(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &Forwarder{Servers: func() []string { return []string{"127.0.0.1:53"} }, Skip: func() []string { return []string{"127.0.0.1:53"} }, Now: time.Now}
	s := &Server{Table: oneName{}, Answerer: oneName{}, Policy: testPolicy(), Clients: clients, System: f}
	packet, err := new(dns.Msg).SetQuestion("example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(s.reply(t.Context(), packet, netip.MustParseAddr("127.0.0.1"), false)); err != nil || m.Rcode != dns.RcodeServerFailure || f.Asked.Load() != 0 {
		t.Errorf("%v, asked %d times, error %v", m, f.Asked.Load(), err)
	}
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		<-release
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, "x.example. 0 IN A 192.0.2.1")}
		_ = w.WriteMsg(m)
	})
	s, at := running(t, up)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { exchange(t, "tcp", at, "x.example.", dns.TypeA) })
	}
	for end := time.Now().Add(time.Minute); s.Counts.Slow.Load() < 20; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("20 questions have not come in a minute")
		}
	}
	close(release)
	wait.Wait()
	if n := asked.Load(); n > 10 { // one flight ends after 2 s, whoever joined it
		t.Errorf("asked %d times", n)
	}
}

func TestClients(t *testing.T) {
	c, err := NewClients([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true, "192.0.2.7": true, "192.0.3.7": false, "203.0.113.1": false, "2001:db8::1": false,
	} {
		if got := c.Allowed(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s allowed: %v", address, got)
		}
	}
	bridge, host := netip.MustParsePrefix("172.17.0.1/16"), netip.MustParsePrefix("10.1.2.3/8")
	if allow("docker0", bridge).String() != "172.17.0.0/16" || allow("br-12ab", bridge).String() != "172.17.0.0/16" || allow("eth0", host).String() != "10.1.2.3/32" {
		t.Error("networks of bridges, and only these, are allowed as a whole")
	}
	now := time.Unix(1000, 0)
	taken := 0
	for range 100 {
		if c.Take(netip.MustParseAddr("127.0.0.1"), now) {
			taken++
		}
	}
	if taken != 20 || !c.Take(netip.MustParseAddr("127.0.0.2"), now) || !c.Take(netip.MustParseAddr("127.0.0.1"), now.Add(time.Second)) {
		t.Errorf("%d taken at once, want 20; others and later ones too", taken)
	}
}

func TestOthersThanItsClientsGetNoAnswer(t *testing.T) {
	s, at := running(t)
	s.Clients.allowed.Store(&[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: time.Second}
		if m, _, err := c.Exchange(new(dns.Msg).SetQuestion("7f000001.addr.consul.", dns.TypeA), at); err == nil {
			t.Errorf("over %s: %v", network, m)
		}
	}
	for end := time.Now().Add(30 * time.Second); s.Counts.Denied.Load() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := s.Counts.Denied.Load(); n != 2 {
		t.Errorf("%d denied, want 2", n)
	}
}

func TestAClientThatAsksTooMuchIsRefused(t *testing.T) {
	s, at := runningFor(t, 1)
	refused := 0
	for range 50 { // two are free, and one each second
		if exchange(t, "udp", at, "7f000001.addr.consul.", dns.TypeA).Rcode == dns.RcodeRefused {
			refused++
		}
	}
	if refused < 10 || int64(refused) != s.Counts.Limited.Load() {
		t.Errorf("%d of 50 refused, %d counted", refused, s.Counts.Limited.Load())
	}
}

func TestWildcardAddressesAreRefused(t *testing.T) {
	for _, text := range []string{"0.0.0.0:53", "[::]:53", "localhost:53", "127.0.0.1"} {
		if s, err := Listen([]string{text}, 1); err == nil {
			s.Close()
			t.Errorf("%s is listened on", text)
		}
	}
}

func FuzzReply(f *testing.F) {
	clients, err := NewClients(nil, 0)
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{
		Table: oneName{}, Answerer: oneName{}, Policy: testPolicy(), Clients: clients,
		System: &Forwarder{Servers: func() []string { return nil }, Skip: func() []string { return nil }, Now: time.Now},
	}
	for _, name := range []string{"web.service.consul.", "example.com.", "1.0.0.127.in-addr.arpa."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.SetEdns0(1232, true)
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	client := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, tcp := range []bool{false, true} {
			out := s.reply(t.Context(), packet, client, tcp)
			if len(out) == 0 {
				continue
			}
			var m dns.Msg
			if err := m.Unpack(out); err != nil {
				t.Fatalf("reply cannot be read: %v\n%x", err, out)
			}
			if !m.Response || len(packet) < 2 || m.Id != uint16(packet[0])<<8|uint16(packet[1]) {
				t.Fatalf("reply %v to %x", m, packet)
			}
		}
	})
}

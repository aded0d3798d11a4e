//go:build real

package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"svckit/lab"
)

// catalog fills an agent with every shape of service that answers differ for.
func catalog(t testing.TB, url string) {
	t.Helper()
	at := func(id, name, address string, port int, more object) object {
		o := object{"ID": id, "Name": name, "Address": address, "Port": port}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	weights := func(n int) object { return object{"Passing": n, "Warning": 1} }
	check := func(status string) object { return object{"TTL": "1h", "Status": status} }
	for _, o := range []object{
		at("web1", "web", "10.0.0.1", 8001, object{"Tags": []string{"v1", "Canary"}, "Weights": weights(3), "Check": check("passing")}),
		at("web2", "web", "10.0.0.2", 8002, object{"Tags": []string{"v2"}, "Weights": weights(5), "Check": check("warning")}),
		at("web3", "web", "10.0.0.3", 8003, object{"Tags": []string{"v2", "a.b"}, "Check": check("critical")}),
		at("api1", "api", "", 9000, object{"Tags": []string{"tcp"}}),
		at("api2", "api", "", 9001, nil),
		at("same1", "same", "10.0.1.1", 1, nil),
		at("same2", "same", "10.0.1.1", 2, nil),
		at("six1", "six", "fd00::1", 80, nil),
		at("mixed1", "mixed", "10.0.2.1", 80, nil),
		at("mixed2", "mixed", "fd00::2", 80, nil),
		at("dead1", "dead", "10.0.3.1", 80, object{"Check": check("critical")}),
		at("maint1", "maint", "10.0.4.1", 80, nil),
		at("dots1", "dots", "10.0.5.1", 80, object{"Tags": []string{"a.b", "x_y"}}),
		at("upper1", "Upper", "10.0.6.1", 80, nil),
		at("node", "node", "10.0.7.1", 80, nil),
		at("service", "service", "10.0.7.2", 80, nil),
		at("zero1", "zero", "10.0.8.1", 0, nil),
		at("under1", "under_score", "10.0.9.1", 80, nil),
		at("host1", "byname", "db.example.com", 5432, nil),
		at("cons1", "byconsul", "web.service.consul", 80, nil),
	} {
		register(t, url, o)
	}
	for n := range 40 {
		register(t, url, at(fmt.Sprintf("many%d", n), "many", fmt.Sprintf("10.1.0.%d", n+1), 8000+n, nil))
	}
	put(t, url, "/v1/agent/service/maintenance/maint1?enable=true&reason=test", nil)
	put(t, url, "/v1/catalog/register", object{"Node": "other", "Address": "10.9.0.1", "NodeMeta": object{"rack": "r1", "rfc1035-x": "plain"}, "Service": object{"ID": "far", "Service": "far", "Port": 70}})
	put(t, url, "/v1/catalog/register", object{"Node": "nodesix", "Address": "fd00::9", "Service": object{"ID": "far6", "Service": "far6", "Port": 70}})
	put(t, url, "/v1/catalog/register", object{"Node": "dotted.node", "Address": "10.9.0.3", "NodeMeta": object{" a=b` ": "c`d"}})
	put(t, url, "/v1/catalog/register", object{"Node": "named", "Address": "host.example.com", "Service": object{"ID": "ext", "Service": "ext", "Port": 70}})
	send(t, http.MethodPost, url, "/v1/query", object{"Name": "wq", "Service": object{"Service": "web", "OnlyPassing": true}})
}

// question is a row of the table: it is asked of Consul and of svc-dns in every
// way, and the answers agree, unless the row names a difference of docs/dns.md;
// then they must differ.
type question struct {
	name, kinds, differs string
}

func questions() []question {
	return []question{
		{"web.service.consul", "A AAAA SRV ANY MX CNAME PTR", ""},
		{"web.service.consul", "TXT", "txt-of-services"},
		{"WEB.Service.CONSUL", "A SRV", ""},
		{"web.service.dc1.consul", "A SRV", ""},
		{"web.service.dc1.dc.consul", "A SRV", ""},
		{"web.service.dc9.consul", "A SRV", ""},
		{"web.service.dc9.dc.consul", "A", ""},
		{"web.service.a.b.c.consul", "A", ""},
		{"web.service.a.b.consul", "A", ""},
		{"v1.web.service.consul", "A AAAA SRV ANY", ""},
		{"V2.web.service.consul", "A SRV", ""},
		{"canary.web.service.consul", "A", ""},
		{"v3.web.service.consul", "A SRV", ""},
		{"a.b.web.service.consul", "A", ""},
		{"a.b.dots.service.consul", "A SRV", ""},
		{"x_y.dots.service.consul", "A", ""},
		{"_web._v1.service.consul", "SRV A", ""},
		{"_web._tcp.service.consul", "SRV A AAAA", ""},
		{"_web._udp.service.consul", "SRV", ""},
		{"_web._v2.service.dc1.consul", "SRV", ""},
		{"_web._tcp.consul", "SRV A", ""},
		{"_web._tcp.dc1.consul", "SRV", ""},
		{"_api._tcp.service.consul", "SRV", ""},
		{"_web.service.consul", "SRV A", ""},
		{"api.service.consul", "A AAAA SRV ANY", ""},
		{"tcp.api.service.consul", "A SRV", ""},
		{"same.service.consul", "A SRV", ""},
		{"six.service.consul", "A AAAA SRV ANY", ""},
		{"mixed.service.consul", "A AAAA SRV ANY", ""},
		{"dead.service.consul", "A SRV ANY", ""},
		{"maint.service.consul", "A SRV", ""},
		{"upper.service.consul", "A SRV", ""},
		{"node.service.consul", "A", ""},
		{"service.service.consul", "A", ""},
		{"zero.service.consul", "A SRV", ""},
		{"under_score.service.consul", "A", ""},
		{"far.service.consul", "A SRV", ""},
		{"far6.service.consul", "A AAAA SRV", ""},
		{"unknown.service.consul", "A AAAA SRV ANY TXT MX", ""},
		{"service.consul", "A", ""},
		{"consul", "A ANY SRV MX", ""},
		{"consul", "SOA NS", ""},
		{"web.service.consul", "SOA NS", ""},
		{"nothing.consul", "A SRV TXT", ""},
		{"web.servicex.consul", "A", ""},
		{"node1.node.consul", "A TXT ANY", ""},
		{"node1.node.consul", "AAAA SRV MX", "soa-of-nodes"},
		{"NODE1.node.dc1.consul", "A", ""},
		{"other.node.consul", "A ANY TXT", ""},
		{"other.node.dc1.consul", "A", ""},
		{"other.node.dc1.dc.consul", "A", ""},
		{"dotted.node.node.consul", "A TXT ANY", ""},
		{"nodesix.node.consul", "AAAA ANY", ""},
		{"nodesix.node.consul", "A", "soa-of-nodes"},
		{"unknown.node.consul", "A TXT", ""},
		{"unknown.node.consul", "SRV", "types-of-unknown-nodes"},
		{"node.consul", "A", ""},
		{"7f000001.addr.consul", "A ANY", ""},
		{"7f000001.addr.consul", "AAAA TXT", "soa-of-addresses"},
		{"7F000001.addr.dc1.consul", "A", ""},
		{"7f000001.addr.any.thing.consul", "A", ""},
		{"fd000000000000000000000000000001.addr.consul", "AAAA ANY", ""},
		{"7f00001.addr.consul", "A", ""},
		{"7f0000012.addr.consul", "A", ""},
		{"zz000001.addr.consul", "A", ""},
		{"a.7f000001.addr.consul", "A", ""},
		{"addr.consul", "A", ""},
		{"byname.service.consul", "A SRV ANY", ""},
		{"byconsul.service.consul", "A", ""},
		{"ext.service.consul", "A SRV", ""},
		{"named.node.consul", "A", ""},
		{"wq.query.consul", "A SRV", ""},
		{"unknown.query.consul", "A", ""},
		{"web.connect.consul", "A", ""},
		{"web.ingress.consul", "A", ""},
		{"web.virtual.consul", "A", ""},
		{"web.service.p.peer.consul", "A", ""},
		{"web.service.p.port.consul", "SRV", ""},
		{"1.0.0.10.in-addr.arpa", "PTR", ""},
		{"1.0.9.10.in-addr.arpa", "PTR", ""},
		{"9.9.9.9.in-addr.arpa", "PTR", ""},
		{"web.service.consul", "AXFR", ""},
		{"many.service.consul", "A SRV", ""},
	}
}

type way struct {
	network string
	size    uint16
}

func TestAnswersAgreeWithConsul(t *testing.T) {
	agent := lab.Consul(t, "-recursor=127.0.0.1:9", "-hcl", `dns_config { recursor_timeout = "200ms" }`)
	catalog(t, agent.URL())
	s := newServer(t, agent.URL())
	docs, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, row := range questions() {
		for kind := range strings.FieldsSeq(row.kinds) {
			asked++
			for _, w := range []way{{"udp", 0}, {"udp", 4096}, {"tcp", 0}} {
				t.Run(fmt.Sprintf("%s %s %s %d", row.name, kind, w.network, w.size), func(t *testing.T) {
					theirs, ours := pair(t, agent.DNS, s.at, row.name, dns.StringToType[kind], w)
					diff := cmp.Diff(view(theirs, w), view(ours, w))
					switch {
					case row.differs == "" && diff != "":
						t.Errorf("- Consul, + svc-dns:\n%s", diff)
					case row.differs != "" && diff == "":
						t.Errorf("%s is listed as a difference, and there is none", row.differs)
					case row.differs != "" && !strings.Contains(string(docs), "`"+row.differs+"`"):
						t.Errorf("docs/dns.md does not list %s", row.differs)
					}
				})
			}
		}
	}
	if asked < 80 {
		t.Errorf("%d questions asked, want 80 at least", asked)
	}
}

func pair(t *testing.T, consul, ours, name string, kind uint16, w way) (*dns.Msg, *dns.Msg) {
	t.Helper()
	a, err := ask(consul, w.network, name, kind, w.size)
	if err != nil {
		t.Fatalf("ask consul: %v", err)
	}
	for end := time.Now().Add(soon); ; {
		b, err := ask(ours, w.network, name, kind, w.size)
		if err != nil {
			t.Fatalf("ask svc-dns: %v", err)
		}
		// Consul may be too slow for the first question of a name; every resolver asks again then.
		if b.Rcode != dns.RcodeServerFailure || a.Rcode == dns.RcodeServerFailure || time.Now().After(end) {
			return a, b
		}
	}
}

// seen is what must agree of an answer.
type seen struct {
	Rcode             string
	AA, RA, RD        bool
	Answer, Ns, Extra []string
	HasOPT            bool
}

// view leaves out what differs on purpose everywhere (docs/dns.md, "everywhere"):
// order, TTL, serial, the EDNS size, TXT records of node meta in the additional
// section; and, where the answer is larger than Consul gives over UDP, which part of it is given.
func view(m *dns.Msg, w way) seen {
	v := seen{Rcode: dns.RcodeToString[m.Rcode], AA: m.Authoritative, RA: m.RecursionAvailable, RD: m.RecursionDesired, HasOPT: m.IsEdns0() != nil}
	v.Answer, v.Ns = texts(m.Answer), texts(m.Ns)
	for _, rr := range m.Extra {
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTXT {
			v.Extra = append(v.Extra, texts([]dns.RR{rr})...)
		}
	}
	slices.Sort(v.Extra)
	v.Extra = slices.Compact(v.Extra)
	if w.network == "udp" && len(m.Answer) >= 3 && strings.HasPrefix(m.Question[0].Name, "many.") {
		v.Answer, v.Extra, v.HasOPT = nil, nil, w.size > 0 // Consul loses the OPT record when it cuts
	}
	return v
}

func texts(list []dns.RR) (out []string) {
	for _, rr := range list {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		switch v := rr.(type) {
		case *dns.SOA:
			v.Serial = 0
		case *dns.SRV:
			v.Target = strings.ToLower(v.Target)
		}
		out = append(out, strings.ToLower(strings.Join(strings.Fields(rr.String()), " ")))
	}
	slices.Sort(out)
	return out
}

func TestMoreThanConsulGivesOverUDP(t *testing.T) {
	agent := lab.Consul(t)
	catalog(t, agent.URL())
	s := newServer(t, agent.URL())
	within(t, soon, "answered", func() error { return whole(s, "many.service.consul", 40) })
	for _, row := range []struct {
		name      string
		kind      uint16
		size      uint16
		want      int
		truncated bool
	}{
		{"as many as fit into 512 bytes", dns.TypeA, 0, 29, true},
		{"all with EDNS", dns.TypeA, 1232, 40, false},
		{"as many SRV as fit into 1232 bytes", dns.TypeSRV, 1232, 26, true},
		{"all SRV with a larger size", dns.TypeSRV, 4096, 40, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := ask(s.at, "udp", "many.service.consul", row.kind, row.size)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Answer) != row.want || m.Truncated != row.truncated {
				t.Errorf("%d records, truncated %v; want %d, %v", len(m.Answer), m.Truncated, row.want, row.truncated)
			}
		})
	}
	m, err := ask(s.at, "tcp", "many.service.consul", dns.TypeSRV, 0)
	if err != nil || len(m.Answer) != 40 || len(m.Extra) != 40 || m.Truncated {
		t.Errorf("over TCP: %v, error %v", m, err)
	}
}

func TestRefusalsOfWhatIsNoOrdinaryQuestion(t *testing.T) {
	agent := lab.Consul(t)
	s := newServer(t, agent.URL())
	within(t, soon, "answered", func() error { return whole(s, "node1.node.consul", 1) })
	base := func() *dns.Msg { return new(dns.Msg).SetQuestion("node1.node.consul.", dns.TypeA) }
	for _, row := range []struct {
		name   string
		change func(*dns.Msg)
		want   int
	}{
		{"class CHAOS", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"opcode NOTIFY", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		{"opcode UPDATE", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		{"no question", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		{"EDNS version 1", func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		{"EDNS with options", func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			o := m.IsEdns0()
			o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1223344556"})
		}, dns.RcodeSuccess},
		{"a name outside, and recursion not wanted", func(m *dns.Msg) { m.Question[0].Name, m.RecursionDesired = "example.com.", false }, dns.RcodeRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				m := base()
				row.change(m)
				c := dns.Client{Net: network, Timeout: 20 * time.Second}
				reply, _, err := c.Exchange(m, s.at)
				if err != nil || reply.Rcode != row.want {
					t.Errorf("%s: %v, error %v; want %s", network, reply, err, dns.RcodeToString[row.want])
				}
			}
		})
	}
}

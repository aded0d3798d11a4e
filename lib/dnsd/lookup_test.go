package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// serve answers on TCP with what zone says for "NAME TYPE"; lines before a blank one are the answer, then additional, then authority.
func serve(t *testing.T, zone map[string]string, rcodes map[string]int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		key := q.Question[0].Name + " " + dns.TypeToString[q.Question[0].Qtype]
		reply.Rcode = rcodes[key]
		sections := append(strings.Split(zone[key], "\n\n"), "", "")
		reply.Answer, reply.Extra, reply.Ns = parse(t, sections[0]), parse(t, sections[1]), parse(t, sections[2])
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return l.Addr().String()
}

func parse(t *testing.T, text string) (records []dns.RR) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, rr)
		}
	}
	return records
}

func TestAServiceResolvesToItsEndpoints(t *testing.T) {
	server := serve(t, map[string]string{
		"web.service.consul. SRV": `
			web.service.consul. 5 IN SRV 1 3 20001 0a000002.addr.dc1.consul.
			WEB.service.consul. 5 IN SRV 1 1 20000 0a000001.addr.dc1.consul.
			web.service.consul. 5 IN SRV 1 1 20000 0a000001.addr.dc1.consul.
			other.service.consul. 1 IN SRV 1 1 666 evil.example.

			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1
			0a000002.addr.dc1.consul. 2 IN A 10.0.0.2
			evil.example. 1 IN A 6.6.6.6
			node1.node.dc1.consul. 0 IN TXT "noise"`,
		"bare.service.consul. SRV":       "bare.service.consul. 9 IN SRV 1 1 8000 node7.node.dc1.consul.",
		"node7.node.dc1.consul. A":       "node7.node.dc1.consul. 4 IN A 10.0.0.7",
		"node7.node.dc1.consul. AAAA":    "node7.node.dc1.consul. 4 IN AAAA fd00::7",
		"gone.service.consul. SRV":       "\n\n\n\nconsul. 30 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 7",
		"nothing.service.consul. SRV":    "",
		"cname.service.consul. A":        "cname.service.consul. 3 IN CNAME x.example.\nx.example. 3 IN A 10.0.0.9\nx.example. 3 IN A 10.0.0.10",
		"forever.service.consul. SRV":    "forever.service.consul. 4294967295 IN SRV 1 1 1 a.addr.consul.\n\na.addr.consul. 5 IN A 10.0.0.1",
		"nowhere.service.consul. SRV":    "nowhere.service.consul. 5 IN SRV 1 1 1 lost.node.dc1.consul.",
		"unresolved.service.consul. SRV": "unresolved.service.consul. 5 IN SRV 1 1 1 broken.example.",
	}, map[string]int{"gone.service.consul. SRV": dns.RcodeNameError, "broken.example. A": dns.RcodeRefused, "ill.service.consul. SRV": dns.RcodeServerFailure})

	for _, row := range []struct {
		name string
		want Answer
	}{
		{"WEB.Service.Consul", Answer{TTL: 2 * time.Second, Endpoints: []fleet.Endpoint{{Address: "10.0.0.1", Port: 20000, Weight: 1}, {Address: "10.0.0.2", Port: 20001, Weight: 3}}}},
		{"bare.service.consul.", Answer{TTL: 4 * time.Second, Endpoints: []fleet.Endpoint{{Address: "10.0.0.7", Port: 8000, Weight: 1}, {Address: "fd00::7", Port: 8000, Weight: 1}}}},
		{"gone.service.consul", Answer{Missing: true, TTL: 7 * time.Second}},
		{"nothing.service.consul", Answer{Missing: true}},
		{"forever.service.consul", Answer{Endpoints: []fleet.Endpoint{{Address: "10.0.0.1", Port: 1, Weight: 1}}}},
		{"nowhere.service.consul", Answer{TTL: 5 * time.Second}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Lookup(t.Context(), server, row.name)
			if err != nil || !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, row.want)
			}
		})
	}
	t.Run("failing", func(t *testing.T) {
		_, err := Lookup(t.Context(), server, "ill.service.consul")
		if fault.KindOf(err) != fault.Unreachable || err.Error() != "look up ill.service.consul at "+server+": SERVFAIL" {
			t.Errorf("%v", err)
		}
		if _, err = Lookup(t.Context(), server, "unresolved.service.consul"); !strings.HasSuffix(fmt.Sprint(err), ": REFUSED") {
			t.Errorf("a target that is refused: %v", err)
		}
	})
	t.Run("addresses", func(t *testing.T) {
		got, err := LookupA(t.Context(), server, "cname.service.consul")
		if err != nil || fmt.Sprint(got) != "[10.0.0.9 10.0.0.10]" {
			t.Errorf("%v, %v", got, err)
		}
		if got, err := LookupA(t.Context(), server, "gone.service.consul"); len(got) != 0 || err != nil {
			t.Errorf("missing: %v, %v", got, err)
		}
	})
}

func TestAServerThatDoesNotAnswerIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Lookup(ctx, l.Addr().String(), "web.service.consul")
	if want := "look up web.service.consul at " + l.Addr().String() + ": no answer in time"; fmt.Sprint(err) != want || time.Since(began) >= 3*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	_, err = Lookup(t.Context(), "127.0.0.1:1", "web.service.consul")
	if fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "at 127.0.0.1:1: connect: connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Lookup(ended, l.Addr().String(), "web.service.consul"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	for _, name := range []string{"", ".", "a b", "a..b", strings.Repeat("a", 64), strings.Repeat("a.", 200)} {
		if _, err := Lookup(t.Context(), "127.0.0.1:1", name); fault.KindOf(err) != fault.Usage {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	reply := new(dns.Msg).SetQuestion("web.service.consul.", dns.TypeSRV)
	reply.Response = true
	srv, _ := dns.NewRR("web.service.consul. 5 IN SRV 1 1 80 a.addr.consul.")
	a, _ := dns.NewRR("a.addr.consul. 5 IN A 10.0.0.1")
	soa, _ := dns.NewRR("consul. 30 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 7")
	reply.Answer, reply.Extra, reply.Ns = []dns.RR{srv}, []dns.RR{a}, []dns.RR{soa}
	seed, err := reply.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg := new(dns.Msg)
		if len(raw) > dns.MaxMsgSize || msg.Unpack(raw) != nil {
			return
		}
		found, err := decode(msg, "web.service.consul.")
		if err != nil {
			return
		}
		got := found.answer()
		if got.Missing != (len(found.targets) == 0) || got.TTL < 0 || got.TTL > 1<<31*time.Second || len(found.unresolved()) > len(found.targets) {
			t.Errorf("%+v", got)
		}
		for _, e := range got.Endpoints {
			if net.ParseIP(e.Address) == nil || e.Port < 0 || e.Port > 65535 || e.Weight < 0 || e.Weight > 65535 {
				t.Errorf("endpoint %+v", e)
			}
		}
	})
}

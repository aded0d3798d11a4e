package answer_test

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"svckit/lib/answer"
)

// What the short parser takes, the library reads in the same way; and replies
// made to it can be read.
func FuzzParseQuery(f *testing.F) {
	for _, name := range []string{"web.service.consul.", "WEB.Service.Consul.", ".", "_web._tcp.service.consul."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeSRV)
		for range 2 {
			packet, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
			m.SetEdns0(1232, true)
		}
	}
	state := answer.State{Instances: []answer.Instance{instance(1, 2), instance(2, 3)}}
	p := policy()
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		q, ok := answer.ParseQuery(packet, make([]byte, 4096))
		if !bytes.Equal(before, packet) {
			t.Fatal("the packet was changed")
		}
		if !ok {
			return
		}
		var m dns.Msg
		if err := m.Unpack(packet); err != nil {
			return // options are not looked into here
		}
		if len(m.Question) != 1 || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != dns.ClassINET || m.Response || m.Opcode != 0 || m.Id != q.ID || m.RecursionDesired != q.Recursion {
			t.Fatalf("read as %+v, by the library as %v", q, m)
		}
		if opt := m.IsEdns0(); (opt != nil) != q.EDNS || opt != nil && opt.Do() != q.DO {
			t.Fatalf("EDNS read as %+v, by the library as %v", q, m)
		}
		text, ok := q.Text()
		if !ok {
			return
		}
		if want := dns.CanonicalName(m.Question[0].Name); dns.Fqdn(text) != want {
			t.Fatalf("name %q, by the library %q", text, want)
		}
		packed, ok := answer.Resolve(answer.ParseName(text, q.Type, p), q.Type, state, p)
		if !ok {
			return
		}
		out := packed.Append(nil, q, q.Size, false, seeded(1), &answer.Scratch{})
		var r dns.Msg
		if err := r.Unpack(out); err != nil || len(out) > q.Size || r.Id != q.ID {
			t.Fatalf("reply of %d bytes: %v\n%x", len(out), err, out)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, name := range []string{"web.service.consul", "a.b.web.service.dc1.consul", "_web._tcp.consul", "7f000001.addr.consul", "x.node.dc2.dc.consul", "consul", "", "..", "a..service.consul"} {
		f.Add(name, dns.TypeSRV)
	}
	p := policy()
	f.Fuzz(func(t *testing.T, name string, kind uint16) {
		n := answer.ParseName(name, kind, p)
		if s := n.Subject; n.Kind == answer.Service || n.Kind == answer.NodeName {
			if s.Name == "" || s.Datacenter == "" || bytes.ContainsAny([]byte(s.Name+s.Datacenter), "/?#% ") {
				t.Fatalf("%q became %+v", name, s)
			}
		}
	})
}

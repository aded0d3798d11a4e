package dnsd

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"svckit/lib/answer"
)

// reply answers one packet, whatever is in it; nil means that it gets no answer.
func (s *Server) reply(ctx context.Context, packet []byte, client netip.Addr, tcp bool) []byte {
	var lower [maxPacket]byte
	q, ok := answer.ParseQuery(packet, lower[:])
	if !ok {
		plain, refusal := s.plain(packet)
		if refusal != nil || plain == nil {
			return refusal
		}
		if q, ok = answer.ParseQuery(plain, lower[:]); !ok {
			return refuse(packet, dns.RcodeFormatError)
		}
		packet = plain
	}
	if tcp {
		q.Size = 65535
	}
	if found := s.Table.Find(q.Key(), time.Now().UnixNano()); found != nil {
		s.Counts.Fast.Add(1)
		return s.write(found, q)
	}
	s.Counts.Slow.Add(1)
	if !s.Clients.Take(client, time.Now()) {
		s.Counts.Limited.Add(1)
		return s.write(answer.Failure(answer.Refused), q)
	}
	return s.decide(ctx, q, packet, tcp)
}

func (s *Server) write(k *answer.Packed, q answer.Query) []byte {
	if k.Rcode == answer.ServerFailure {
		s.Counts.Failed.Add(1)
	}
	return k.Append(nil, q, q.Size, s.One, rand.Uint64, &answer.Scratch{})
}

// decide finds out who knows the name and asks there.
func (s *Server) decide(ctx context.Context, q answer.Query, packet []byte, tcp bool) []byte {
	text, ok := q.Text()
	if !ok { // as in DNS-SD, with blanks
		if text = escaped(packet); strings.HasSuffix(text, "."+s.Policy.Domain+".") {
			return s.write(answer.Failure(answer.NameError), q)
		}
		return s.forward(ctx, q, packet, tcp, text, s.System)
	}
	name := answer.ParseName(text, q.Type, s.Policy)
	switch name.Kind {
	case answer.Outside:
		return s.forward(ctx, q, packet, tcp, text, s.System)
	case answer.Agent:
		if strings.HasSuffix(text, ".arpa") {
			return s.forward(ctx, q, packet, tcp, text, s.Agent, s.System)
		}
		return s.forward(ctx, q, packet, tcp, text, s.Agent)
	}
	if reply, ok := s.Answerer.Answer(ctx, name, q.Type, q.Key()); ok {
		return s.write(reply, q)
	}
	return s.forward(ctx, q, packet, tcp, text, s.Agent)
}

// escaped is the question's name in lower case with what the library escapes.
func escaped(packet []byte) string {
	var m dns.Msg
	if m.Unpack(packet) != nil || len(m.Question) != 1 {
		return "."
	}
	return dns.CanonicalName(m.Question[0].Name)
}

// forward asks one after the other until one knows the name.
func (s *Server) forward(ctx context.Context, q answer.Query, packet []byte, tcp bool, name string, to ...*Forwarder) []byte {
	if q.Type == answer.TypeAXFR || q.Type == answer.TypeIXFR || !q.Recursion && to[0] == s.System {
		return s.write(answer.Failure(answer.Refused), q)
	}
	var last *dns.Msg
	for _, f := range to {
		if f == nil {
			continue
		}
		if m := f.Ask(ctx, name, q); m != nil {
			last = m
			if m.Rcode == dns.RcodeSuccess {
				break
			}
		}
	}
	if last == nil {
		return s.write(answer.Failure(answer.ServerFailure), q)
	}
	return dress(last, q, packet, tcp)
}

// dress makes what another server said into the reply to a packet.
func dress(m *dns.Msg, q answer.Query, packet []byte, tcp bool) []byte {
	var asked dns.Msg
	if asked.Unpack(packet) != nil || len(asked.Question) != 1 {
		return refuse(packet, dns.RcodeFormatError)
	}
	m.Id, m.Question = q.ID, asked.Question
	m.RecursionDesired, m.RecursionAvailable, m.Response, m.Compress = q.Recursion, true, true, true
	m.Extra = withoutOPT(m.Extra)
	if q.EDNS {
		m.SetEdns0(answer.MaxUDP, q.DO)
	}
	size := q.Size
	if tcp {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	out, err := m.Pack()
	if err != nil {
		return refuse(packet, dns.RcodeServerFailure)
	}
	return out
}

func withoutOPT(list []dns.RR) []dns.RR {
	out := make([]dns.RR, 0, len(list))
	for _, rr := range list {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, rr)
		}
	}
	return out
}

// plain turns an unusual form of a question into the usual one, or into a
// refusal. Neither means that nothing is said: to no question and to a reply.
func (s *Server) plain(packet []byte) (usual, refusal []byte) {
	var m dns.Msg
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		s.Counts.Bad.Add(1)
		return nil, nil
	}
	if err := m.Unpack(packet); err != nil {
		s.Counts.Bad.Add(1)
		return nil, refuse(packet, dns.RcodeFormatError)
	}
	opt := m.IsEdns0()
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return nil, refuse(packet, dns.RcodeNotImplemented)
	case len(m.Question) != 1 || m.Truncated || len(m.Answer) > 0 || len(m.Ns) > 0:
		return nil, refuse(packet, dns.RcodeFormatError)
	case m.Question[0].Qclass != dns.ClassINET:
		return nil, refuse(packet, dns.RcodeRefused)
	case opt != nil && opt.Version() != 0:
		return nil, badVersion(&m)
	}
	again := dns.Msg{Question: m.Question}
	again.Id, again.RecursionDesired = m.Id, m.RecursionDesired
	if opt != nil {
		again.SetEdns0(opt.UDPSize(), opt.Do())
	}
	usual, err := again.Pack()
	if err != nil {
		return nil, refuse(packet, dns.RcodeFormatError)
	}
	return usual, nil
}

// badVersion says which version of EDNS is spoken (RFC 6891 §6.1.3).
func badVersion(m *dns.Msg) []byte {
	r := new(dns.Msg).SetRcode(m, dns.RcodeSuccess)
	r.SetEdns0(answer.MaxUDP, false)
	r.Rcode = dns.RcodeBadVers
	out, err := r.Pack()
	if err != nil {
		return nil
	}
	return out
}

// refuse answers a packet that may not even be readable: its header alone goes back.
func refuse(packet []byte, rcode int) []byte {
	var m dns.Msg
	if m.Unpack(packet) == nil && len(m.Question) == 1 {
		r := new(dns.Msg).SetRcode(&m, rcode)
		r.RecursionAvailable = true
		if out, err := r.Pack(); err == nil {
			return out
		}
	}
	out := make([]byte, 12)
	copy(out, packet[:3])
	out[2] = out[2]&0x79 | 0x80 // a response; opcode and RD stay
	out[3] = byte(rcode)
	return out
}

package answer

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"svckit/lib/fleet"
)

// record is one answer. Its owner is the question's name.
type record struct {
	body   []byte // type to data
	weight uint32
	host   int // index of the SRV target in Packed.hosts; -1: none
}

// host is an SRV target with its address, for the additional section.
type host struct{ body []byte } // of the address record; nil when the target is a host name of its own

// Packed is a reply without what differs from client to client. It is never
// changed, so it may be used by many at once.
type Packed struct {
	Rcode     int
	records   []record
	weights   []uint32
	total     uint64 // of weights
	even      bool   // all weights are the same
	hosts     []host
	limit     int    // most records of one reply; 0: all
	authority []byte // one whole record, or nil
	extra     []byte // one whole record, or nil: of an address name that is asked for another type
}

// Records is the number of records that can be answered.
func (k *Packed) Records() int { return len(k.records) }

// Resolve makes the reply to a question about a subject in a state. For Nothing
// and Address the state does not matter. ok is false when this package cannot
// answer: names outside, what only the agent knows, and instances that are
// registered by host name.
func Resolve(name Name, kind uint16, state State, p Policy) (packed *Packed, ok bool) {
	if kind == TypeAXFR {
		return &Packed{Rcode: NotImplemented}, name.Kind != Outside && name.Kind != Agent
	}
	switch name.Kind {
	case Nothing:
		return missing(p), true
	case Address:
		return addressReply(name.Address, kind, p), true
	case NodeName:
		return nodeReply(state.Node, kind, p)
	case Service:
		return serviceReply(name, kind, state, p)
	}
	return nil, false
}

// Failure is a reply of a response code and nothing else.
func Failure(rcode int) *Packed { return &Packed{Rcode: rcode} }

func missing(p Policy) *Packed { return &Packed{Rcode: NameError, authority: soa(p)} }

// finish gives an answer without records the SOA that makes it NODATA.
func (k *Packed) finish(p Policy) *Packed {
	if len(k.records) == 0 {
		k.authority = soa(p)
		return k
	}
	k.even = true
	for _, r := range k.records {
		k.weights, k.total = append(k.weights, r.weight), k.total+uint64(r.weight)
		k.even = k.even && r.weight == k.records[0].weight
	}
	return k
}

func (k *Packed) add(kind uint16, ttl uint32, data []byte, weight uint32) {
	k.records = append(k.records, record{body(nil, kind, ttl, data), weight, -1})
}

func wants(kind uint16, a netip.Addr) bool {
	switch kind {
	case TypeA:
		return a.Is4()
	case TypeAAAA:
		return a.Is6()
	}
	return kind == TypeANY
}

func addressReply(a netip.Addr, kind uint16, p Policy) *Packed {
	k := &Packed{}
	if wants(kind, a) {
		k.add(addressKind(a), p.TTL, a.AsSlice(), 1)
	} else {
		k.extra = append(binary.BigEndian.AppendUint16(nil, toQuestion), addressBody(a, p.TTL)...)
	}
	return k.finish(p)
}

func addressKind(a netip.Addr) uint16 {
	if a.Is4() {
		return TypeA
	}
	return TypeAAAA
}

func nodeReply(n *Node, kind uint16, p Policy) (*Packed, bool) {
	if n == nil {
		return missing(p), true
	}
	a, err := netip.ParseAddr(n.Address)
	if err != nil {
		return nil, false
	}
	k := &Packed{}
	if a = a.Unmap().WithZone(""); wants(kind, a) {
		k.add(addressKind(a), p.TTL, a.AsSlice(), 1)
	}
	if kind == TypeTXT || kind == TypeANY {
		for _, key := range slices.Sorted(maps.Keys(n.Meta)) {
			if text := metaText(key, n.Meta[key]); len(text) <= 255 {
				k.add(TypeTXT, p.TTL, append([]byte{byte(len(text))}, text...), 1)
			}
		}
	}
	return k.finish(p), true
}

// metaText writes a pair of node meta as RFC 1464 wants it; a key that begins with rfc1035- means its value alone, as in Consul.
func metaText(key, value string) string {
	if strings.HasPrefix(strings.ToLower(key), "rfc1035-") {
		return value
	}
	quoted := strings.ReplaceAll(strings.ReplaceAll(key, "`", "``"), "=", "`=")
	inner := strings.TrimLeft(quoted, " ")
	lead := len(quoted) - len(inner)
	body := strings.TrimRight(inner, " ")
	trail := len(inner) - len(body)
	return strings.Repeat("` ", lead) + body + strings.Repeat("` ", trail) + "=" + strings.ReplaceAll(value, "`", "``")
}

func serviceReply(name Name, kind uint16, state State, p Policy) (*Packed, bool) {
	chosen := Choose(name.Tag, state, p)
	var in []Instance
	for _, c := range chosen {
		if c.In {
			in = append(in, c.Instance)
		}
	}
	switch {
	case len(in) == 0:
		return missing(p), true
	case slices.ContainsFunc(in, func(i Instance) bool { return !i.IP().IsValid() }):
		return nil, false
	case kind == TypeSRV:
		return srvReply(in, p), true
	}
	return plainReply(in, kind, p), true
}

// plainReply merges the instances of one address: its weight is their sum.
func plainReply(in []Instance, kind uint16, p Policy) *Packed {
	weights := map[netip.Addr]uint64{}
	for _, i := range in {
		if a := i.IP(); wants(kind, a) {
			weights[a] += uint64(i.Weight())
		}
	}
	k := &Packed{limit: p.Limit}
	for _, a := range slices.SortedFunc(maps.Keys(weights), netip.Addr.Compare) {
		k.add(addressKind(a), p.TTL, a.AsSlice(), uint32(min(weights[a], 1<<31)))
	}
	return k.finish(p)
}

func srvReply(in []Instance, p Policy) *Packed {
	type place struct {
		node, address string
		port          int
	}
	k, seen, hosts := &Packed{}, map[place]bool{}, map[string]int{}
	for _, i := range in {
		at := place{i.Node, i.Reached(), i.Port}
		if seen[at] {
			continue
		}
		seen[at] = true
		target := addressTarget(i.IP(), i.Datacenter, p.Domain)
		if i.Address == "" {
			target = strings.ToLower(i.Node+".node."+i.Datacenter) + "." + p.Domain
		}
		data := []byte{0, 1} // priority
		data = binary.BigEndian.AppendUint16(data, uint16(min(i.Weight()*max(p.Scale, 1), 65535)))
		data = binary.BigEndian.AppendUint16(data, uint16(i.Port))
		data, ok := wireName(data, target)
		if !ok {
			continue // a node whose name is none in DNS
		}
		n, known := hosts[target]
		if !known {
			n = len(k.hosts)
			hosts[target] = n
			k.hosts = append(k.hosts, host{addressBody(i.IP(), p.TTL)})
		}
		k.records = append(k.records, record{body(nil, TypeSRV, p.TTL, data), uint32(min(i.Weight(), 65535)), n})
	}
	return k.finish(p)
}

// Choice is one instance and whether it is answered, with the reason.
type Choice struct {
	Instance Instance
	In       bool
	Reason   string
}

// Choose says of every instance of a service whether it is answered, for a tag
// ("" is any) and a zone, in the order of the state.
func Choose(tag string, state State, p Policy) []Choice {
	out := make([]Choice, 0, len(state.Instances))
	for _, i := range state.Instances {
		c := Choice{Instance: i}
		c.In, c.Reason = fit(i, tag, p)
		out = append(out, c)
	}
	if near, why := nearby(out, p.Zone); near {
		for n := range out {
			if c := &out[n]; c.In && c.Instance.Zone != p.Zone {
				c.In, c.Reason = false, why
			}
		}
	}
	return out
}

func fit(i Instance, tag string, p Policy) (in bool, reason string) {
	switch {
	case tag != "" && !i.hasTag(tag):
		return false, "has no tag " + tag
	case i.Held:
		return true, "held: " + cmp.Or(i.Why, "its checks have not run since its agent started")
	case i.Health == fleet.Warning && p.OnlyPassing:
		return false, "warning, and only passing ones are answered: " + i.Why
	case i.Health == fleet.Passing:
		return true, "passing"
	case i.Health == fleet.Warning:
		return true, "warning: " + i.Why
	}
	return false, cmp.Or(string(i.Health), "unknown health") + ": " + cmp.Or(i.Why, "no output")
}

// enough is the part of an even share that a zone must be able to carry to be
// left alone with its own clients. With clients spread evenly over zones, a
// zone of less weight would be overloaded while others idle.
const enough = 0.8

// nearby reports whether the zone alone answers: it holds at least `enough` of
// the weight that each zone would hold if all held the same.
func nearby(choices []Choice, zone string) (near bool, why string) {
	if zone == "" {
		return false, ""
	}
	zones, own, total := map[string]bool{}, 0, 0
	for _, c := range choices {
		zones[c.Instance.Zone] = true // a zone that has lost all of its instances still has its clients
		if c.In {
			total += c.Instance.Weight()
			if c.Instance.Zone == zone {
				own += c.Instance.Weight()
			}
		}
	}
	if own == 0 || len(zones) < 2 {
		return false, ""
	}
	if float64(own*len(zones)) < enough*float64(total) {
		return false, ""
	}
	return true, "in another zone, and zone " + zone + " holds enough healthy weight"
}

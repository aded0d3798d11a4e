package answer

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
)

// maxName is the longest name on the wire, with lengths and root (RFC 1035 §2.3.4).
const maxName = 255

// toQuestion is a compressed name: the question's, right after the header.
const toQuestion = 0xc000 | headerSize

const headerSize = 12

// wireName appends a name in plain form; ok is false when it is none.
func wireName(out []byte, name string) ([]byte, bool) {
	start := len(out)
	name = strings.TrimSuffix(name, ".")
	for name != "" {
		label, rest, _ := strings.Cut(name, ".")
		if label == "" || len(label) > 63 {
			return out[:start], false
		}
		out = append(append(out, byte(len(label))), label...)
		name = rest
	}
	out = append(out, 0)
	if len(out)-start > maxName {
		return out[:start], false
	}
	return out, true
}

// body appends what follows the owner of a record: type, class, TTL, length, data.
func body(out []byte, kind uint16, ttl uint32, data []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, kind)
	out = binary.BigEndian.AppendUint16(out, ClassIN)
	out = binary.BigEndian.AppendUint32(out, ttl)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	return append(out, data...)
}

// bodyHead is the length of body without data.
const bodyHead = 10

func addressBody(a netip.Addr, ttl uint32) []byte {
	if a.Is4() {
		return body(nil, TypeA, ttl, a.AsSlice())
	}
	return body(nil, TypeAAAA, ttl, a.AsSlice())
}

// soa is the whole record that goes with "no": its minimum and TTL say for how long (RFC 2308 §3).
func soa(p Policy) []byte {
	out, ok := wireName(nil, p.Domain)
	if !ok {
		return nil
	}
	data, ok1 := wireName(nil, "ns."+p.Domain)
	data, ok2 := wireName(data, "hostmaster."+p.Domain)
	if !ok1 || !ok2 {
		return nil
	}
	const refresh, retry, expire = 3600, 600, 86400 // as Consul's default
	for _, n := range []uint32{p.Serial, refresh, retry, expire, p.Negative} {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return body(out, TypeSOA, p.Negative, data)
}

// addressTarget is the name that Consul gives an address: 7f000001.addr.dc1.consul.
func addressTarget(a netip.Addr, dc, domain string) string {
	return hex.EncodeToString(a.AsSlice()) + ".addr." + strings.ToLower(dc) + "." + domain
}

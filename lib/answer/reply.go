package answer

import "encoding/binary"

// Scratch is working memory of one goroutine.
type Scratch struct {
	order []int32
	at    []uint16 // per host: where its name is in the message; 0: not there
}

// Bits of the second half of the header (RFC 1035 §4.1.1).
const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
)

// Append writes the reply to q to out, which must be empty (offsets count from
// its start), in at most size bytes: 512, what the client says by EDNS, or 65535
// over TCP. Answers that do not fit set TC; addresses that do not fit in the
// additional section do not. one answers one record only, picked by weight.
func (k *Packed) Append(out []byte, q Query, size int, one bool, random func() uint64, s *Scratch) []byte {
	limit := k.limit
	if one {
		limit = 1
	}
	flags := uint16(bitQR|bitAA|bitRA) | uint16(k.Rcode)
	if q.Recursion {
		flags |= bitRD
	}
	out = append(out[:0], 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(out, q.ID)
	out = append(out, q.Question...)
	end := size - len(k.authority)
	if q.EDNS {
		end -= optSize
	}
	s.order = k.order(limit, random, s.order)
	s.at = append(s.at[:0], make([]uint16, len(k.hosts))...)
	answers := 0
	for _, i := range s.order {
		r := &k.records[i]
		if len(out)+2+len(r.body) > end {
			flags |= bitTC
			break
		}
		out = append(out, toQuestion>>8, toQuestion&0xff)
		if r.host >= 0 && s.at[r.host] == 0 && len(out)+bodyHead+6 < 1<<14 {
			s.at[r.host] = uint16(len(out) + bodyHead + 6) // after priority, weight and port
		}
		out = append(out, r.body...)
		answers++
	}
	authorities := 0
	if k.authority != nil {
		out, authorities = append(out, k.authority...), 1
	}
	out, extras := k.additional(out, end+len(k.authority), s)
	if q.EDNS {
		out, extras = appendOPT(out, q.DO), extras+1
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	binary.BigEndian.PutUint16(out[6:], uint16(answers))
	binary.BigEndian.PutUint16(out[8:], uint16(authorities))
	binary.BigEndian.PutUint16(out[10:], uint16(extras))
	return out
}

func (k *Packed) additional(out []byte, end int, s *Scratch) ([]byte, int) {
	if k.extra != nil && len(out)+len(k.extra) <= end {
		return append(out, k.extra...), 1
	}
	n := 0
	for i, at := range s.at {
		if b := k.hosts[i].body; at != 0 && len(out)+2+len(b) <= end {
			out = append(out, byte(at>>8)|0xc0, byte(at))
			out = append(out, b...)
			n++
		}
	}
	return out, n
}

// MaxUDP is the size that replies announce by EDNS, and the largest that is sent over UDP.
const MaxUDP = 4096

const optSize = 11

func appendOPT(out []byte, do bool) []byte {
	flags := byte(0)
	if do {
		flags = 0x80
	}
	return append(out, 0, 0, TypeOPT, MaxUDP>>8, MaxUDP&0xff, 0, 0, flags, 0, 0, 0)
}

package answer

import "encoding/binary"

// Query is a question as it came in a packet. Its slices lie in the packet and in the buffer given to ParseQuery.
type Query struct {
	ID        uint16
	Question  []byte // name, type and class as asked
	Name      []byte // the name on the wire in lower case: with Type the key of a reply
	Type      uint16
	Recursion bool // RD
	EDNS      bool
	DO        bool
	Size      int // largest reply over UDP
}

// ParseQuery reads the plain form of a question that nearly all clients send:
// one question of class IN, no records but an OPT of version 0. ok is false for
// everything else, which is not to say that it is wrong. lower is a buffer of at least 255 bytes.
func ParseQuery(packet, lower []byte) (q Query, ok bool) {
	const counts = 1 << 48 // one question, no answer, no authority; the additional section is looked at below
	if len(packet) < headerSize+5 || len(packet) > MaxUDP || binary.BigEndian.Uint64(packet[4:])&^0xffff != counts {
		return q, false
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	if flags&^(bitRD|1<<5|1<<4) != 0 { // a response, another opcode, TC …; AD and CD are nothing to us
		return q, false
	}
	end := lowerName(packet, lower)
	if end == 0 || len(packet) < end+4 || binary.BigEndian.Uint16(packet[end+2:]) != ClassIN {
		return q, false
	}
	q = Query{
		ID: binary.BigEndian.Uint16(packet), Question: packet[headerSize : end+4], Name: lower[:end-headerSize],
		Type: binary.BigEndian.Uint16(packet[end:]), Recursion: flags&bitRD != 0, Size: 512,
	}
	rest := packet[end+4:]
	switch binary.BigEndian.Uint16(packet[10:]) {
	case 0:
		return q, len(rest) == 0
	case 1:
		return q, q.readOPT(rest)
	}
	return q, false
}

// readOPT takes the size and the DO bit out of an OPT record (RFC 6891 §6.1.2); options are skipped.
func (q *Query) readOPT(rest []byte) bool {
	if len(rest) < optSize || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != TypeOPT || rest[5] != 0 || rest[6] != 0 {
		return false
	}
	if int(binary.BigEndian.Uint16(rest[9:])) != len(rest)-optSize {
		return false
	}
	q.EDNS, q.DO = true, rest[7]&0x80 != 0
	q.Size = min(max(int(binary.BigEndian.Uint16(rest[3:])), 512), MaxUDP)
	return true
}

// lowerName writes the question's name to lower in lower case and returns where it ends, 0 if it is no plain name.
func lowerName(packet, lower []byte) int {
	at := headerSize
	for at < len(packet) {
		n := int(packet[at])
		out := at - headerSize
		if n > 63 || out+n+1 > len(lower) || out+n+1 > maxName || at+n+1 > len(packet) {
			return 0
		}
		lower[out] = byte(n)
		at++
		if n == 0 {
			return at
		}
		for i, c := range packet[at : at+n] {
			if c-'A' < 26 {
				c += 'a' - 'A'
			}
			lower[out+1+i] = c
		}
		at += n
	}
	return 0
}

// Text is the question's name as people write it, in lower case; ok is false if
// a label holds what would have to be escaped (RFC 1035 §5.1): no name of Consul does.
func (q Query) Text() (name string, ok bool) {
	out := make([]byte, 0, len(q.Name))
	for at := 0; at < len(q.Name) && q.Name[at] != 0; {
		n := int(q.Name[at])
		for _, c := range q.Name[at+1 : at+1+n] {
			switch c {
			case '.', ' ', '\'', '@', ';', '(', ')', '"', '\\':
				return "", false
			}
			if c < ' ' || c >= 0x7f {
				return "", false
			}
		}
		if len(out) > 0 {
			out = append(out, '.')
		}
		out = append(out, q.Name[at+1:at+1+n]...)
		at += n + 1
	}
	return string(out), true
}

// Key is the question's key in a table of replies: Name and Type. It lies in the buffer given to ParseQuery.
func (q Query) Key() []byte { return append(q.Name, byte(q.Type>>8), byte(q.Type)) }

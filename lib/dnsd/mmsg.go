package dnsd

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packets are UDP packets in the form that recvmmsg(2) and sendmmsg(2) take: a
// header, an address and a place in memory each. It is made once for a socket
// and used again for each batch, so that a question costs no allocation, which
// golang.org/x/net/ipv4 would need for every address.
type packets struct {
	headers []message
	vectors []unix.Iovec
	names   []unix.RawSockaddrInet6 // of either family: the first two bytes say which
	raw     syscall.RawConn
	first   int // of the headers that are still to be sent
	count   int
	err     error
	call    func(fd uintptr) bool
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	n      uint32 // bytes received or sent
}

func newPackets(raw syscall.RawConn, count int) *packets {
	return &packets{headers: make([]message, count), vectors: make([]unix.Iovec, count), names: make([]unix.RawSockaddrInet6, count), raw: raw}
}

// newReceiver makes room for count packets of up to size bytes.
func newReceiver(raw syscall.RawConn, count, size int) *packets {
	p := newPackets(raw, count)
	memory := slab(count, size)
	for i := range p.headers {
		p.vectors[i].Base = &memory[i][0]
		p.vectors[i].SetLen(size)
		h := &p.headers[i].header
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&p.names[i])), unix.SizeofSockaddrInet6
		h.Iov = &p.vectors[i]
		h.SetIovlen(1)
	}
	p.call = func(fd uintptr) bool {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&p.headers[0])), uintptr(len(p.headers)), 0, 0, 0)
		p.count, p.err = 0, nil
		switch e {
		case 0:
			p.count = int(n)
		case unix.EAGAIN:
			return false // nothing there: the runtime waits for more
		default:
			p.err = e
		}
		return true
	}
	return p
}

// slab is count places of size bytes that do not begin at the same offset in a
// page: these would share one line of the processor's cache.
func slab(count, size int) [][]byte {
	const line = 64
	all, out := make([]byte, count*(size+line)), make([][]byte, count)
	for i := range out {
		out[i] = all[i*(size+line):][:size:size]
	}
	return out
}

// receive waits for packets and returns how many there are.
func (p *packets) receive() (int, error) {
	for i := range p.count { // the kernel has written over it
		p.headers[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	if err := p.raw.Read(p.call); err != nil {
		p.count = 0
		return 0, err
	}
	return p.count, p.err
}

// packet is what was received as number i. It is valid until the next receive.
func (p *packets) packet(i int) []byte {
	return unsafe.Slice(p.vectors[i].Base, p.headers[i].n)
}

// client is where packet i came from; not valid if it says nothing of use.
func (p *packets) client(i int) netip.AddrPort {
	name := &p.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	switch name.Family {
	case unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port)
	case unix.AF_INET6:
		a := netip.AddrFrom16(name.Addr)
		if name.Scope_id != 0 {
			a = a.WithZone(strconv.Itoa(int(name.Scope_id)))
		}
		return netip.AddrPortFrom(a, port)
	}
	return netip.AddrPort{}
}

// sender sends replies, those of equal length to one client together.
type sender struct {
	*packets
	control  []segmentSize
	together bool // the kernel takes them so
}

// segmentSize is the control message by which one packet of the system call becomes many on the wire (udp(7), UDP_SEGMENT).
type segmentSize struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

const (
	maxSegments    = 64    // of one packet, by the kernel (UDP_MAX_SEGMENTS)
	maxSegmentSize = 1232  // fits every path that IPv6 runs on, with its headers
	maxTogether    = 60000 // bytes
)

func newSender(raw syscall.RawConn, count int) *sender {
	s := &sender{packets: newPackets(raw, count), control: make([]segmentSize, count), together: true}
	for i := range s.control {
		c := &s.control[i].header
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
	}
	s.call = func(fd uintptr) bool {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.headers[s.first])), uintptr(s.count-s.first), 0, 0, 0)
		s.err = nil
		switch e {
		case 0:
			s.first += int(n)
		case unix.EAGAIN:
			return false
		default:
			s.err = e
		}
		return true
	}
	return s
}

// reply is a reply and the client that it is for.
type reply struct {
	text   []byte
	client *unix.RawSockaddrInet6
	length uint32 // of client
	taken  bool
}

// send sends replies; one that cannot be sent is the client's loss alone. At most as many as newSender was told.
func (s *sender) send(replies []reply) {
	s.pack(replies)
	for s.first < s.count {
		if s.raw.Write(s.call) != nil {
			return // closed
		}
		if s.err == nil {
			continue
		}
		if h := &s.headers[s.first].header; h.Controllen > 0 {
			s.together = false // an old kernel, or a device that cannot
			s.single(h)
		}
		s.first++
	}
}

// pack makes headers of replies.
func (s *sender) pack(replies []reply) {
	s.first, s.count = 0, 0
	vector := 0
	for i := range replies {
		r := &replies[i]
		if r.taken {
			continue
		}
		h := &s.headers[s.count].header
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(r.client)), r.length
		h.Iov, h.Control = &s.vectors[vector], nil
		h.SetControllen(0)
		start := vector
		vector = s.add(vector, r.text)
		if size := len(r.text); s.together && size <= maxSegmentSize {
			most := min(maxSegments, maxTogether/size)
			for j := i + 1; j < len(replies) && vector-start < most; j++ {
				o := &replies[j]
				if len(o.text) == size && !o.taken && o.client.Port == r.client.Port && *o.client == *r.client {
					o.taken = true
					vector = s.add(vector, o.text)
				}
			}
			if vector-start > 1 {
				c := &s.control[s.count]
				c.size = uint16(size)
				h.Control = (*byte)(unsafe.Pointer(c))
				h.SetControllen(unix.CmsgSpace(2))
			}
		}
		h.SetIovlen(vector - start)
		s.count++
	}
}

func (s *sender) add(at int, text []byte) int {
	s.vectors[at].Base = &text[0]
	s.vectors[at].SetLen(len(text))
	return at + 1
}

// single sends the parts of a packet one by one.
func (s *sender) single(h *unix.Msghdr) {
	one := *h
	one.Control = nil
	one.SetControllen(0)
	one.SetIovlen(1)
	for i := range int(h.Iovlen) {
		one.Iov = &unsafe.Slice(h.Iov, h.Iovlen)[i]
		_ = s.raw.Write(func(fd uintptr) bool {
			_, _, e := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&one)), 0)
			return e != unix.EAGAIN
		})
	}
}

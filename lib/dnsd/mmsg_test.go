package dnsd

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pairOfBatches is a UDP socket at an address with both kinds of batches, and clients that have sent it a packet each.
func pairOfBatches(t *testing.T, address string, clients int) (*packets, *sender, []*net.UDPConn) {
	t.Helper()
	sockets, err := Listen([]string{address}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sockets.Close)
	raw, err := sockets.UDP[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var all []*net.UDPConn
	for n := range clients {
		c, err := net.DialUDP("udp", nil, sockets.UDP[0].LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := fmt.Fprintf(c, "question %d", n); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	_ = sockets.UDP[0].SetDeadline(time.Now().Add(5 * time.Second))
	return newReceiver(raw, batch, maxPacket), newSender(raw, batch), all
}

// loopback is an address of each family that this machine has.
func loopback(t *testing.T) []string {
	t.Helper()
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		return []string{"127.0.0.1:0", "[::1]:0"}
	}
	t.Log("this machine has no IPv6")
	return []string{"127.0.0.1:0"}
}

func next(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	b := make([]byte, 2*maxPacket)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestPacketsComeWithTheirClients(t *testing.T) {
	for _, address := range loopback(t) {
		t.Run(address, func(t *testing.T) {
			in, _, clients := pairOfBatches(t, address, 3)
			var got, want []string
			for n, c := range clients {
				want = append(want, fmt.Sprintf("question %d from %s", n, c.LocalAddr()))
			}
			for len(got) < len(want) {
				n, err := in.receive()
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					got = append(got, fmt.Sprintf("%s from %s", in.packet(i), in.client(i)))
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestAClientOfALinkIsKnownWithItsLink(t *testing.T) {
	p := newPackets(nil, 2)
	p.names[0] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: netip.MustParseAddr("fe80::7").As16(), Scope_id: 3}
	if got := p.client(0).Addr().String(); got != "fe80::7%3" {
		t.Errorf("client %s", got)
	}
	if got := p.client(1); got.IsValid() { // of no family
		t.Errorf("client %s", got)
	}
}

// replies are three for one client, of them two equally long, and one for each other client.
func someReplies(t *testing.T, in *packets, clients int) []reply {
	t.Helper()
	var out []reply
	for seen := 0; seen < clients; {
		n, err := in.receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			name := in.names[i] // the next receive writes over it
			text := in.packet(i)
			out = append(out, reply{text: append([]byte("to "), text...), client: &name, length: in.headers[i].header.Namelen})
			if bytes.HasSuffix(text, []byte(" 0")) {
				for _, more := range []string{"to question Z", "longer than the others"} {
					out = append(out, reply{text: []byte(more), client: &name, length: in.headers[i].header.Namelen})
				}
			}
			seen++
		}
	}
	return out
}

func TestRepliesReachTheirClients(t *testing.T) {
	type row struct {
		name, address string
		unable        bool // the socket cannot send several as one
	}
	rows := []row{{"on a socket that sends one by one", "127.0.0.1:0", true}}
	for _, address := range loopback(t) {
		rows = append(rows, row{address, address, false})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			in, out, clients := pairOfBatches(t, row.address, 3)
			replies := someReplies(t, in, len(clients))
			if row.unable { // the kernel refuses segments without checksums
				if err := out.raw.Control(func(fd uintptr) {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
						t.Error(err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			out.send(replies)
			if out.together == row.unable {
				t.Errorf("sent together: %v, want %v", out.together, !row.unable)
			}
			got := []string{next(t, clients[0]), next(t, clients[0]), next(t, clients[0])}
			slices.Sort(got)
			if want := []string{"longer than the others", "to question 0", "to question Z"}; !slices.Equal(got, want) {
				t.Errorf("the first client got %q, want %q", got, want)
			}
			for n, c := range clients[1:] {
				if got, want := next(t, c), fmt.Sprintf("to question %d", n+1); got != want {
					t.Errorf("client %d got %q, want %q", n+1, got, want)
				}
			}
		})
	}
}

func TestRepliesArePackedByClientAndLength(t *testing.T) {
	one, two := &unix.RawSockaddrInet6{Family: unix.AF_INET, Port: 1}, &unix.RawSockaddrInet6{Family: unix.AF_INET, Port: 2}
	other := &unix.RawSockaddrInet6{Family: unix.AF_INET, Port: 1, Flowinfo: 7} // another address of IPv4
	text := func(n int) []byte { return make([]byte, n) }
	many := func(n, size int) (out []reply) {
		for range n {
			out = append(out, reply{text: text(size), client: one})
		}
		return out
	}
	for _, row := range []struct {
		name    string
		replies []reply
		want    []int // replies in each packet of the system call
	}{
		{"none", nil, nil},
		{"of one client", many(3, 100), []int{3}},
		{"of two clients in turn", []reply{{text: text(9), client: one}, {text: text(9), client: two}, {text: text(9), client: one}}, []int{2, 1}},
		{"of two addresses with one port", []reply{{text: text(9), client: one}, {text: text(9), client: other}}, []int{1, 1}},
		{"of two lengths", []reply{{text: text(9), client: one}, {text: text(8), client: one}, {text: text(9), client: one}}, []int{2, 1}},
		{"longer than a path may take", many(2, maxSegmentSize+1), []int{1, 1}},
		{"more than fit into a packet", many(60, 1200), []int{50, 10}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSender(nil, batch)
			s.pack(row.replies)
			var got []int
			for i := range s.count {
				h := &s.headers[i].header
				got = append(got, int(h.Iovlen))
				if together := h.Controllen > 0; together != (h.Iovlen > 1) {
					t.Errorf("packet %d of %d replies says that it is segmented: %v", i, h.Iovlen, together)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("packed as %v, want %v", got, row.want)
			}
		})
	}
}

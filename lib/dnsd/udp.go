package dnsd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"

	"svckit/lib/answer"
)

const (
	batch     = 64   // packets for each system call
	maxPacket = 4096 // bytes of a question; longer ones are no questions
)

// udpLoop is the working memory of one socket's loop.
type udpLoop struct {
	s       *Server
	socket  *net.UDPConn
	conn    *ipv4.PacketConn // its batches work on IPv6 sockets too
	in, out []ipv4.Message
	lower   [maxPacket]byte
	scratch answer.Scratch
	random  *rand.PCG
}

func newUDPLoop(s *Server, c *net.UDPConn) *udpLoop {
	l := &udpLoop{s: s, socket: c, conn: ipv4.NewPacketConn(c), random: rand.NewPCG(rand.Uint64(), rand.Uint64())}
	for range batch {
		l.in = append(l.in, ipv4.Message{Buffers: [][]byte{make([]byte, maxPacket)}})
		l.out = append(l.out, ipv4.Message{Buffers: [][]byte{make([]byte, 0, maxPacket)}})
	}
	return l
}

// serveUDP reads questions in batches and answers those that the table knows at
// once; the others are thought about beside it.
func (s *Server) serveUDP(work, ctx context.Context, c *net.UDPConn) error {
	l := newUDPLoop(s, c)
	for {
		n, err := l.conn.ReadBatch(l.in, 0)
		switch {
		case err == nil:
			l.handle(work, n) // also what came just before the end
			continue
		case ended(ctx, err):
			return nil
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EINTR):
			continue // an answer that could not be delivered
		}
		return err
	}
}

func (l *udpLoop) handle(work context.Context, n int) {
	s, now, m := l.s, time.Now().UnixNano(), 0
	fast, denied := 0, 0
	for i := range n {
		in := &l.in[i]
		client, _ := in.Addr.(*net.UDPAddr)
		if client == nil || !s.Clients.Allowed(client.AddrPort().Addr()) {
			denied++
			continue
		}
		packet := in.Buffers[0][:in.N]
		q, ok := answer.ParseQuery(packet, l.lower[:])
		if ok {
			if reply := s.Table.Find(q.Key(), now); reply != nil {
				out := &l.out[m]
				out.Buffers[0] = reply.Append(out.Buffers[0][:0], q, q.Size, s.One, l.random.Uint64, &l.scratch)
				out.Addr = in.Addr
				m++
				fast++
				continue
			}
		}
		s.think(work, append([]byte(nil), packet...), client, l.socket)
	}
	s.Counts.UDP.Add(int64(n))
	s.Counts.Fast.Add(int64(fast))
	s.Counts.Denied.Add(int64(denied))
	l.send(m)
}

// send writes m replies; one that cannot be sent is the client's loss alone.
func (l *udpLoop) send(m int) {
	for sent := 0; sent < m; {
		n, err := l.conn.WriteBatch(l.out[sent:m], 0)
		if err != nil {
			n = max(n, 0) + 1
		}
		sent += n
	}
}

// think answers a packet in a goroutine of its own, if one is free.
func (s *Server) think(ctx context.Context, packet []byte, client *net.UDPAddr, socket *net.UDPConn) {
	select {
	case s.slow <- struct{}{}:
	default:
		s.Counts.Dropped.Add(1)
		return
	}
	go func() {
		defer func() { <-s.slow }()
		if reply := s.reply(ctx, packet, client.AddrPort().Addr(), false); reply != nil {
			_, _ = socket.WriteToUDP(reply, client)
		}
	}()
}

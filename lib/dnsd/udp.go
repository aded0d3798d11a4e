package dnsd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"svckit/lib/answer"
)

const (
	batch     = 64   // packets for each system call
	maxPacket = 4096 // bytes of a question; longer ones are no questions

	// Questions that come faster than they are waited for, one by one, cost more
	// for waking than for answering. So a loop that got some at once lets more
	// gather for a moment, as network cards do, instead of waiting for the next.
	busy      = 6                     // packets
	moment    = 20 * time.Microsecond // and what the kernel adds to it: 50 µs by default (prctl(2), PR_SET_TIMERSLACK)
	maxPauses = 64                    // in a row: then the runtime looks after its other work
)

// udpLoop is the working memory of one socket's loop.
type udpLoop struct {
	s       *Server
	socket  *net.UDPConn
	in      *packets
	out     *sender
	buffers [][]byte
	replies []reply
	lower   [maxPacket]byte
	scratch answer.Scratch
	random  func() uint64
}

func newUDPLoop(s *Server, c *net.UDPConn) (*udpLoop, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &udpLoop{s: s, socket: c, in: newReceiver(raw, batch, maxPacket), out: newSender(raw, batch), buffers: slab(batch, maxPacket)}
	l.random = rand.NewPCG(rand.Uint64(), rand.Uint64()).Uint64
	return l, nil
}

// serveUDP reads questions in batches and answers those that the table knows at
// once; the others are thought about beside it.
func (s *Server) serveUDP(work, ctx context.Context, c *net.UDPConn) error {
	l, err := newUDPLoop(s, c)
	if err != nil {
		return err
	}
	for pauses := 0; ; {
		n, err := l.in.receive()
		switch {
		case err == nil:
			l.handle(work, n) // also what came just before the end
			if pauses++; n < busy || n == batch || pauses > maxPauses {
				pauses = 0
				continue
			}
			runtime.Gosched()
			gather()
			continue
		case ended(ctx, err):
			return nil
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EINTR):
			continue // an answer that could not be delivered
		}
		return err
	}
}

// gather sleeps without telling the runtime: what it does then, to let others
// have the processor meanwhile, costs more than the moment is worth.
func gather() {
	t := unix.NsecToTimespec(int64(moment))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

func (l *udpLoop) handle(work context.Context, n int) {
	s, now := l.s, time.Now().UnixNano()
	denied := 0
	l.replies = l.replies[:0]
	for i := range n {
		client := l.in.client(i)
		if !client.IsValid() || !s.Clients.Allowed(client.Addr()) {
			denied++
			continue
		}
		packet := l.in.packet(i)
		q, ok := answer.ParseQuery(packet, l.lower[:])
		if ok {
			if found := s.Table.Find(q.Key(), now); found != nil {
				b := &l.buffers[len(l.replies)]
				*b = found.Append((*b)[:0], q, q.Size, s.One, l.random, &l.scratch)
				l.replies = append(l.replies, reply{text: *b, client: &l.in.names[i], length: l.in.headers[i].header.Namelen})
				continue
			}
		}
		s.think(work, append([]byte(nil), packet...), client, l.socket)
	}
	s.Counts.UDP.Add(int64(n))
	s.Counts.Fast.Add(int64(len(l.replies)))
	s.Counts.Denied.Add(int64(denied))
	l.out.send(l.replies)
}

// think answers a packet in a goroutine of its own, if one is free.
func (s *Server) think(ctx context.Context, packet []byte, client netip.AddrPort, socket *net.UDPConn) {
	select {
	case s.slow <- struct{}{}:
	default:
		s.Counts.Dropped.Add(1)
		return
	}
	go func() {
		defer func() { <-s.slow }()
		if reply := s.reply(ctx, packet, client.Addr(), false); reply != nil {
			_, _ = socket.WriteToUDPAddrPort(reply, client)
		}
	}()
}

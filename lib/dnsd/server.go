package dnsd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/answer"
)

// Table holds replies that are ready: see follow.Table. now is in unix nanoseconds.
type Table interface {
	Find(key []byte, now int64) *answer.Packed
}

// Answerer makes the replies that the table lacks: see follow.Keeper.
type Answerer interface {
	Answer(ctx context.Context, name answer.Name, kind uint16, key []byte) (*answer.Packed, bool)
}

// Server answers questions on sockets that it is given. The fields are set before Serve.
type Server struct {
	Table    Table
	Answerer Answerer
	Policy   answer.Policy // domain and datacenter, to tell whose a name is
	Agent    *Forwarder    // asked for names of Consul that are not in the table; nil: nobody
	System   *Forwarder    // asked for all other names; nil: nobody
	Clients  *Clients      // who may ask
	One      bool          // one record for each answer, picked by weight
	Log      hclog.Logger

	Counts Counts
	slow   chan struct{} // one slot for each question that is being thought about
	tcp    tcpConns
}

// Counts are figures for metrics.
type Counts struct {
	UDP, TCP, Fast, Slow    atomic.Int64 // questions by way and by how they were answered
	Denied, Limited         atomic.Int64 // not from an allowed network; too many from one client
	Dropped, Bad            atomic.Int64 // no slot free; not a question
	Failed                  atomic.Int64 // answered SERVFAIL
	TCPConns, TCPTurnedAway atomic.Int64
}

// maxSlow is how many questions may be thought about at once.
const maxSlow = 1024

// Sockets are what a server listens on: for each address some UDP sockets that share it, and a TCP listener.
type Sockets struct {
	UDP []*net.UDPConn
	TCP []*net.TCPListener
}

// Close closes all of them.
func (s Sockets) Close() {
	for _, c := range s.UDP {
		c.Close()
	}
	for _, l := range s.TCP {
		l.Close()
	}
}

// Serve answers until ctx ends. Then it takes no more questions, ends those that
// it has, and returns; the sockets are left open for another process that shares them.
func (s *Server) Serve(ctx context.Context, sockets Sockets) error {
	s.slow = make(chan struct{}, maxSlow)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var loops sync.WaitGroup
	failed := make(chan error, len(sockets.UDP))
	for _, c := range sockets.UDP {
		loops.Go(func() { failed <- s.serveUDP(work, ctx, c) })
	}
	for _, l := range sockets.TCP {
		loops.Go(func() { s.serveTCP(work, ctx, l) })
	}
	stop := context.AfterFunc(ctx, func() { // wakes the loops
		for _, c := range sockets.UDP {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
		for _, l := range sockets.TCP {
			_ = l.SetDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		if ctx.Err() != nil {
			err = nil
		}
	}
	if err != nil {
		return err // the program ends: the loops go with it
	}
	loops.Wait()
	s.drain(cancel)
	return nil
}

// drain waits until the questions that are being thought about are answered, for a moment.
func (s *Server) drain(cancel context.CancelFunc) {
	limit := time.NewTimer(queryTimeout)
	defer limit.Stop()
	for range maxSlow {
		select {
		case s.slow <- struct{}{}:
		case <-limit.C:
			cancel()
			return
		}
	}
	s.tcp.closeIdle()
}

// ended reports whether an error of a socket is how a loop ends.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, net.ErrClosed)
}

// clientOf returns the client's address, without the zone.
func clientOf(a net.Addr) netip.AddrPort {
	switch v := a.(type) {
	case *net.UDPAddr:
		return v.AddrPort()
	case *net.TCPAddr:
		return v.AddrPort()
	}
	return netip.AddrPort{}
}

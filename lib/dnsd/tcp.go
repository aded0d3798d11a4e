package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxTCP       = 512              // connections at once
	maxTCPClient = 64               // of one client
	tcpIdle      = 10 * time.Second // RFC 7766 §6.2.3: the server's own choice
	tcpBusyIdle  = time.Second      // when more than half of the connections are taken
	tcpWrite     = 5 * time.Second
)

// tcpConns are the open connections. The zero value is ready.
type tcpConns struct {
	mu   sync.Mutex
	all  map[net.Conn]bool // true while a question is being answered
	from map[netip.Addr]int
}

// add reports false when there are too many.
func (t *tcpConns) add(c net.Conn, client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= maxTCP || t.from[client] >= maxTCPClient {
		return false
	}
	if t.all == nil {
		t.all, t.from = map[net.Conn]bool{}, map[netip.Addr]int{}
	}
	t.all[c] = false
	t.from[client]++
	return true
}

func (t *tcpConns) remove(c net.Conn, client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, c)
	if t.from[client]--; t.from[client] <= 0 {
		delete(t.from, client)
	}
}

func (t *tcpConns) busy(c net.Conn, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[c] = yes
}

func (t *tcpConns) idleTime() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) > maxTCP/2 {
		return tcpBusyIdle
	}
	return tcpIdle
}

// closeIdle ends the connections that wait for another question.
func (t *tcpConns) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, busy := range t.all {
		if !busy {
			c.Close()
		}
	}
}

func (s *Server) serveTCP(work, ctx context.Context, l *net.TCPListener) {
	for {
		c, err := l.Accept()
		var temporary net.Error
		switch {
		case ended(ctx, err), errors.As(err, &temporary) && temporary.Timeout():
			return
		case err != nil: // out of files, or the client has gone: the next one may do
			s.Log.Debug("accept", "error", err)
			if !pause(ctx, 10*time.Millisecond) {
				return
			}
			continue
		}
		client := clientOf(c.RemoteAddr()).Addr().Unmap()
		switch {
		case !s.Clients.Allowed(client):
			s.Counts.Denied.Add(1)
			c.Close()
		case !s.tcp.add(c, client):
			s.Counts.TCPTurnedAway.Add(1)
			c.Close()
		default:
			s.Counts.TCPConns.Add(1)
			go s.talk(work, ctx, c, client)
		}
	}
}

// talk answers the questions of one connection, one after the other.
func (s *Server) talk(work, ctx context.Context, c net.Conn, client netip.Addr) {
	defer s.Counts.TCPConns.Add(-1)
	defer s.tcp.remove(c, client)
	defer c.Close()
	var length [2]byte
	for ctx.Err() == nil {
		_ = c.SetReadDeadline(time.Now().Add(s.tcp.idleTime()))
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxPacket {
			s.Counts.Bad.Add(1)
			return
		}
		packet := make([]byte, n)
		if _, err := io.ReadFull(c, packet); err != nil {
			return
		}
		s.Counts.TCP.Add(1)
		s.tcp.busy(c, true)
		select {
		case s.slow <- struct{}{}:
		case <-work.Done():
			return
		}
		reply := s.reply(work, packet, client, true)
		<-s.slow
		if reply == nil || len(reply) > 65535 {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(tcpWrite))
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
		s.tcp.busy(c, false)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

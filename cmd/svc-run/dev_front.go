package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// frontPatience is how long a connection waits for an instance: one may just be starting again.
const frontPatience = 10 * time.Second

// front is an address of this machine that stays the same while instances come
// and go: what connects to it is passed on to the instance of now.
type front struct {
	listener net.Listener
	target   atomic.Pointer[string] // host:port; nil: none
	ending   context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
}

// frontTries is how many ports after the wanted one are tried.
const frontTries = 20

// openFront listens on 127.0.0.1 at a port, or at one of the next when it is taken.
func openFront(port int) (*front, error) {
	var last error
	for p := port; p <= min(port+frontTries, 65535); p++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err == nil {
			f := &front{listener: l}
			f.ending, f.end = context.WithCancel(context.Background())
			f.running.Go(f.serve)
			return f, nil
		}
		last = err
	}
	return nil, fmt.Errorf("listen on a port from %d: %w", port, last)
}

// Address is host:port.
func (f *front) Address() string { return f.listener.Addr().String() }

// To passes later connections on to host:port.
func (f *front) To(target string) { f.target.Store(&target) }

// Close ends it, with the connections that are open.
func (f *front) Close() {
	f.end()
	_ = f.listener.Close()
	f.running.Wait()
}

func (f *front) serve() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most of all: it passes
			select {
			case <-f.ending.Done():
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		f.running.Go(func() { f.pass(conn) })
	}
}

// pass copies both ways until both have ended.
func (f *front) pass(from net.Conn) {
	defer from.Close()
	to, err := f.dial()
	if err != nil {
		return
	}
	defer to.Close()
	stop := context.AfterFunc(f.ending, func() { _ = from.Close(); _ = to.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { half(to, from) })
	half(from, to)
	both.Wait()
}

// dial tries the instance of the moment until one takes the connection.
func (f *front) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(f.ending, frontPatience)
	defer cancel()
	for {
		if target := f.target.Load(); target != nil {
			var d net.Dialer
			if conn, err := d.DialContext(ctx, "tcp", *target); err == nil {
				return conn, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// half copies one way and tells the other side of the end.
func half(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if c, ok := to.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

package ground

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Client speaks HTTP to addresses in the place's network, such as 127.0.0.1 there.
func (p Place) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: p.Dial}}
}

// Dial connects to an IP address and port in the place's network.
func (p Place) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = p.inside(func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// inside calls f on a thread that is in the place's network.
func (p Place) inside(f func() error) error {
	// A network belongs to a thread. The thread must go back and live on: the
	// kernel ends children that were started by a thread when that thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("enter network: %w", err)
	}
	defer home.Close()
	there, err := os.Open(p.Namespace())
	if err != nil {
		return fmt.Errorf("enter network: %w", err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network: %w", err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic("lab: this thread is lost in another network: " + err.Error())
		}
	}()
	return f()
}

// listens is nil when somebody takes connections at an address of the place's network.
func (p Place) listens(ctx context.Context, address string) error {
	conn, err := p.Dial(ctx, "tcp", address)
	if err == nil {
		conn.Close()
	}
	return err
}

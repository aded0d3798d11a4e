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
func (p Place) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	// A network belongs to a thread. The thread must go back and live on: the
	// kernel ends children that were started by a thread when that thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("enter network: %w", err)
	}
	defer home.Close()
	there, err := os.Open(p.Namespace())
	if err != nil {
		return nil, fmt.Errorf("enter network: %w", err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network: %w", err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic("lab: this thread is lost in another network: " + err.Error())
		}
	}()
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// listens is nil when somebody takes connections at an address of the place's network.
func (p Place) listens(ctx context.Context, address string) error {
	conn, err := p.Dial(ctx, "tcp", address)
	if err == nil {
		conn.Close()
	}
	return err
}

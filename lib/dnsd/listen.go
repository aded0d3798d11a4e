package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"svckit/lib/fault"
)

// receiveBuffer holds the questions that come while nobody reads, as during an
// upgrade: bytes, the kernel may give less (net.core.rmem_max).
const receiveBuffer = 4 << 20

// Listen opens for each address (ip:port) `loops` UDP sockets that share it, and
// a TCP listener. An address that stands for all of a machine's is refused:
// replies would leave from another one than was asked.
func Listen(addresses []string, loops int) (Sockets, error) {
	var s Sockets
	for _, text := range addresses {
		if err := s.open(text, loops); err != nil {
			s.Close()
			return Sockets{}, err
		}
	}
	return s, nil
}

func (s *Sockets) open(text string, loops int) error {
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Addr().IsUnspecified() {
		return fault.WithHint(fault.New(fault.Usage, "listen on %q: expected the address of an interface and a port", text), "e.g. 127.0.0.1:53 or 169.254.20.10:53")
	}
	for tries := anyPortTries; ; tries-- {
		one, err := openAt(at, loops)
		if err == nil {
			s.UDP, s.TCP = append(s.UDP, one.UDP...), append(s.TCP, one.TCP...)
			return nil
		}
		one.Close()
		if at.Port() != 0 || tries == 1 || !errors.Is(err, syscall.EADDRINUSE) {
			return listenError(text, err)
		}
	}
}

// anyPortTries is how often the kernel is asked for any port: one that is free for UDP may be taken for TCP.
const anyPortTries = 20

func openAt(at netip.AddrPort, loops int) (s Sockets, err error) {
	config := net.ListenConfig{Control: share}
	for range loops {
		c, err := config.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			return s, err
		}
		udp := c.(*net.UDPConn)
		_ = udp.SetReadBuffer(receiveBuffer)
		s.UDP = append(s.UDP, udp)
		if at.Port() == 0 { // the others share the port that the first one got
			at = udp.LocalAddr().(*net.UDPAddr).AddrPort()
		}
	}
	l, err := config.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return s, err
	}
	s.TCP = append(s.TCP, l.(*net.TCPListener))
	return s, nil
}

func listenError(address string, err error) error {
	e := fault.New(fault.Failed, "listen on %s: %w", address, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Hint = "another DNS server listens there: see `ss -lnup`, or choose another address with --listen"
	case errors.Is(err, syscall.EACCES):
		e.Hint = "a port below 1024 needs the capability CAP_NET_BIND_SERVICE: see examples/systemd"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = "no interface has this address: --link-local makes one"
	}
	return e
}

func share(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); cerr != nil {
		return cerr
	}
	return err
}

// Adopt takes sockets that another process opened, as systemd or a svc-dns that
// is being replaced. The files are closed.
func Adopt(files []*os.File) (Sockets, error) {
	var s Sockets
	for _, f := range files {
		err := s.adopt(f)
		f.Close()
		if err != nil {
			s.Close()
			return Sockets{}, fmt.Errorf("adopt socket %s: %w", f.Name(), err)
		}
	}
	return s, nil
}

func (s *Sockets) adopt(f *os.File) error {
	if c, err := net.FilePacketConn(f); err == nil {
		udp, ok := c.(*net.UDPConn)
		if !ok {
			return errors.New("neither UDP nor TCP")
		}
		_ = udp.SetReadBuffer(receiveBuffer)
		s.UDP = append(s.UDP, udp)
		return nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.New("neither UDP nor TCP")
	}
	s.TCP = append(s.TCP, tcp)
	return nil
}

// Addresses are where the sockets listen, each once.
func (s Sockets) Addresses() []string {
	var out []string
	seen := map[string]bool{}
	for _, c := range s.UDP {
		if a := c.LocalAddr().String(); !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, l := range s.TCP {
		if a := l.Addr().String(); !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

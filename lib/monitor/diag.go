package monitor

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// diag asks the kernel for the listening sockets of one container's network
// (sock_diag(7)). /proc/PID/net/tcp tells the same, but walks the table of all
// connections of the machine for it: milliseconds for each container.
type diag struct{ socket *nl.NetlinkSocket }

// diagLimit bounds the wait for the kernel's answer.
const diagLimit = 200 // milliseconds

// openDiag opens a socket in the network of a process. It stays usable as long as it is open.
func openDiag(pid int) (*diag, error) {
	space, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open its network: %w", err)
	}
	defer space.Close()
	s, err := nl.GetNetlinkSocketAt(space, netns.None(), unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("ask for sockets: %w", err)
	}
	if err := s.SetReceiveTimeout(&unix.Timeval{Usec: diagLimit * 1000}); err != nil {
		s.Close()
		return nil, fmt.Errorf("ask for sockets: %w", err)
	}
	return &diag{s}, nil
}

func (d *diag) close() {
	if d != nil {
		d.socket.Close()
	}
}

// Sizes of inet_diag_req_v2 and of inet_diag_msg (linux/inet_diag.h).
const (
	diagRequest = 56
	diagAnswer  = 72
)

// listening tells who listens on a port, and how many connections wait there.
func (d *diag) listening(port int) (out listening, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		body := make([]byte, diagRequest)
		body[0], body[1] = family, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(body[4:], 1<<tcpListen)
		r := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		r.AddRawData(body)
		r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: d.socket}}
		answers, err := r.Execute(unix.NETLINK_INET_DIAG, 0)
		if err != nil {
			return listening{}, fmt.Errorf("ask for sockets: %w", err)
		}
		for _, m := range answers {
			out.add(m, port)
		}
	}
	return out, nil
}

const tcpListen = 10 // include/net/tcp_states.h

// add reads an inet_diag_msg: state at 1, local port at 4, receive queue at 56.
func (l *listening) add(m []byte, port int) {
	if len(m) < diagAnswer || m[1] != tcpListen || int(binary.BigEndian.Uint16(m[4:])) != port {
		return
	}
	l.open = true
	l.waiting += int(binary.NativeEndian.Uint32(m[56:]) & 0xffffff)
}

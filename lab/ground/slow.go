package ground

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// detour is a wire of our own between a host's port and the bridge, which delivers every frame later. Few kernels
// that labs run on have netem, which would do the same.
type detour struct {
	ends [2]*os.File
	wait sync.WaitGroup
}

// Slow delays everything that the host is sent and sends, each way, and so a round trip by twice of it; 0 ends it.
func (h *Host) Slow(ctx context.Context, delay time.Duration) error {
	if delay < 0 || delay > time.Minute {
		return fmt.Errorf("slow down %s: %s: want at most a minute", h.Name, delay)
	}
	wire, inner, outer := h.fleet.wire, h.Name+".s", h.Name+".b"
	if h.detour != nil {
		h.detour.close()
		h.detour = nil
		if err := ip(ctx, wire, "link del "+inner, "link set "+h.Name+" master "+switchBridge); err != nil {
			return err
		}
	}
	if delay == 0 {
		return nil
	}
	err := ip(ctx, wire, fmt.Sprintf("link add %s type veth peer name %s", inner, outer),
		"link set "+outer+" master "+switchBridge+" up", "link set "+inner+" up", "link set "+h.Name+" nomaster")
	if err != nil {
		return err
	}
	h.detour, err = newDetour(wire, h.Name, inner, delay)
	return err
}

// newDetour carries frames between two interfaces of a place, each way, that much later.
func newDetour(p Place, one, two string, delay time.Duration) (*detour, error) {
	d := &detour{}
	err := p.inside(func() (err error) {
		// The bridge has an address: only it may answer for that.
		if err = os.WriteFile("/proc/sys/net/ipv4/conf/"+one+"/arp_ignore", []byte("1"), 0o600); err != nil {
			return err
		}
		if d.ends[0], err = openLink(one); err != nil {
			return err
		}
		d.ends[1], err = openLink(two)
		return err
	})
	if err != nil {
		d.close()
		return nil, fmt.Errorf("make slow wire: %w", err)
	}
	d.carry(d.ends[0], d.ends[1], delay)
	d.carry(d.ends[1], d.ends[0], delay)
	return d, nil
}

// frame is one with the header that the kernel keeps its unfinished checksums in.
type frame struct {
	due  time.Time
	data []byte
}

const (
	frameMax   = 1<<16 + 256 // a frame may be one that the card would have cut up
	onTheirWay = 1 << 13     // frames; more are lost, as on any wire
)

func (d *detour) carry(from, to *os.File, delay time.Duration) {
	queue := make(chan frame, onTheirWay)
	d.wait.Go(func() {
		defer close(queue)
		buffer := make([]byte, frameMax)
		for {
			n, err := from.Read(buffer)
			switch {
			case errors.Is(err, unix.ENETDOWN): // a host that is cut off
				continue
			case err != nil:
				return
			}
			select {
			case queue <- frame{time.Now().Add(delay), append([]byte(nil), buffer[:n]...)}:
			default:
			}
		}
	})
	d.wait.Go(func() {
		for f := range queue {
			time.Sleep(time.Until(f.due))
			_, _ = to.Write(f.data) // what cannot be sent is lost
		}
	})
}

// close loses what is on its way.
func (d *detour) close() {
	for _, end := range d.ends {
		if end != nil {
			_ = end.Close()
		}
	}
	d.wait.Wait()
}

// openLink opens an interface of this thread's network for frames as they are.
func openLink(name string) (*os.File, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	every := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // hears nothing until it is bound
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: link.Index}))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, nil
}

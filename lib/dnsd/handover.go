package dnsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A handover gives the open sockets of a running server to the one that replaces
// it, over a Unix socket:
//
//	new: connects
//	old: sends its sockets (SCM_RIGHTS)
//	new: reads from them, beside the old one; says "ready"
//	old: stops reading, answers what it has, ends
//
// The kernel's queues are shared meanwhile, so no question is lost.
const handoverLimit = 30 * time.Second

const maxHandover = 250 // sockets in one message (SCM_MAX_FD is 253)

// Take asks a running server for its sockets. Without one it returns none and no
// error. ready tells the old server to stop; it must be called once this process answers.
func Take(path string) (s Sockets, ready func() error, err error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return Sockets{}, func() error { return nil }, nil
	}
	if err != nil {
		return Sockets{}, nil, fmt.Errorf("take over sockets: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(handoverLimit))
	files, err := receiveFiles(c)
	if err == nil {
		s, err = Adopt(files)
	}
	if err != nil {
		c.Close()
		return Sockets{}, nil, fmt.Errorf("take over sockets: %w", err)
	}
	return s, func() error {
		defer c.Close()
		if _, err := c.Write([]byte("ready")); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1)) // its end: the old server reads no more
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}, nil
}

func receiveFiles(c *net.UnixConn) ([]*os.File, error) {
	text, control := make([]byte, 16), make([]byte, unix.CmsgSpace(4*maxHandover))
	_, n, _, _, err := c.ReadMsgUnix(text, control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("handed-over-%d", fd)))
		}
	}
	if len(files) == 0 {
		return nil, errors.New("the running server gave none")
	}
	return files, nil
}

// Give waits at path for a server that replaces this one and gives it the
// sockets. It returns nil once that one is ready, or ctx's error. stopped is
// called then; when it returns, this process must read no more.
func Give(ctx context.Context, path string, s Sockets, stopped func()) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wait for handover: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("wait for handover: %w", err)
	}
	l.SetUnlinkOnClose(false) // by then it may be the path of the next server
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("wait for handover: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("wait for handover: %w", err)
		}
		if give(c, s) == nil {
			stopped()
			c.Close()
			return nil
		}
		c.Close()
	}
}

// give sends the sockets and waits for "ready". A process that goes away instead changes nothing.
func give(c *net.UnixConn, s Sockets) error {
	_ = c.SetDeadline(time.Now().Add(handoverLimit))
	fds, err := s.descriptors()
	if err != nil {
		return err
	}
	if len(fds) > maxHandover {
		return fmt.Errorf("%d sockets are too many", len(fds))
	}
	if _, _, err := c.WriteMsgUnix([]byte("sockets"), unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	text := make([]byte, 16)
	n, err := c.Read(text)
	if err == nil && string(text[:n]) != "ready" {
		err = errors.New("not ready")
	}
	return err
}

// descriptors are those of the open sockets themselves: a copy by File would make them block.
func (s Sockets) descriptors() ([]int, error) {
	var all []syscall.Conn
	for _, c := range s.UDP {
		all = append(all, c)
	}
	for _, l := range s.TCP {
		all = append(all, l)
	}
	var fds []int
	for _, c := range all {
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return nil, err
		}
	}
	return fds, nil
}

package monitor

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// listening is what the kernel says of a port in a container's network.
type listening struct {
	open    bool // somebody listens
	waiting int  // connections that are complete and that nobody has accepted
}

// mostSockets bounds how many sockets are looked at for unread ones.
const mostSockets = 100_000

// unread counts the accepted connections to a port with bytes that nobody has
// read yet, by /proc/PID/net/tcp and tcp6. It is slow: see diag.
func unread(pid, port int) (n int, err error) {
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/" + name)
		if errors.Is(err, fs.ErrNotExist) && name == "tcp6" {
			continue // without IPv6
		}
		if err != nil {
			return 0, err
		}
		n += unreadIn(f, port)
		_ = f.Close()
	}
	return n, nil
}

// States of a socket in /proc/net/tcp (include/net/tcp_states.h).
const (
	stateEstablished = "01"
	stateCloseWait   = "08" // the client has sent all that it will
)

func unreadIn(r io.Reader, port int) (n int) {
	lines := bufio.NewScanner(r)
	lines.Scan() // titles
	for range mostSockets {
		if !lines.Scan() {
			break
		}
		local, state, queue, inode, ok := socket(lines.Text())
		// One that nobody has accepted has no inode.
		if ok && local == port && queue > 0 && inode != "0" && (state == stateEstablished || state == stateCloseWait) {
			n++
		}
	}
	return n
}

// socket reads one line: "  0: 0100007F:1F40 00000000:0000 0A 00000000:00000003 … uid timeout inode …".
func socket(line string) (local int, state string, queue int, inode string, ok bool) {
	var f [10]string
	n := 0
	for word := range strings.FieldsSeq(line) {
		f[n] = word
		if n++; n == len(f) {
			break
		}
	}
	if n < len(f) {
		return 0, "", 0, "", false
	}
	_, portText, ok1 := strings.Cut(f[1], ":")
	_, queueText, ok2 := strings.Cut(f[4], ":")
	p, err1 := strconv.ParseUint(portText, 16, 16)
	q, err2 := strconv.ParseUint(queueText, 16, 31)
	return int(p), f[3], int(q), f[9], ok1 && ok2 && err1 == nil && err2 == nil
}

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
	unread  int  // accepted ones with bytes that nobody has read yet
}

// mostSockets bounds how many sockets are looked at for unread ones.
const mostSockets = 100_000

// listenOn reads /proc/PID/net/tcp and tcp6. Listening sockets come first in
// both, so the look ends behind them unless deep is set. Their receive queue
// counts the connections that wait (tcp_diag(7), net/ipv4/tcp_ipv4.c).
func listenOn(pid, port int, deep bool) (out listening, err error) {
	read := 0
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/" + name)
		if errors.Is(err, fs.ErrNotExist) && name == "tcp6" && read > 0 {
			continue // without IPv6
		}
		if err != nil {
			return listening{}, err
		}
		out.scan(f, port, deep)
		_ = f.Close()
		read++
	}
	return out, nil
}

// States of a socket in /proc/net/tcp (include/net/tcp_states.h).
const (
	stateEstablished = "01"
	stateListen      = "0A"
	stateCloseWait   = "08" // the client has sent all that it will
)

func (l *listening) scan(r io.Reader, port int, deep bool) {
	lines := bufio.NewScanner(r)
	lines.Scan() // titles
	for n := 0; n < mostSockets && lines.Scan(); n++ {
		local, state, queue, inode, ok := socket(lines.Text())
		switch {
		case !ok:
		case state == stateListen:
			if local == port {
				l.open = true
				l.waiting += queue
			}
		case !deep:
			return
		case local == port && queue > 0 && inode != "0" && (state == stateEstablished || state == stateCloseWait):
			l.unread++
		}
	}
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

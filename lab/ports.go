package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Test processes of one lab take their ports in turn from a range below the
// one that the kernel takes for outgoing connections and beside the one that
// services get by default (20000-29999): asking the kernel for a free port and
// using it a moment later loses it sometimes.
const firstPort, lastPort = 10000, 19999

// FreePorts returns n ports of 127.0.0.1 that nothing else in the lab will take.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(runRoot(), "svckit-ports"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ports := make([]int, 0, n)
	next := readPort(f)
	for range lastPort - firstPort {
		if len(ports) == n {
			break
		}
		if free(next) {
			ports = append(ports, next)
		}
		if next++; next > lastPort {
			next = firstPort
		}
	}
	if len(ports) < n {
		t.Fatalf("no %d free ports in %d-%d", n, firstPort, lastPort)
	}
	if _, err := f.WriteAt(binary.BigEndian.AppendUint16(nil, uint16(next)), 0); err != nil {
		t.Fatal(err)
	}
	return ports
}

// readPort returns the port to begin with.
func readPort(f *os.File) int {
	var text [2]byte
	if _, err := f.ReadAt(text[:], 0); err != nil {
		return firstPort
	}
	return min(max(int(binary.BigEndian.Uint16(text[:])), firstPort), lastPort)
}

func free(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	u.Close()
	return true
}

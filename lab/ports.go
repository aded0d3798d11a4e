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
	ports := make([]int, 0, n)
	inTurn(t, "svckit-ports", firstPort, func(next int) int {
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
		return next
	})
	if len(ports) < n {
		t.Fatalf("no %d free ports in %d-%d", n, firstPort, lastPort)
	}
	return ports
}

// A node of a test takes its instances' ports from a block of its own.
const firstBlock, lastBlock, block = 21000, 27900, 100

// PortRange returns 100 ports for SVC_PORTS that no other node of a test has, within the last 70 that asked.
func PortRange(t testing.TB) string {
	t.Helper()
	var low int
	inTurn(t, "svckit-port-ranges", firstBlock, func(next int) int {
		low = next
		if next += block; next > lastBlock {
			next = firstBlock
		}
		return next
	})
	return fmt.Sprintf("%d-%d", low, low+block-1)
}

// inTurn passes the number in a file, first at the beginning, to take, and keeps
// what that returns. One process at a time does so.
func inTurn(t testing.TB, file string, first int, take func(next int) int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(runRoot(), file), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	next := first
	var text [2]byte
	if _, err := f.ReadAt(text[:], 0); err == nil {
		next = max(int(binary.BigEndian.Uint16(text[:])), first)
	}
	if _, err := f.WriteAt(binary.BigEndian.AppendUint16(nil, uint16(take(next))), 0); err != nil {
		t.Fatal(err)
	}
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
